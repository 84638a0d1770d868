"""The verdict as a field of responses, for vLLM's `--middleware sri_plugin_vllm.middleware.VerdictField`.

A client asks for it with the header `sri-verdict: true`. It is looked up in the store, where the worker sent it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping, Sequence
from itertools import islice
from typing import Any

import sri_sdk
from sri_plugin_vllm import CONFIG
from sri_sdk.engine.settings import EngineSettings, read_engine_settings
from sri_sdk.errors import ConfigError
from sri_sdk.strict_json import JsonError, parse, write

log = logging.getLogger("sri_sdk.vllm")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

ASKS = b"sri-verdict"
"""Header with which a client asks for the field."""
ID = b"x-request-id"
"""Header that vLLM makes its id from."""
CHAT = "chatcmpl-"
RESPONSES = "resp_"
PREFIX = {"/v1/chat/completions": CHAT, "/v1/completions": "cmpl-", "/v1/responses": RESPONSES}
"""Paths whose responses have the field -> with what vLLM begins the ids of their generations."""
ONE_TURN = ("message", "reasoning", "function_call")
"""Items of a response that a generation ends with; all others are calls of the server's tools."""
ENDS = ("response.completed", "response.incomplete", "response.failed")
"""Events that end a stream of `/v1/responses`, each with the response in it."""
FIELD = "sri"
DATA = b"data: "
DONE = DATA + b"[DONE]"
MOST_BYTES = 2**24
"""Of a request or a response that is looked into; what is longer passes as it is."""
MOST_CHOICES = 128
"""Of a response that are looked up; those behind them have no entry in the field."""
GRACE_S = 2.0
"""Beyond `wait_s`, for the store to be asked and to answer."""


