"""Routes, requests and refusals: the seam between the application and its handlers."""

import asyncio

import pytest

from sri_sdk.serve.app import App
from sri_sdk.serve.http import Answer, Refusal, bounded, json_answer
from sri_sdk.serve.rights import Caller
from sri_sdk.serve.routes import Route, Table
from tests.serve.asgi import call


async def echo(request):
    return json_answer({"params": dict(request.params), "query": request.query, "bytes": len(await request.body())})


async def broken(request):
    raise RuntimeError("what a user typed")


async def counting():
    for number in range(3):
        yield b"%d\n" % number


async def streamed(request):
    return Answer(content_type=b"text/event-stream", stream=counting())


def app(**more):
    routes = [
        Route("POST", "/v1/things/{id}", echo, "write"),
        Route("GET", "/v1/things/{id}", echo, "read"),
        Route("GET", "/v1/open", echo, "open"),
        Route("GET", "/v1/stream", streamed, "open"),
        Route("GET", "/v1/broken", broken, "open"),
    ]
    return App(routes, **more)


def test_a_path_finds_its_handler_and_names_its_parameters():
    assert call(app(), "POST", "/v1/things/a%2Fb?x=1", b"abc").json == {
        "params": {"id": "a/b"}, "query": {"x": "1"}, "bytes": 3,
    }  # fmt: skip


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/nothing", 404), ("PUT", "/v1/things/1", 405)])
def test_what_is_not_served_says_so(method, path, status):
    found = call(app(), method, path)
    assert found.status == status and "error" in found.json


@pytest.mark.parametrize("path", ["/v1/things/%ff", "/v1/open?x=1&x=2", "/v1/open?x=%ff"])
def test_what_is_not_utf8_or_ambiguous_is_refused(path):
    assert call(app(), "GET", path).status == 400


def test_two_routes_of_one_path_are_a_mistake():
    with pytest.raises(ValueError, match="the same"):
        Table([Route("GET", "/a", echo, "open"), Route("GET", "/a", echo, "open")])


@pytest.mark.parametrize("pieces", [[b"x" * 11], [b"x" * 6, b"x" * 6], [b"x"] * 30])
def test_a_body_is_not_read_beyond_the_limit(pieces):
    assert call(app(largest=10), "POST", "/v1/things/1", pieces=pieces).status == 413


def test_a_body_that_says_it_is_too_large_is_not_read_at_all():
    assert call(app(largest=10), "POST", "/v1/things/1", b"", [(b"content-length", b"11")]).status == 413


def test_a_body_in_pieces_arrives_whole():
    assert call(app(), "POST", "/v1/things/1", pieces=[b"ab", b"", b"c"]).json["bytes"] == 3


def test_a_compressed_body_is_refused():
    assert call(app(), "POST", "/v1/things/1", b"x", [(b"content-encoding", b"gzip")]).status == 415


def test_a_bug_is_an_answer_and_the_log_says_where_but_not_what_a_user_typed(caplog):
    found = call(app(), "GET", "/v1/broken")
    assert found.status == 500 and "in broken" in caplog.text and "RuntimeError" in caplog.text
    assert "what a user typed" not in found.body.decode() + caplog.text.replace('"what a user typed")', "")


def test_a_caller_without_the_right_is_refused():
    reader = app(who_calls=lambda request: Caller("r", frozenset({"read"})))
    assert call(reader, "GET", "/v1/things/1").status == 200
    assert call(reader, "POST", "/v1/things/1").status == 403


def test_a_stream_is_sent_piece_by_piece():
    assert call(app(), "GET", "/v1/stream").body == b"0\n1\n2\n"


def test_a_stream_ends_when_the_server_stops():
    async def endless():
        yield b"first"
        await asyncio.Event().wait()

    async def handler(request):
        return Answer(stream=endless())

    one = App([Route("GET", "/", handler, "open")])
    one.stopping.set()
    assert call(one, "GET", "/").status == 200


@pytest.mark.parametrize("text", ["", "a\nb", "x" * 513, 7, None, "\x00"])
def test_ids_from_outside_are_bounded(text):
    with pytest.raises(Refusal, match="1 to 512"):
        bounded(text, "id")
