"""The verdict as a field of responses: who gets it, under which id it is looked up, and what a stranger may choose."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from sri_plugin_vllm import CONFIG
from sri_plugin_vllm.ids import external_id
from sri_plugin_vllm.middleware import MOST_BYTES, MOST_CHOICES, VerdictField, request_ids, turns

import sri_sdk
from sri_sdk.engine.settings import EngineSettings, read_engine_settings
from sri_sdk.errors import ConfigError
from sri_sdk.strict_json import parse, write

ASKS = [(b"sri-verdict", b"true")]
CHAT, TEXT, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"


class Store:
    def __init__(self, status: Any = "flagged", error: Exception | None = None) -> None:
        self.asked: list[str] = []
        self.status, self.error = status, error

    def lookup(self, request_id: str, **_: Any) -> sri_sdk.Verdict:
        self.asked.append(request_id)
        if self.error is not None:
            raise self.error
        return sri_sdk.Verdict(request_id, self.status, ("score_above_threshold",), score=3.0)


def settings(**response: Any) -> EngineSettings:
    store = {"url": "http://127.0.0.1:9"}
    return EngineSettings.model_validate(
        {"version": 1, "guard": {"path": "guard"}, "store": store, "response": response}
    )  # fmt: skip


class Server:
    """Answers as vLLM does: its id is made from the header."""

    def __init__(self, *, stream: bool = False, status: int = 200, pieces: list[bytes] | None = None) -> None:
        self.stream, self.status, self.pieces = stream, status, pieces
        self.id = self.body = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        self.body = message.get("body", b"").decode()
        self.id = next((v.decode() for n, v in scope["headers"] if n == b"x-request-id"), "")
        kind = b"text/event-stream; charset=utf-8" if self.stream else b"application/json"
        answer = write({"id": f"chatcmpl-{self.id}", "object": "chat.completion", "choices": [{"index": 0}]}).encode()
        head = [(b"content-type", kind), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": self.status, "headers": head})
        pieces = [b"data: " + answer + b"\n\n", b"data: [DONE]\n\n"] if self.stream else [answer]
        for piece in self.pieces or pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def ask(
    server: Any, store: Any, *, path: str = CHAT, headers: Any = ASKS, body: Any = None, root: str = "", **response: Any
) -> tuple[dict[str, Any], bytes]:
    sent: list[Any] = []
    app = VerdictField(server, settings(**response), store)

    async def run() -> None:
        messages = [{"type": "http.request", "body": write({} if body is None else body).encode()}]

        async def receive() -> Any:
            return messages.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": path, "root_path": root, "headers": list(headers)}
        await app(scope, receive, send)

    asyncio.run(run())
    return sent[0], b"".join(message.get("body", b"") for message in sent[1:])


def test_who_asks_finds_the_verdict_under_the_engines_id() -> None:
    server, store = Server(), Store()
    head, body = ask(server, store)
    found = parse(body)
    assert store.asked == [found["id"]]
    assert found["sri"]["verdicts"] == [{"index": 0, "request_id": found["id"], "status": "flagged", "rule": "final"}]
    assert dict(head["headers"])[b"content-length"] == str(len(body)).encode()


def test_scores_and_reasons_are_told_only_where_the_operator_says_so() -> None:
    _, body = ask(Server(), Store(), detail="full")
    assert parse(body)["sri"]["verdicts"][0]["score"] == 3.0


def test_who_does_not_ask_gets_what_vllm_says() -> None:
    store = Store()
    _, body = ask(Server(), store, headers=[])
    assert "sri" not in parse(body)
    assert not store.asked


def test_a_stranger_cannot_choose_an_id_that_was_judged_before() -> None:
    server = Server()
    ask(server, Store(), headers=[*ASKS, (b"X-Request-Id", b"clear-once")])
    assert server.id not in ("clear-once", "")


def test_an_id_of_a_gateway_is_believed_where_the_operator_says_so() -> None:
    server, store = Server(), Store()
    ask(server, store, headers=[*ASKS, (b"x-request-id", b"mine")], trust_request_id=True)
    assert (server.id, store.asked) == ("mine", ["chatcmpl-mine"])


def test_an_id_that_comes_twice_is_not_believed() -> None:
    server = Server()
    ask(server, Store(), headers=[(b"x-request-id", b"a"), (b"x-request-id", b"b")], trust_request_id=True)
    assert server.id not in ("a", "b")


def test_a_stream_has_it_in_a_piece_before_the_end() -> None:
    _, body = ask(Server(stream=True), Store("clear"))
    events = [line for line in body.split(b"\n") if line]
    assert events[-1] == b"data: [DONE]"
    told = parse(events[-2].removeprefix(b"data: "))
    assert (told["choices"], told["object"]) == ([], "chat.completion")
    assert told["sri"]["verdicts"][0]["status"] == "clear"


def test_a_text_that_holds_the_words_of_the_end_does_not_end_the_stream() -> None:
    text = b'data: {"id": "x", "choices": [{"delta": {"content": "data: [DONE]"}}]}\n\n'
    store = Store()
    _, body = ask(Server(stream=True, pieces=[text, b"data: [DONE]\n\n"]), store)
    assert body.startswith(text)
    assert len(store.asked) == 1


def test_a_store_that_fails_is_unmonitored_and_never_clear() -> None:
    _, body = ask(Server(), Store(error=OSError("down")))
    assert parse(body)["sri"]["verdicts"][0]["status"] == "unmonitored"


def test_an_error_of_the_engine_passes_as_it_is() -> None:
    store = Store()
    head, body = ask(Server(status=400), store)
    assert head["status"] == 400
    assert "sri" not in parse(body)
    assert not store.asked


OTHER = ("/v1/messages", "/v1/responses/x/cancel", "/gate/v1/chat/completions", "/v1/chat/completions/", "/v1/models")


@pytest.mark.parametrize("path", OTHER)
def test_a_stranger_cannot_choose_an_id_whatever_the_path(path: str) -> None:
    server, store = Server(), Store()
    _, body = ask(server, store, path=path, headers=[*ASKS, (b"x-request-id", b"clear-once")])
    assert server.id not in ("clear-once", "")
    assert "sri" not in parse(body)
    assert not store.asked


@pytest.mark.parametrize("path", OTHER)
def test_an_id_of_a_gateway_is_believed_whatever_the_path(path: str) -> None:
    server = Server()
    ask(server, Store(), path=path, headers=[(b"x-request-id", b"mine")], trust_request_id=True)
    assert server.id == "mine"


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_a_connection_of_any_kind_has_an_id_nobody_chose(kind: str) -> None:
    seen: list[Any] = []

    async def app(scope: Any, *_: Any) -> None:
        seen.extend(value for name, value in scope["headers"] if name == b"x-request-id")

    scope = {"type": kind, "path": CHAT, "method": "GET", "headers": [(b"x-request-id", b"clear-once")]}
    asyncio.run(VerdictField(app, settings(), Store())(scope, None, None))  # type: ignore[arg-type]
    assert len(seen) == 1
    assert seen != [b"clear-once"]


def test_a_path_behind_a_proxys_prefix_has_the_verdict() -> None:
    _, body = ask(Server(), Store(), path=f"/gate{CHAT}", root="/gate")
    assert parse(body)["sri"]["verdicts"][0]["status"] == "flagged"


def test_what_vllm_refuses_makes_no_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(*_: Any) -> Any:
        raise AssertionError("ids were made of a request that was refused")

    monkeypatch.setattr("sri_plugin_vllm.middleware.request_ids", made)
    head, _ = ask(Server(status=400), Store(), body={"n": 3_000_000})
    assert head["status"] == 400


@pytest.mark.parametrize(
    ("prefix", "body"), [("chatcmpl-", {"n": 10**15}), ("cmpl-", {"prompt": ["a"] * 1000, "n": 10**15})]
)
def test_no_more_ids_are_made_than_are_looked_up(prefix: str, body: Any) -> None:
    found = request_ids(prefix, "x", write(body).encode())
    assert len(found) == MOST_CHOICES
    assert found[:2] == [f"{child}_{prefix}x{'' if prefix == 'chatcmpl-' else '-0'}" for child in range(2)]


def test_a_choice_too_many_costs_nothing_but_its_own_entry() -> None:
    _, body = ask(Server(), Store("clear"), body={"n": MOST_CHOICES + 5})
    told = parse(body)["sri"]["verdicts"]
    assert [each["index"] for each in told] == list(range(MOST_CHOICES))


def test_all_choices_of_a_response_share_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sri_plugin_vllm.middleware.GRACE_S", 0.05)
    release = threading.Event()

    class Stuck(Store):
        def lookup(self, request_id: str, **given: Any) -> sri_sdk.Verdict:
            self.asked.append(request_id)
            if request_id.startswith("0_"):
                return super().lookup(request_id)
            # Longer than any deadline: only the end of the answer lets it go.
            release.wait(30)
            return super().lookup(request_id)

    async def run() -> list[Any]:
        app = VerdictField(Server(), settings(wait_s=1.0), Stuck("clear"))
        try:
            return await app.verdicts([f"{number}_x" for number in range(60)])
        finally:
            release.set()

    told = asyncio.run(run())
    assert [each["status"] for each in told] == ["clear", *["unmonitored"] * 59]


def test_a_look_up_waits_no_longer_than_is_left() -> None:
    waits: list[float] = []

    class Noting(Store):
        def lookup(self, request_id: str, **given: Any) -> sri_sdk.Verdict:
            waits.append(given["wait_s"])
            return super().lookup(request_id)

    app = VerdictField(Server(), settings(wait_s=3.0), Noting())
    assert app._verdict("x", 0.0)["status"] == "flagged"
    asyncio.run(app.verdicts(["x"]))
    assert waits[0] == 0
    assert 0 < waits[1] <= 3


def test_the_request_reaches_the_engine_as_it_was_sent() -> None:
    server = Server()
    ask(server, Store(), body={"n": 1, "messages": []})
    assert parse(server.body) == {"n": 1, "messages": []}


@pytest.mark.parametrize(
    ("prefix", "body", "ids"),
    [
        ("chatcmpl-", {}, ["chatcmpl-x"]),
        ("chatcmpl-", {"n": 2}, ["0_chatcmpl-x", "1_chatcmpl-x"]),
        ("cmpl-", {"prompt": "a"}, ["cmpl-x-0"]),
        ("cmpl-", {"prompt": [1, 2]}, ["cmpl-x-0"]),
        ("cmpl-", {"prompt": ["a", "b"], "n": 2}, ["0_cmpl-x-0", "1_cmpl-x-0", "0_cmpl-x-1", "1_cmpl-x-1"]),
        ("cmpl-", {"prompt": [[1], [2, 3]]}, ["cmpl-x-0", "cmpl-x-1"]),
    ],
)
def test_each_choice_has_the_id_that_vllm_gives_it(prefix: str, body: Any, ids: list[str]) -> None:
    assert request_ids(prefix, "x", write(body).encode()) == ids


def test_a_body_that_is_no_json_counts_as_one_choice() -> None:
    assert request_ids("chatcmpl-", "x", b"{") == ["chatcmpl-x"]


class Responses(Server):
    """Answers as vLLM does on this path: its id is that of the body."""

    output: tuple[str, ...] = ("reasoning", "message")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        self.body = message["body"].decode()
        assert dict(scope["headers"])[b"content-length"] == str(len(message["body"])).encode()
        self.id = parse(self.body).get("request_id", "resp_vllms")
        told = {"id": self.id, "object": "response", "output": [{"type": kind} for kind in self.output]}
        answer = write(told).encode()
        kind = b"text/event-stream; charset=utf-8" if self.stream else b"application/json"
        pieces = [answer]
        if self.stream:
            delta = write({"type": "response.output_text.delta", "delta": '"type":"response.completed"'}).encode()
            last = write({"type": "response.completed", "response": told}).encode()
            pieces = [b"event: response.output_text.delta\ndata: " + delta + b"\n\n",
                      b"event: response.completed\ndata: " + last + b"\n\n"]  # fmt: skip
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def asked_for_a_response(server: Any, store: Any, body: bytes = b'{"input": "hello"}', **given: Any) -> Any:
    """Status of the answer, and its body."""
    sent: list[Any] = []
    headers = [*given.pop("headers", ASKS), (b"content-length", str(len(body)).encode())]
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": RESPONSES, "headers": headers}
    asyncio.run(VerdictField(server, settings(**given), store)(scope, receive, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


def test_a_response_has_the_verdict_under_its_own_id() -> None:
    server, store = Responses(), Store()
    _, body = asked_for_a_response(server, store)
    found = parse(body)
    assert store.asked == [found["id"]]
    assert found["sri"]["verdicts"] == [{"index": 0, "request_id": found["id"], "status": "flagged", "rule": "final"}]
    assert external_id(f"{found['id']}_0-0123abcd", randomised=True) == found["id"]
    assert parse(server.body)["input"] == "hello"


@pytest.mark.parametrize("headers", [ASKS, []])
def test_a_stranger_cannot_choose_the_id_of_a_response(headers: Any) -> None:
    server = Responses()
    asked_for_a_response(server, Store(), b'{"request_id": "resp_clear-once"}', headers=headers)
    assert server.id.startswith("resp_")
    assert "clear-once" not in server.body


def test_a_gateway_may_choose_the_id_of_a_response_where_the_operator_says_so() -> None:
    server, store = Responses(), Store()
    asked_for_a_response(server, store, b'{"request_id": "resp_mine"}', trust_request_id=True)
    assert (server.id, store.asked) == ("resp_mine", ["resp_mine"])


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"request_id": "a", "request_id": "b"}', b"twice"), (b"[1]", b"no JSON object"), (b"{", b"message"),
        (b" " * (MOST_BYTES + 1), b"longer than"),
    ],
)  # fmt: skip
def test_a_response_whose_id_cannot_be_set_is_refused(body: bytes, why: bytes) -> None:
    server = Responses()
    status, told = asked_for_a_response(server, Store(), body)
    assert status == 400
    assert why in told
    assert not server.body


def test_a_response_in_a_stream_has_it_in_the_event_that_ends_it() -> None:
    server, store = Responses(stream=True), Store("clear")
    _, body = asked_for_a_response(server, store)
    events = [parse(line.removeprefix(b"data: ")) for line in body.split(b"\n") if line.startswith(b"data: ")]
    assert "sri" not in events[0]
    assert events[-1]["response"]["sri"]["verdicts"][0]["request_id"] == events[-1]["response"]["id"]
    assert len(store.asked) == 1


def test_each_call_of_a_servers_tool_is_a_generation_more() -> None:
    server, store = Responses(), Store()
    server.output = ("reasoning", "mcp_call", "reasoning", "web_search_call", "function_call", "message")
    asked_for_a_response(server, store)
    assert sorted(store.asked) == [server.id, f"{server.id}_1", f"{server.id}_2"]
    assert external_id(f"{server.id}_1-0123abcd", randomised=True) == f"{server.id}_1"
    assert len(turns({"id": "resp_1", "output": [{"type": "mcp_call"}] * 1000})) == MOST_CHOICES
    assert turns({"id": "resp_1", "output": "x"}) == ["resp_1"]
    # vLLM shows a call of the server's `python` as reasoning.
    thought = {"id": "resp_1", "output": [{"type": "reasoning"}, {"type": "message"}]}
    assert turns(thought | {"tools": [{"type": "function"}]}) == ["resp_1"]
    assert turns(thought | {"tools": [{"type": "code_interpreter"}]}) == ["resp_1", "resp_1_1"]


def test_who_does_not_ask_for_the_verdict_on_a_response_gets_none() -> None:
    store = Store()
    _, body = asked_for_a_response(Responses(), store, headers=[])
    assert "sri" not in parse(body)
    assert not store.asked


def test_a_middleware_without_a_store_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "sri.yaml"
    file.write_text("version: 1\nguard: {path: g}\nsinks: [{name: jsonl, options: {path: v.jsonl}}]\n", "utf-8")
    monkeypatch.setenv(CONFIG, str(file))
    assert read_engine_settings(file).store is None
    with pytest.raises(ConfigError, match="no section `store`"):
        VerdictField(Server())
    monkeypatch.delenv(CONFIG)
    with pytest.raises(ConfigError, match=f"{CONFIG} is not set"):
        VerdictField(Server())


def test_a_request_whose_client_went_away_in_mid_body_is_not_run() -> None:
    ran: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        ran.append(scope)

    async def send(message: Any) -> None:
        ran.append(message)

    parts = iter([{"type": "http.request", "body": b'{"input": "x"}', "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> Any:
        return next(parts)

    scope = {"type": "http", "path": "/v1/responses", "method": "POST", "headers": []}
    asyncio.run(VerdictField(app, settings(), Store())(scope, receive, send))
    assert not ran