class VerdictField:
    """ASGI middleware: gives each generation an id nobody can choose, and adds the verdict where it was asked for."""

    def __init__(self, app: App, settings: EngineSettings | None = None, lookup: Any = None) -> None:
        """Takes the server; settings come from the file that `SRI_VLLM_CONFIG` names.

        Args:
            app: the ASGI application.
            settings: in place of the file.
            lookup: in place of a client of the store; has its method `lookup`.

        Raises:
            ConfigError: there are no settings, or they name no store.
        """
        if settings is None:
            source = os.environ.get(CONFIG)
            if not source:
                raise ConfigError(f"VerdictField: {CONFIG} is not set; name the file that the engine's workers read.")
            settings = read_engine_settings(source)
        if settings.store is None and lookup is None:
            raise ConfigError(
                "VerdictField: the settings have no section `store`, and verdicts leave the worker for one; give it, "
                "or leave out --middleware."
            )
        self._app, self._answers, self._rule = app, settings.response, settings.rule
        if lookup is None:
            assert settings.store is not None
            # Heartbeats are the worker's: this process generates nothing.
            lookup = sri_sdk.VerdictClient(settings.store.model_copy(update={"heartbeat_s": 0.0}))
        self._store = lookup

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        # On every path: vLLM has more of them that generate than any list here would name.
        headers: list[tuple[bytes, bytes]] = list(scope["headers"])
        given = [value for name, value in headers if name.lower() == ID]
        if self._answers.trust_request_id and len(given) == 1 and given[0]:
            base = given[0].decode("latin-1")
        else:
            base = uuid.uuid4().hex
            headers = [(name, value) for name, value in headers if name.lower() != ID]
            headers.append((ID, base.encode()))
        prefix = PREFIX.get(_path(scope)) if scope.get("method") == "POST" else None
        asks = any(name.lower() == ASKS and value.lower() in (b"true", b"1") for name, value in headers)
        inside = {**scope, "headers": headers}
        if prefix == RESPONSES:
            await self._response(inside, receive, send, asks=asks)
            return
        if prefix is None or not asks:
            await self._app(inside, receive, send)
            return
        body, replay, _ = await _read(receive)
        await self._app(inside, replay, _Answer(send, self, lambda _: request_ids(prefix, base, body)).take)

    async def _response(self, scope: Scope, receive: Receive, send: Send, *, asks: bool) -> None:
        """A request of `/v1/responses`, which vLLM takes the id of from its body."""
        if not self._answers.trust_request_id:
            body, _, whole = await _read(receive)
            if not whole:
                return  # The client went away: what came of its request is not to be run.
            try:
                body = renamed_body(body, f"{RESPONSES}{uuid.uuid4().hex}")
            except JsonError as err:
                await _refuse(send, str(err))
                return
            given = [(n, v) for n, v in scope["headers"] if n.lower() not in (b"content-length", b"transfer-encoding")]
            scope = {**scope, "headers": [*given, (b"content-length", str(len(body)).encode())]}
            receive = _replayed([{"type": "http.request", "body": body, "more_body": False}], receive)
        await self._app(scope, receive, _Answer(send, self, turns, ends=ENDS).take if asks else send)

    async def verdicts(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """What is said of each generation, as JSON types; nobody's word is `unmonitored`.

        All of them together take `wait_s` and the grace, however many they are.
        """
        until = time.monotonic() + self._answers.wait_s
        asked = [asyncio.ensure_future(asyncio.to_thread(self._verdict, each, until)) for each in ids]
        try:
            if asked:
                await asyncio.wait(asked, timeout=self._answers.wait_s + GRACE_S)
        finally:
            for each in asked:
                each.cancel()
        found = [
            each.result() if each.done() and not each.cancelled() else self._told(_nobody_says(name))
            for each, name in zip(asked, ids, strict=True)
        ]
        return [{"index": index, **each} for index, each in enumerate(found)]

    def _verdict(self, request_id: str, until: float) -> dict[str, Any]:
        try:
            left = max(until - time.monotonic(), 0.0)
            verdict: sri_sdk.Verdict = self._store.lookup(request_id, wait_s=left, rule=self._rule)
        except Exception as err:
            log.error("a look-up failed with %s; the response says unmonitored", type(err).__name__)
            verdict = _nobody_says(request_id)
        return self._told(verdict)

    def _told(self, verdict: sri_sdk.Verdict) -> dict[str, Any]:
        whole = verdict.to_dict()
        if self._answers.detail == "full":
            return whole
        return {name: whole[name] for name in ("request_id", "status", "rule")}


def renamed_body(body: bytes, request_id: str) -> bytes:
    """The body of a request of `/v1/responses` with an id that its client did not choose.

    Raises:
        JsonError: it is no object, two readers may read it differently, or it is too long to be read.
    """
    if len(body) > MOST_BYTES:
        raise JsonError(f"the body is longer than {MOST_BYTES} bytes; send a shorter one")
    asked = parse(body)
    if not isinstance(asked, dict):
        raise JsonError("the body is no JSON object; send one")
    return write({**asked, "request_id": request_id}, ensure_ascii=False, separators=(",", ":")).encode()


def turns(response: Mapping[str, Any]) -> list[str]:
    """Under which ids the generations of a response of `/v1/responses` are judged, `MOST_CHOICES` at most.

    The server's own tools make it generate again; each of their calls counts for one more, whose verdict is
    `unmonitored` if there was none.
    """
    name, output, tools = str(response.get("id", "")), response.get("output"), response.get("tools")
    # vLLM shows some calls of its own tools as reasoning: where it has such tools, an item of reasoning may be one.
    own = isinstance(tools, list) and any(
        isinstance(each, Mapping) and each.get("type") != "function" for each in tools
    )
    kinds = [each.get("type") for each in output if isinstance(each, Mapping)] if isinstance(output, list) else []
    again = sum(kind not in ONE_TURN or (own and kind == "reasoning") for kind in kinds)
    return [name, *(f"{name}_{number}" for number in range(1, again + 1))][:MOST_CHOICES]


async def _refuse(send: Send, why: str) -> None:
    body = write({"error": {"message": f"request: {why}", "type": "BadRequestError", "code": 400}}).encode()
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 400, "headers": head})
    await send({"type": "http.response.body", "body": body})


def _path(scope: Scope) -> str:
    """The path within the application, without what a proxy puts before it."""
    path, root = str(scope.get("path", "")), str(scope.get("root_path", "")).rstrip("/")
    return path.removeprefix(root) if root and path.startswith(f"{root}/") else path


def _nobody_says(request_id: str) -> sri_sdk.Verdict:
    return sri_sdk.Verdict(request_id, "unmonitored", ("no_verdict",))


def request_ids(prefix: str, base: str, body: bytes) -> list[str]:
    """Under which ids vLLM generates what a request asks for, one per choice of its response, `MOST_CHOICES` at most.

    Args:
        prefix: of the path.
        base: the id in the header.
        body: of the request; what is no JSON counts as one choice, and vLLM refuses it.
    """
    try:
        asked = parse(body)
    except JsonError:
        asked = {}
    asked = asked if isinstance(asked, Mapping) else {}
    n, prompt = asked.get("n"), asked.get("prompt")
    each = min(n, MOST_CHOICES + 1) if isinstance(n, int) and n > 1 else 1
    many = isinstance(prompt, list) and bool(prompt) and isinstance(prompt[0], str | list)
    prompts = len(prompt) if many and isinstance(prompt, list) else 1
    name = f"{prefix}{base}"
    whole = (name,) if prefix == CHAT else (f"{name}-{number}" for number in range(prompts))
    ids = (each_name if each == 1 else f"{child}_{each_name}" for each_name in whole for child in range(each))
    return list(islice(ids, MOST_CHOICES))


