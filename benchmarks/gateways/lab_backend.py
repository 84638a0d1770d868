"""An OpenAI-compatible server around the lab's autoregressive model, watched by a guard: what stands behind gateways.

    python -m benchmarks.gateways.lab_backend --bundle out/lab-causal --store http://127.0.0.1:8090 --port 8091

It reads the id of a request from the header `x-request-id`, or from `metadata.sri_request_id` of the body. The verdict
is in the store before the response leaves.
A file named with `--tap-off` switches the watch off while it exists, as a deployment that lost its tap would be.
"""

from __future__ import annotations

import argparse
import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch

import sri_sdk
from sri_sdk import registry
from sri_sdk.strict_json import parse, write

TOKENS = 48
VERDICT_S = 5.0
"""Most seconds that a response waits until its verdict is in the store."""
log = logging.getLogger("sri_sdk.gateways")
SPECIAL = ("<bos>", "<eos>", "<pad>")


class Lab:
    """The model, its guard, and one generation at a time."""

    def __init__(self, bundle: Path, client: sri_sdk.VerdictClient, tap_off: Path | None = None) -> None:
        hook_class = registry.load("hooks", "lab-causal")
        self._loaded = hook_class.load(hook_class.Config())
        self._hook = hook_class(self._loaded.model, hook_class.Config())
        self._guard = sri_sdk.Guard.load(bundle)
        self._client, self._tap_off = client, tap_off
        self._lock = threading.Lock()

    def answer(self, prompt: str, request_id: str) -> str:
        """The response to a prompt; its verdict is in the store when this returns, unless the tap is off."""
        asked = self._hook.encode(self._loaded.tokenizer, [prompt])
        with self._lock, torch.inference_mode():
            if self._tap_off is not None and self._tap_off.exists():
                ids = self._generate(asked)
            else:
                with (
                    self._client.generation(request_id) as names,
                    sri_sdk.watch(self._loaded.model, self._guard, request_ids=names, sinks=[self._client]),
                ):
                    ids = self._generate(asked)
                if not self._client.flush(VERDICT_S):
                    log.warning("a verdict is not in the store yet; gateways will wait for it, or withhold")
        text = self._loaded.tokenizer.decode(ids[0, asked.input_ids.shape[1] :])
        return " ".join(word for word in text.split() if word not in SPECIAL)

    def _generate(self, asked: Any) -> torch.Tensor:
        found: torch.Tensor = self._loaded.model.generate(
            asked.input_ids, attention_mask=asked.attention_mask, max_new_tokens=TOKENS, do_sample=False
        )
        return found


class Handler(BaseHTTPRequestHandler):
    """`POST /v1/chat/completions` and `/v1/completions`, streamed or not."""

    protocol_version = "HTTP/1.1"
    lab: Lab

    def log_message(self, *_: Any) -> None:
        """Says nothing: requests hold what users typed."""

    def do_GET(self) -> None:
        """Says that it listens."""
        self._send({"ready": True})

    def do_POST(self) -> None:
        """Generates."""
        asked = parse(self.rfile.read(int(self.headers["content-length"])))
        chat = self.path.endswith("/chat/completions")
        prompt = asked["messages"][-1]["content"] if chat else asked["prompt"]
        in_body = (asked.get("metadata") or {}).get("sri_request_id")
        text = self.lab.answer(prompt, self.headers.get("x-request-id") or in_body or "nobody-said")
        if chat and asked.get("stream"):
            self._stream(text)
            return
        said = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        self._send({**_head("chat.completion" if chat else "text_completion"), "choices": [_choice(said, "stop")],
                    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}})  # fmt: skip

    def _send(self, value: dict[str, Any]) -> None:
        body = write(value).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, text: str) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        with suppress(ConnectionError):
            for chunk in _chunks(text):
                self.wfile.write(b"data: " + write(chunk).encode() + b"\n\n")
            self.wfile.write(b"data: [DONE]\n\n")


def _head(kind: str) -> dict[str, Any]:
    return {"id": "lab-1", "object": kind, "created": int(time.time()), "model": "lab"}


def _choice(said: dict[str, Any], finish: str | None) -> dict[str, Any]:
    return {"index": 0, "finish_reason": finish, **said}


def _chunks(text: str) -> Iterator[dict[str, Any]]:
    for word in text.split():
        delta = {"role": "assistant", "content": f"{word} "}
        yield {**_head("chat.completion.chunk"), "choices": [_choice({"delta": delta}, None)]}
    yield {**_head("chat.completion.chunk"), "choices": [_choice({"delta": {}}, "stop")]}


def main(arguments: list[str] | None = None) -> None:
    """Serves until it is ended; prints the port once it listens."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--store", required=True, help="URL of sri serve")
    parser.add_argument("--token", default=None)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tap-off", type=Path, default=None)
    given = parser.parse_args(arguments)
    client = sri_sdk.VerdictClient(given.store, token=given.token, source="lab")
    handler = type("LabHandler", (Handler,), {"lab": Lab(given.bundle, client, given.tap_off)})
    server = ThreadingHTTPServer(("127.0.0.1", given.port), handler)
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
