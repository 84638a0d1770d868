"""`vllm serve` with the plugin and `sri serve` behind it: verdicts in responses, and a worker that is killed."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from benchmarks.gateways.processes import Server, free_port
from sri_sdk.files import write_text
from sri_sdk.strict_json import parse, write

TAP = """version: 1
guard: {{path: {guard}}}
accept: [transformers, torch]
store: {{url: "http://127.0.0.1:{store}", source: vllm-lab, heartbeat_s: 1, grace_s: 5}}
response: {{detail: full, wait_s: 10}}
"""
STORE = """version: 1
store: {{url: "sqlite:///{folder}/verdicts.db"}}
"""
ASKED = {"sri-verdict": "true"}


def run(model: Path, guard: Path, folder: Path) -> dict[str, Any]:
    """What clients and the store are told, as JSON types."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    store, engine = free_port(), free_port()
    write_text(folder / "sri.yaml", TAP.format(guard=guard.absolute(), store=store))
    write_text(folder / "serve.yaml", STORE.format(folder=folder.absolute()))
    environment = {
        "SRI_VLLM_CONFIG": str(folder / "sri.yaml"), "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "WARNING",
    }  # fmt: skip
    serve = [sys.executable, "-m", "sri_sdk.cli", "serve", "--config", str(folder / "serve.yaml"), "--port", str(store)]
    vllm = [
        # Not the command `vllm`: that of the CPU package looks for the other package's version.
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), "--served-model-name", "lab",
        "--port", str(engine), "--dtype", "float32", "--enforce-eager", "--max-model-len", "256", "--block-size", "32",
        "--middleware", "sri_plugin_vllm.middleware.VerdictField",
        "--worker-extension-cls", "sri_plugin_vllm.extension.GuardExtension",
    ]  # fmt: skip
    with (
        Server(serve, f"http://127.0.0.1:{store}/v2/health/live", folder / "store.log"),
        Server(vllm, f"http://127.0.0.1:{engine}/health", folder / "vllm.log", environment, 400) as server,
    ):
        found = ask(engine, store)
        found["killed"] = killed(server, engine, store)
    return found


def ask(engine: int, store: int) -> dict[str, Any]:
    """Requests of every form."""
    chat = {"model": "lab", "messages": [{"role": "user", "content": "how do i steal the lantern ?"}], "max_tokens": 48,
            "temperature": 0}  # fmt: skip
    plain = call(engine, "POST", "/v1/chat/completions", chat)
    asked = call(engine, "POST", "/v1/chat/completions", chat, ASKED)
    chosen = call(engine, "POST", "/v1/chat/completions", chat, {**ASKED, "x-request-id": "mine"})
    two = call(engine, "POST", "/v1/chat/completions", {**chat, "n": 2, "temperature": 1}, ASKED)
    texts = {"model": "lab", "prompt": ["how do i", "please tell me"], "max_tokens": 4}
    completions = call(engine, "POST", "/v1/completions", texts, ASKED)
    streamed = call(engine, "POST", "/v1/chat/completions", {**chat, "stream": True}, ASKED)
    events = [line[6:] for line in streamed.split("\n") if line.startswith("data: ")]
    last = parse(events[-2])
    response = {"model": "lab", "input": "how do i steal the lantern ?", "max_output_tokens": 48, "request_id": "mine"}
    answered = call(engine, "POST", "/v1/responses", response, ASKED)
    flow = call(engine, "POST", "/v1/responses", {**response, "stream": True}, ASKED)
    ends = next(parse(line[6:]) for line in reversed(flow.split("\n")) if line.startswith("data: {"))["response"]
    stored = call(store, "GET", f"/v1/verdicts/{asked['id']}")["verdict"]
    return {
        "plain_has_field": "sri" in plain,
        "plain_in_store": call(store, "GET", f"/v1/verdicts/{plain['id']}?wait_ms=5000")["verdict"]["status"],
        "field": asked["sri"]["verdicts"],
        "same_in_store": all(stored[k] == asked["sri"]["verdicts"][0][k] for k in ("status", "score", "steps_seen")),
        "chosen_id_is_believed": "mine" in chosen["id"],
        "two_choices": [(v["index"], v["status"], v["reasons"]) for v in two["sri"]["verdicts"]],
        "two_prompts": [(v["index"], v["status"], v["reasons"]) for v in completions["sri"]["verdicts"]],
        "stream_ends_with": events[-1],
        "stream_field": [(v["status"], v["steps_seen"]) for v in last["sri"]["verdicts"]],
        "response": {
            "field": answered["sri"]["verdicts"], "id_is_the_responses": answered["sri"]["verdicts"][0]["request_id"]
            == answered["id"], "chosen_id_is_believed": "mine" in answered["id"],
            "in_store": call(store, "GET", f"/v1/verdicts/{answered['id']}")["verdict"]["status"],
            "stream": [(v["status"], v["request_id"] == ends["id"]) for v in ends["sri"]["verdicts"]],
        },
        "source": source(store),
    }  # fmt: skip


def killed(server: Any, engine: int, store: int) -> dict[str, Any]:
    """The process of the worker is killed while a request runs."""
    chat = {"model": "lab", "messages": [{"role": "user", "content": "how do i bake bread ?"}], "max_tokens": 200,
            "ignore_eos": True, "n": 60}  # fmt: skip

    def hanging() -> None:
        try:
            call(engine, "POST", "/v1/chat/completions", chat)
        except (OSError, http.client.HTTPException, ValueError):
            return

    threading.Thread(target=hanging, daemon=True).start()
    time.sleep(1.0)
    begun = source(store)["generations"]
    # All of them: a worker whose engine alone is killed still ends in good order, and says so.
    below = psutil.Process(server._process.pid).children(recursive=True)
    workers = [each for each in below if "VLLM::" in "".join(each.cmdline())]
    for each in workers:
        os.kill(each.pid, signal.SIGKILL)
    since, state = time.monotonic(), ""
    while time.monotonic() - since < 60 and state != "silent":
        state = source(store)["state"]
        time.sleep(1)
    nobody = call(store, "GET", "/v1/verdicts/chatcmpl-never-judged?wait_ms=100", missing=True)["verdict"]
    return {"processes": len(workers), "generations_before": begun, "state": state,
            "seconds": round(time.monotonic() - since), "without_verdict": nobody}  # fmt: skip


def source(store: int) -> dict[str, Any]:
    """What the store says of the engine."""
    found = call(store, "GET", "/v1/sources")["sources"]
    its = next((each for each in found if each.get("name", each.get("source")) == "vllm-lab"), {})
    return {
        "state": its.get("state"),
        "generations": its.get("generations"),
        "without_verdict": its.get("without_verdict"),
    }


def call(
    port: int, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, *,
    missing: bool = False,
) -> Any:  # fmt: skip
    """JSON, or the text of a stream."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    content = None if body is None else write(body).encode()
    connection.request(method, path, content, {"Content-Type": "application/json", **(headers or {})})
    answer = connection.getresponse()
    text = answer.read().decode()
    if answer.status != 200 and not (missing and answer.status == 404):
        raise ValueError(f"{path}: {answer.status} {text[:500]}")
    return text if answer.headers["content-type"].startswith("text/event-stream") else parse(text)
