"""The real LiteLLM proxy in front of the lab's model: what is flagged or unknown is blocked, what is clear passes.

What a request should get is known before: the same guard judged the same prompts without any server.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sri_sdk
from benchmarks.gateways.behind import TOKEN, Behind
from benchmarks.gateways.processes import Server, free_port
from sri_sdk.strict_json import write

HERE = Path(__file__).parent
MASTER_KEY = "sk-lab"
Prompts = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Got:
    """One answer of the proxy."""

    status: int
    text: str
    call_id: str | None


class Proxy:
    """Asks the proxy as an application does."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ask(
        self, prompt: str, *, stream: bool = False, chat: bool = True, headers: dict[str, str] | None = None
    ) -> Got:
        """One request."""
        asked: dict[str, Any] = {"model": "lab", "stream": stream}
        asked |= {"messages": [{"role": "user", "content": prompt}]} if chat else {"prompt": prompt}
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        sent = {"authorization": f"Bearer {MASTER_KEY}", "content-type": "application/json", **(headers or {})}
        try:
            connection.request("POST", "/v1/chat/completions" if chat else "/v1/completions", write(asked), sent)
            answer = connection.getresponse()
            text = answer.read().decode()
            return Got(answer.status, text, answer.headers["x-litellm-call-id"])
        finally:
            connection.close()


def agreement(prompts: Prompts, ask: Callable[[str], Got]) -> dict[str, Any]:
    """How often the proxy did what the verdict in this process says."""
    answers = [(ask(prompt), status) for prompt, status in prompts]
    wanted = {"clear": 200, "flagged": 400}
    return {
        "clear": sum(status == "clear" for _, status in answers),
        "clear_released": sum(status == "clear" and got.status == 200 for got, status in answers),
        "flagged": sum(status == "flagged" for _, status in answers),
        "flagged_released": sum(status == "flagged" and got.status == 200 for got, status in answers),
        "disagreements": sum(got.status != wanted[status] for got, status in answers),
    }


def try_out(litellm: str, behind: Behind, prompts: Prompts) -> dict[str, Any]:
    """Starts the proxy, asks it, and takes down what stands behind it, one after the other.

    Args:
        litellm: the command of an environment with `litellm[proxy]`.
        behind: the store and the model's process, both running.
        prompts: (prompt, status its generation has), of both kinds.
    """
    clear = next(prompt for prompt, status in prompts if status == "clear")
    port = free_port()
    environment = {
        "LAB_BACKEND": f"{behind.backend_url}/v1", "LAB_KEY": "none", "SRI_SERVE": behind.store_url,
        "SRI_TOKEN": TOKEN, "LITELLM_MASTER_KEY": MASTER_KEY, "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }  # fmt: skip
    proxy = Server(
        [litellm, "--config", str(HERE / "litellm.yaml"), "--host", "127.0.0.1", "--port", str(port), "--telemetry",
         "False"],
        f"http://127.0.0.1:{port}/health/liveliness", behind.folder / "proxy.log", environment,
    )  # fmt: skip
    ask, client = Proxy(port).ask, sri_sdk.VerdictClient(behind.store_url, token=TOKEN, budget_s=10, heartbeat_s=0)
    found: dict[str, Any] = {}
    with proxy, client:
        ask(clear)  # The first request loads half of the proxy.
        found["whole"] = agreement(prompts, ask)
        found["streamed"] = agreement(prompts, lambda prompt: ask(prompt, stream=True))
        found["text_completions"] = agreement(prompts, lambda prompt: ask(prompt, chat=False))
        passed = ask(clear)
        found["verdict_under_the_call_id"] = client.lookup(passed.call_id or "").status
        found["verdict_of_an_unknown_id"] = client.lookup("nobody-asked-this").status
        found["chosen_id"] = ask(clear, headers={"x-litellm-call-id": passed.call_id or ""}).status
        behind.tap_off.touch()
        found["tap_off"] = [ask(clear).status, ask(clear, stream=True).status]
        behind.tap_off.unlink()
        behind.store.stop()
        found["store_down"] = [ask(clear).status, ask(clear, stream=True).status]
        behind.store.start()
        found["store_back"] = eventually(lambda: ask(clear).status, 200)
    return found


def eventually(ask: Callable[[], int], wanted: int, seconds: float = 60.0) -> int:
    """The status, asked again until it is the wanted one: a client that lost its store tries again after a pause."""
    until = time.monotonic() + seconds
    while (status := ask()) != wanted and time.monotonic() < until:
        time.sleep(0.5)
    return status
