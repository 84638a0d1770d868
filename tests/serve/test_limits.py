"""How much at once and for how long; tokens and tenants."""

import asyncio
import os

import pytest

from sri_sdk.errors import ConfigError
from sri_sdk.serve.app import App
from sri_sdk.serve.http import Refusal, json_answer
from sri_sdk.serve.limits import Limits
from sri_sdk.serve.routes import Route
from sri_sdk.serve.tokens import Tokens, read_tokens
from tests.serve.asgi import call, call_async
from tests.serve.oip_bodies import request_of

TOKEN = "0123456789abcdef0123"


def waiting_app(limits, *, waits=False):
    """An application whose one handler reads the body, then waits to be let go on."""
    go_on = asyncio.Event()

    async def handler(request):
        await request.body()
        await go_on.wait()
        return json_answer({})

    return App([Route("POST", "/", handler, "write", waits=waits)], limits=limits), go_on


@pytest.mark.parametrize("waits", [False, True])
def test_requests_beyond_the_limit_are_turned_away_at_once(waits):
    async def go():
        app, go_on = waiting_app(Limits(concurrency=2, waiting=2), waits=waits)
        tasks = [asyncio.create_task(call_async(app, "POST", "/")) for _ in range(2)]
        await asyncio.sleep(0)
        refused = await call_async(app, "POST", "/")
        go_on.set()
        return refused, await asyncio.gather(*tasks), await call_async(app, "POST", "/")

    refused, answered, later = asyncio.run(go())
    assert refused.status == 429 and refused.headers[b"retry-after"] == b"1"
    assert [got.status for got in (*answered, later)] == [200, 200, 200]


async def stuck(app, *, body_first):
    """A request whose body never ends, or whose handler never does."""
    sent, first = [], [{"type": "http.request", "body": b"x", "more_body": not body_first}]

    async def receive():
        if first:
            return first.pop()
        await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": []}
    await app(scope, receive, send)
    return sent[0]["status"]


@pytest.mark.parametrize(("body_first", "status"), [(False, 408), (True, 503)])
def test_a_request_that_takes_too_long_is_ended(body_first, status):
    async def go():
        limits = Limits(seconds=0.05)
        app, _ = waiting_app(limits)
        async with limits:
            return await asyncio.wait_for(stuck(app, body_first=body_first), 30), limits

    found, limits = asyncio.run(go())
    assert found == status and limits.timed_out == 1 and not limits.under_way


def test_a_route_that_waits_still_limits_the_time_of_a_body():
    async def go():
        app, _ = waiting_app(Limits(seconds=0.05), waits=True)
        return await asyncio.wait_for(stuck(app, body_first=False), 30)

    assert asyncio.run(go()) == 408


def test_a_cancelled_server_is_not_taken_for_a_slow_client():
    async def go():
        app, _ = waiting_app(Limits())
        task = asyncio.create_task(call_async(app, "POST", "/"))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(go())


def test_a_client_that_leaves_is_no_error(caplog):
    app, _ = waiting_app(Limits())

    async def go():
        async def receive():
            return {"type": "http.disconnect"}

        async def send(message):
            raise AssertionError("nobody is there")

        await app({"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": []}, receive, send)

    asyncio.run(go())
    assert not caplog.records


# -- tokens --------------------------------------------------------------------------------------------------


@pytest.fixture
def tokens(tmp_path):
    path = tmp_path / "tokens"
    path.write_text(
        f"# a comment\n\nscorer:{TOKEN}-w write tenant=acme\nreader:{TOKEN}-r read\n{TOKEN}-rw\nadmin:{TOKEN}-a admin\n"
    )
    return path


def bearer(end):
    return [(b"authorization", f"Bearer {TOKEN}-{end}".encode())]


