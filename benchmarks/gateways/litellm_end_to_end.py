"""The real LiteLLM proxy in front of the lab's model: flagged generations are blocked, clear ones pass, unknown ones do not.

    python -m benchmarks.gateways.litellm_end_to_end --litellm .venv-gateways-litellm/bin/litellm --bundle out/lab-causal

What a request should get is computed in this process first, by the same guard on the same prompts.
"""

from __future__ import annotations

import argparse
import http.client
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sri_sdk
from benchmarks.gateways.processes import Server, free_port
from benchmarks.gateways.store import Store
from sri_sdk import registry
from sri_sdk.files import write_text
from sri_sdk.strict_json import write

HERE = Path(__file__).parent
MASTER_KEY = "sk-lab"
TOKEN = "lab-token"
ATTACKS = ("fiction", "suffix")


@dataclass(frozen=True)
class Got:
    """One answer of the proxy."""

    status: int
    text: str
    call_id: str | None
    seconds: float


class Proxy:
    """Asks the proxy as an application does."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ask(self, prompt: str, *, stream: bool = False, chat: bool = True, headers: dict[str, str] | None = None) -> Got:
        """One request."""
        asked: dict[str, Any] = {"model": "lab", "stream": stream}
        asked |= {"messages": [{"role": "user", "content": prompt}]} if chat else {"prompt": prompt}
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        sent = {"authorization": f"Bearer {MASTER_KEY}", "content-type": "application/json", **(headers or {})}
        started = time.perf_counter()
        try:
            connection.request("POST", "/v1/chat/completions" if chat else "/v1/completions", write(asked), sent)
            answer = connection.getresponse()
            text = answer.read().decode()
            return Got(answer.status, text, answer.headers["x-litellm-call-id"], time.perf_counter() - started)
        finally:
            connection.close()


def expected(bundle: Path, prompts: Sequence[str]) -> list[str]:
    """Status of each prompt's generation, in this process."""
    hook_class = registry.load("hooks", "lab-causal")
    loaded = hook_class.load(hook_class.Config())
    hook, guard = hook_class(loaded.model, hook_class.Config()), sri_sdk.Guard.load(bundle)
    found = []
    for prompt in prompts:
        asked = hook.encode(loaded.tokenizer, [prompt])
        with sri_sdk.watch(loaded.model, guard=guard) as run:
            loaded.model.generate(asked.input_ids, attention_mask=asked.attention_mask, max_new_tokens=48, do_sample=False)
        found.append(run.verdicts[0].status)
    return found


def lab_prompts(count: int) -> list[str]:
    """Harmless and attacked prompts of the test split, `count` of each kind."""
    dataset = registry.build("datasets", "lab", {})
    harmless = dataset.prompts("test", "harmless", count)
    attacked = [p for name in ATTACKS for p in dataset.prompts("test", "harmful", count, attack=name)]
    return [prompt.text for prompt in [*harmless, *attacked]]


def agreement(prompts: Sequence[str], statuses: Sequence[str], ask: Callable[[str], Got]) -> dict[str, Any]:
    """How often the proxy did what the verdict in this process says."""
    answers = [ask(prompt) for prompt in prompts]
    wanted = {"clear": 200, "flagged": 400}
    wrong = [a.status for a, status in zip(answers, statuses, strict=True) if a.status != wanted[status]]
    return {
        "requests": len(answers),
        "flagged_blocked": sum(a.status == 400 for a, s in zip(answers, statuses, strict=True) if s == "flagged"),
        "flagged": sum(s == "flagged" for s in statuses),
        "clear_passed": sum(a.status == 200 for a, s in zip(answers, statuses, strict=True) if s == "clear"),
        "clear": sum(s == "clear" for s in statuses),
        "disagreements": len(wrong),
        "median_ms": round(1000 * statistics.median(a.seconds for a in answers), 1),
    }


