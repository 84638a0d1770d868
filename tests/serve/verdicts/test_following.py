"""Waiting for a verdict, and following all of them."""

import asyncio

import pytest

from sri_sdk.serve.rights import Caller
from sri_sdk.serve.store.store import VerdictStore
from sri_sdk.serve.verdicts import lookups
from tests.serve.store.conftest import FOREVER, rows, verdict
from tests.serve.verdicts.conftest import posted

NOBODY = Caller("x", frozenset())


def test_a_look_up_waits_until_the_verdict_is_there(service):
    async def run():
        async with service.running():
            asked = [asyncio.create_task(service.ask("GET", f"/v1/verdicts/{n}?wait_ms=30000")) for n in "abb"]
            await asyncio.sleep(0.2)
            assert not any(each.done() for each in asked)
            await service.ask("POST", "/v1/verdicts", posted(verdict("b", "flagged"), verdict("a")))
            return [(await each).json["verdict"]["status"] for each in asked]

    assert asyncio.run(run()) == ["clear", "flagged", "flagged"]


def test_a_look_up_is_woken_by_what_another_process_stores(service, tmp_path):
    async def run():
        async with service.running():
            asked = asyncio.create_task(service.ask("GET", "/v1/verdicts/a?wait_ms=30000"))
            await asyncio.sleep(0.2)
            with VerdictStore.open(f"sqlite:///{tmp_path}/verdicts.db", kept=FOREVER) as other:
                await asyncio.to_thread(other.add, rows("a"))
            return await asked

    assert asyncio.run(run()).status == 200


def test_a_look_up_of_another_tenants_verdict_goes_on_waiting(service):
    service.callers["x"] = Caller("x", frozenset({"read"}), "x")

    async def run():
        async with service.running():
            asked = asyncio.create_task(service.ask("GET", "/v1/verdicts/a?wait_ms=300", authorization="x"))
            await asyncio.sleep(0.05)
            await service.ask("POST", "/v1/verdicts", posted(verdict("a")), sri_tenant="y")
            return await asked

    assert asyncio.run(run()).status == 404


def by(rule, status="clear"):
    return posted(verdict("a", status, rule=rule))


def test_a_look_up_of_one_rule_is_not_ended_by_a_milder_verdict_of_another(service):
    async def run():
        async with service.running():
            await service.ask("POST", "/v1/verdicts", by("request"))
            asked = asyncio.create_task(service.ask("GET", "/v1/verdicts/a?wait_ms=30000&rule=final"))
            await service.ask("POST", "/v1/verdicts", by("online", "unmonitored"))
            await asyncio.sleep(0.2)
            assert not asked.done()
            await service.ask("POST", "/v1/verdicts", by("final", "flagged"))
            return (await asked).json

    found = asyncio.run(run())
    assert (found["verdict"]["status"], found["verdict"]["rule"], found["verdicts"]) == ("flagged", "final", 3)


def test_a_flag_of_another_rule_ends_the_wait_at_once(service):
    service("POST", "/v1/verdicts", by("request", "flagged"))
    assert service("GET", "/v1/verdicts/a?wait_ms=30000&rule=final").json["verdict"]["rule"] == "request"


@pytest.mark.parametrize(
    ("rule", "status", "answer"),
    [("final", "clear", (200, "clear", "final")), ("request", "clear", (404, "unmonitored", "final")),
     ("online", "not_sampled", (404, "unmonitored", "final")),
     ("online", "unmonitored", (200, "unmonitored", "online"))],
)  # fmt: skip
def test_without_a_verdict_of_the_rule_nothing_is_clear(service, rule, status, answer):
    service("POST", "/v1/verdicts", by(rule, status))
    found = service("GET", "/v1/verdicts/a?wait_ms=1&rule=final")
    assert (found.status, found.json["verdict"]["status"], found.json["verdict"]["rule"]) == answer


def test_what_is_milder_than_the_rule_asked_for_does_not_hide_a_severe_one(service):
    for rule, status in (("online", "unmonitored"), ("final", "clear")):
        service("POST", "/v1/verdicts", by(rule, status))
    assert service("GET", "/v1/verdicts/a?rule=final").json["verdict"]["status"] == "unmonitored"


def test_nobody_is_forgotten_once_they_stop_waiting(service):
    async def run():
        async with service.running():
            await service.ask("GET", "/v1/verdicts/a?wait_ms=10")
            assert not service.arrivals._by_key and not service.arrivals._anything
            asked = asyncio.create_task(service.ask("GET", "/v1/verdicts/a?wait_ms=30000"))
            await asyncio.sleep(0.05)
            await service.ask("POST", "/v1/verdicts", posted(verdict("a")))
            assert (await asked).status == 200 and not service.arrivals._by_key

    asyncio.run(run())


@pytest.mark.parametrize("turns", range(4))
def test_a_server_that_ends_as_a_verdict_arrives_still_ends(service, turns):
    async def once():
        async with service.running(), service.arrivals.of("a"):
            await asyncio.sleep(0.05)
            service.arrivals._nudge.set()
            for _ in range(turns):
                await asyncio.sleep(0)

    async def run():
        done, _ = await asyncio.wait({asyncio.create_task(once())}, timeout=10)
        return bool(done)

    assert asyncio.run(run())