@pytest.mark.parametrize(
    ("method", "path", "end", "status"),
    [
        ("GET", "/v2/models/sri_signal", "r", 200), ("GET", "/v2/models/sri_signal", "w", 403),
        ("GET", "/v2/models/sri_signal", "rw", 200), ("GET", "/v2/models/sri_signal", "x", 401),
        ("POST", "/v2/repository/models/sri/load", "rw", 403), ("POST", "/v2/repository/models/sri/load", "a", 200),
        ("GET", "/metrics", "w", 403), ("GET", "/metrics", "r", 200),
    ],
)  # fmt: skip
def test_a_token_may_do_what_its_line_says(build, tokens, method, path, end, status):
    assert call(build(tokens=tokens).app, method, path, headers=bearer(end)).status == status


def test_health_is_open_and_everything_else_needs_a_token(build, tokens):
    app = build(tokens=tokens).app
    for route in app.table.routes:
        path = route.pattern.format(model="sri_signal", version="1", bundle="sri", name="sri_signal")
        got = call(app, route.method, path)
        assert (got.status == 401) is not path.startswith("/v2/health") or route.right == "open", path
        assert route.right != "open" or got.status == 200


@pytest.mark.parametrize(
    "header", [b"", b"Bearer", b"Bearer ", b"Basic eHg6eHg=", b"Bearer \xff\xfe", TOKEN.encode() + b"-r"]
)
def test_a_header_without_a_known_token_is_refused(build, tokens, header):
    assert call(build(tokens=tokens).app, "GET", "/metrics", headers=[(b"authorization", header)]).status == 401


def test_a_token_of_a_tenant_scores_for_that_tenant_only(build, tokens):
    import numpy as np

    app, signals = build(tokens=tokens).app, {"signals": np.full((1, 32, 1), 0.5, np.float32)}
    for tenant, status in (("acme", 200), ("other", 403)):
        body, _ = request_of(signals, parameters={"sri_tenant": tenant})
        assert call(app, "POST", "/v2/models/sri_signal/infer", body, bearer("w")).status == status


def test_tokens_are_rotated_by_changing_the_file(tokens, caplog):
    found = Tokens(tokens)
    assert found.caller(f"Bearer {TOKEN}-r".encode()).name == "reader"
    tokens.write_text(f"next:{TOKEN}-next\n")
    found.reload(force=True)
    assert found.caller(f"Bearer {TOKEN}-next".encode()).name == "next"
    tokens.write_text("short\n")
    found.reload(force=True)
    assert "stay valid" in caplog.text and "short" not in caplog.text
    assert found.caller(f"Bearer {TOKEN}-next".encode()).name == "next"


def test_a_file_of_tokens_that_is_being_written_is_left_alone_until_nobody_writes(tokens):
    found, header = Tokens(tokens), f"Bearer {TOKEN}-next".encode()
    tokens.write_text(f"next:{TOKEN}-next")
    found.reload()
    with pytest.raises(Refusal):
        found.caller(header)
    # The rest of the line: half of it would have let the token write.
    tokens.write_text(f"next:{TOKEN}-next read\n")
    found.reload()
    with pytest.raises(Refusal):
        found.caller(header)
    found.reload()
    assert found.caller(header).rights == {"read"}


def test_a_file_of_tokens_that_changed_long_ago_is_read_at_the_first_look(tokens):
    found = Tokens(tokens)
    tokens.write_text(f"next:{TOKEN}-next\n")
    os.utime(tokens, (1e9, 1e9))
    found.reload()
    assert found.caller(f"Bearer {TOKEN}-next".encode()).name == "next"


@pytest.mark.parametrize("text", ["", "# nothing\n", "a:short\n", f"{TOKEN} rea\n", f"{TOKEN} tenant=\n", "\xff" * 20])
def test_a_wrong_file_of_tokens_is_refused_without_quoting_it(tmp_path, text):
    path = tmp_path / "tokens"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        read_tokens(path)
    assert TOKEN not in str(error.value)


def test_a_missing_file_of_tokens_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        Tokens(tmp_path / "none")