def try_out(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Starts the three servers, asks, and takes them down one after the other."""
    prompts = lab_prompts(given.count)
    statuses = expected(given.bundle, prompts)
    clear = next(p for p, s in zip(prompts, statuses, strict=True) if s == "clear")
    ports = {name: free_port() for name in ("serve", "backend", "proxy")}
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    tap_off = folder / "tap-off"
    tokens = folder / "tokens"
    tokens.write_text(f"lab:{TOKEN}\n")
    command = given.store.format(port=ports["serve"], folder=folder, bundle=given.bundle, tokens=tokens)
    store = Server(shlex.split(command), f"{urls['serve']}/v2/health/live", folder / "serve.log")
    backend = Server(
        [sys.executable, "-m", "benchmarks.gateways.lab_backend", "--bundle", str(given.bundle), "--store",
         urls["serve"], "--token", TOKEN, "--port", str(ports["backend"]), "--tap-off", str(tap_off)],
        urls["backend"], folder / "backend.log",
    )  # fmt: skip
    environment = {
        "LAB_BACKEND": f"{urls['backend']}/v1", "LAB_KEY": "none", "SRI_SERVE": urls["serve"], "SRI_TOKEN": TOKEN,
        "LITELLM_MASTER_KEY": MASTER_KEY, "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }  # fmt: skip
    proxy = Server(
        [given.litellm, "--config", str(HERE / "litellm.yaml"), "--host", "127.0.0.1", "--port", str(ports["proxy"]),
         "--telemetry", "False"],
        f"{urls['proxy']}/health/liveliness", folder / "proxy.log", environment,
    )  # fmt: skip
    ask, kept = Proxy(ports["proxy"]).ask, Store(urls["serve"], TOKEN)
    found: dict[str, Any] = {}
    with store, backend, proxy:
        ask(clear)  # The first request loads half of the proxy.
        found["whole"] = agreement(prompts, statuses, ask)
        found["streamed"] = agreement(prompts, statuses, lambda prompt: ask(prompt, stream=True))
        found["text_completions"] = agreement(prompts, statuses, lambda prompt: ask(prompt, chat=False))
        passed = ask(clear)
        found["verdict_under_the_call_id"] = kept.lookup(passed.call_id or "").status
        found["verdict_of_an_unknown_id"] = kept.lookup("nobody-asked-this").status
        found["chosen_id"] = ask(clear, headers={"x-litellm-call-id": passed.call_id or ""}).status
        tap_off.touch()
        found["tap_off"] = [ask(clear).status, ask(clear, stream=True).status]
        tap_off.unlink()
        store.stop()
        found["store_down"] = [ask(clear).status, ask(clear, stream=True).status]
        store.start()
        found["store_back"] = ask(clear).status
    return found


def main(arguments: list[str] | None = None) -> None:
    """Writes the results, and ends with status 1 where one of them is not what it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--litellm", required=True, help="the command litellm of an environment with litellm[proxy]")
    parser.add_argument("--bundle", type=Path, required=True, help="what `sri fit configs/lab-causal.yaml` wrote")
    parser.add_argument("--store", required=True, help="command of the store; {port} {folder} {bundle} {tokens} are filled in")
    parser.add_argument("--count", type=int, default=20, help="prompts of each kind")
    parser.add_argument("--out", type=Path, default=HERE / "litellm.json")
    given = parser.parse_args(arguments)
    version = subprocess.run([given.litellm, "--version"], capture_output=True, text=True, check=True).stdout
    with tempfile.TemporaryDirectory() as folder:
        found = try_out(given, Path(folder))
    write_text(given.out, write({"litellm": version.split()[-1], **found}, indent=1) + "\n")
    sys.stdout.write(given.out.read_text())
    if problems := wrong(found):
        sys.exit("\n".join(problems))


def wrong(found: dict[str, Any]) -> list[str]:
    """What is not as it should be, in words."""
    should = {
        "verdict_under_the_call_id": "clear", "verdict_of_an_unknown_id": "unmonitored", "chosen_id": 400,
        "tap_off": [400, 400], "store_back": 200,
    }  # fmt: skip
    said = [f"{name}: {found[name]}, should be {value}" for name, value in should.items() if found[name] != value]
    said += [f"{name}: disagreements" for name in ("whole", "streamed", "text_completions") if found[name]["disagreements"]]
    said += [] if all(status >= 400 for status in found["store_down"]) else ["store_down: a response passed"]
    return said


if __name__ == "__main__":
    main()