def test_pages_have_every_verdict_once_in_order(service):
    service("POST", "/v1/verdicts", posted(*(verdict(f"r{n}") for n in range(7)), source="s"))
    seen, after = [], 0
    while (page := service("GET", f"/v1/verdicts?after={after}&limit=3").json)["verdicts"]:
        seen += [(each["id"], each["source"]) for each in page["verdicts"]]
        after = page["next"]
    assert seen == [(f"r{n}", "s") for n in range(7)]


def test_a_page_of_one_status_leaves_the_others_out(service):
    service("POST", "/v1/verdicts", posted(verdict("a"), verdict("b", "flagged")))
    page = service("GET", "/v1/verdicts?status=flagged").json
    assert [each["id"] for each in page["verdicts"]] == ["b"]


class Reader:
    """A client of the stream: collects events until it has enough, then closes the connection."""

    def __init__(self, app, path, **headers):
        self.scope = {
            "type": "http", "method": "GET", "path": path.partition("?")[0], "raw_path": None,
            "query_string": path.partition("?")[2].encode(),
            "headers": [(b"accept", b"text/event-stream"), *((k.encode(), v.encode()) for k, v in headers.items())],
        }  # fmt: skip
        self.text, self.closed, self.changed = "", asyncio.Event(), asyncio.Event()
        self.asked = False
        self.task = asyncio.create_task(app(self.scope, self.receive, self.send))

    async def receive(self):
        if not self.asked:
            self.asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.closed.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        self.text += message.get("body", b"").decode()
        self.changed.set()

    async def until(self, *words):
        async with asyncio.timeout(30):
            while not all(word in self.text for word in words):
                await self.changed.wait()
                self.changed.clear()


def test_a_stream_begins_where_it_is_asked_to_and_goes_on(service):
    async def run():
        async with service.running():
            await service.ask("POST", "/v1/verdicts", posted(verdict("before"), verdict("old")))
            reader = Reader(service.app, "/v1/verdicts", **{"last-event-id": "1"})
            await reader.until('"id": "old"')
            await service.ask("POST", "/v1/verdicts", posted(verdict("new\u00e9")))
            await reader.until('"id": "new\\u00e9"')
            reader.closed.set()
            async with asyncio.timeout(30):
                await reader.task
            return reader.text

    text = asyncio.run(run())
    assert "before" not in text and text.count("event: verdict") == 2 and "id: 3\n" in text


LATER = {
    "revoked": NOBODY, "other-right": Caller("x", frozenset({"write"})),
    "other-tenant": Caller("x", frozenset({"read"}), "y"),
}  # fmt: skip


@pytest.mark.parametrize("later", LATER.values(), ids=LATER.keys())
def test_a_stream_ends_once_its_token_may_no_longer_read_it(service, later):
    service.callers["x"] = Caller("x", frozenset({"read"}))

    async def run():
        async with service.running():
            reader = Reader(service.app, "/v1/verdicts", authorization="x")
            await service.ask("POST", "/v1/verdicts", posted(verdict("before")))
            await reader.until('"id": "before"')
            service.callers["x"] = later
            await service.ask("POST", "/v1/verdicts", posted(verdict("after")))
            async with asyncio.timeout(30):
                await reader.task
            return reader.text

    text = asyncio.run(run())
    assert "after" not in text and text.count("event: error") == 1 and "token" in text


def test_a_look_up_that_waits_answers_nobody_whose_token_was_revoked_meanwhile(service):
    service.callers["x"] = Caller("x", frozenset({"read"}))

    async def run():
        async with service.running():
            asked = asyncio.create_task(service.ask("GET", "/v1/verdicts/a?wait_ms=30000", authorization="x"))
            await asyncio.sleep(0.05)
            service.callers["x"] = NOBODY
            await service.ask("POST", "/v1/verdicts", posted(verdict("a")))
            return await asked

    found = asyncio.run(run())
    assert found.status == 403 and b"clear" not in found.body


def test_a_quiet_stream_says_that_it_lives_and_ends_with_its_client(service, monkeypatch):
    monkeypatch.setattr(lookups, "QUIET_S", 0.05)

    async def run():
        async with service.running():
            reader = Reader(service.app, "/v1/verdicts?status=flagged")
            await service.ask("POST", "/v1/verdicts", posted(verdict("a")))
            await reader.until(": \n\n: \n\n: \n\n")
            reader.closed.set()
            async with asyncio.timeout(30):
                await reader.task
            assert not service.arrivals._anything and "event" not in reader.text

    asyncio.run(run())


def test_no_more_than_so_many_streams_are_open(service, monkeypatch):
    monkeypatch.setattr(lookups, "MOST_STREAMS", 1)

    async def run():
        async with service.running():
            reader = Reader(service.app, "/v1/verdicts")
            await reader.until(":")
            refused = await service.ask("GET", "/v1/verdicts", accept="text/event-stream")
            reader.closed.set()
            await reader.task
            again = Reader(service.app, "/v1/verdicts")
            await again.until(":")
            again.closed.set()
            await again.task
            return refused.status

    assert asyncio.run(run()) == 429