async def _read(receive: Receive) -> tuple[bytes, Receive, bool]:
    """The body of a request, a `receive` that gives it again, and whether the client stayed until then."""
    kept: list[Message] = []
    size = 0
    while True:
        message = await receive()
        kept.append(message)
        size += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body") or size > MOST_BYTES:
            break
    body = b"".join(message.get("body", b"") for message in kept)
    return body, _replayed(kept, receive), kept[-1]["type"] == "http.request"


def _replayed(kept: Sequence[Message], receive: Receive) -> Receive:
    """A `receive` that gives these first."""
    messages: Iterator[Message] = iter(list(kept))

    async def replay() -> Message:
        return next(messages, None) or await receive()

    return replay


class _Answer:
    """One response on its way out."""

    def __init__(
        self, send: Send, field: VerdictField, ids: Callable[[Mapping[str, Any]], Sequence[str]], *,
        ends: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """Takes where it goes; `ids` is asked once vLLM has taken the request, so that a refused one costs nothing.

        `ends` are the events that end a stream and hold the whole response; without them `[DONE]` does.
        """
        self._send, self._field, self._ids, self._ends = send, field, ids, ends
        self._head: Message | None = None
        self._body = b""
        self._stream = self._plain = False
        self._last: bytes = b""

    async def take(self, message: Message) -> None:
        """A message of the application."""
        if message["type"] == "http.response.start":
            await self._start(message)
        elif message["type"] != "http.response.body" or self._plain:
            await self._send(message)
        elif self._stream:
            await self._piece(message)
        else:
            await self._whole(message)

    async def _start(self, message: Message) -> None:
        kind = dict((name.lower(), value) for name, value in message.get("headers", ())).get(b"content-type", b"")
        self._stream = kind.startswith(b"text/event-stream")
        self._plain = message["status"] != 200 or not (self._stream or kind.startswith(b"application/json"))
        if self._stream or self._plain:
            await self._send(message)
        else:
            self._head = message

    async def _whole(self, message: Message) -> None:
        self._body += message.get("body", b"")
        if message.get("more_body") and len(self._body) <= MOST_BYTES:
            return
        body, head = self._body, self._head
        assert head is not None
        self._plain = True
        if not message.get("more_body"):
            body = await self._with_field(body)
            headers = [(n, v) for n, v in head.get("headers", ()) if n.lower() != b"content-length"]
            head = {**head, "headers": [*headers, (b"content-length", str(len(body)).encode())]}
        await self._send(head)
        await self._send({**message, "body": body})

    async def _with_field(self, body: bytes) -> bytes:
        try:
            told = parse(body)
        except JsonError:
            return body
        if not isinstance(told, dict):
            return body
        await self._judge(told)
        return write(told, ensure_ascii=False, separators=(",", ":")).encode()

    async def _judge(self, told: dict[str, Any]) -> None:
        """Adds the field to a response."""
        told[FIELD] = {"verdicts": await self._field.verdicts(self._ids(told))}

    async def _piece(self, message: Message) -> None:
        """Passes pieces on; the verdicts come before the words that end the stream."""
        lines = message.get("body", b"").split(b"\n")
        if self._ends:
            await self._send({**message, "body": b"\n".join([await self._last_event(line) for line in lines])})
            return
        self._last = next((line for line in lines if line.startswith(b"data: {")), self._last)
        # At the beginning of a line only: a text may hold these words, and there no line ends.
        ends = next((at for at, line in enumerate(lines) if line.startswith(DONE)), None)
        if ends is None:
            await self._send(message)
            return
        if before := b"\n".join([*lines[:ends], b""]):
            await self._send({"type": "http.response.body", "body": before, "more_body": True})
        event = DATA + (await self._event()) + b"\n\n"
        await self._send({**message, "body": event + b"\n".join(lines[ends:])})

    async def _last_event(self, line: bytes) -> bytes:
        """A line of a stream; in one that ends it, the response has the field."""
        if not line.startswith(DATA):
            return line
        try:
            event = parse(line.removeprefix(DATA))
        except JsonError:
            return line
        if (
            not isinstance(event, dict)
            or event.get("type") not in self._ends
            or not isinstance(event.get("response"), dict)
        ):
            return line
        await self._judge(event["response"])
        return DATA + write(event, ensure_ascii=False, separators=(",", ":")).encode()

    async def _event(self) -> bytes:
        """A piece like those before it, without a choice, as the one with the usage is."""
        try:
            last = parse(self._last.removeprefix(DATA))
        except JsonError:
            last = {}
        known = last if isinstance(last, dict) else {}
        like = {name: known[name] for name in ("id", "object", "created", "model") if name in known}
        told: dict[str, Any] = {**like, "choices": []}
        await self._judge(told)
        return write(told, ensure_ascii=False, separators=(",", ":")).encode()
