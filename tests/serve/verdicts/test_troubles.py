"""A store in trouble, over HTTP: refused with a reason, never read as clear."""

import asyncio
import sqlite3
import threading

from sri_sdk.serve.store import engines
from sri_sdk.serve.store.store import VerdictStore
from tests.serve.store.conftest import FOREVER, verdict
from tests.serve.verdicts.conftest import Service, posted


def test_a_locked_store_is_a_503_for_what_is_posted_and_still_answers(tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "PATIENCE_S", 0.1)
    with VerdictStore.open(f"sqlite:///{tmp_path}/v.db", kept=FOREVER) as store:
        service = Service(store, unmonitored="pass")
        service("POST", "/v1/verdicts", posted(verdict("a")))
        other = sqlite3.connect(tmp_path / "v.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        for path, body in (("/v1/verdicts", posted(verdict("b"))), ("/v1/heartbeats", {"source": "s"})):
            found = service("POST", path, body)
            assert found.status == 503 and found.headers[b"retry-after"] == b"1" and "lock" in found.json["error"]
        assert service("DELETE", "/v1/verdicts/a").status == 503 and service("GET", "/v1/verdicts/a").status == 200
        other.execute("ROLLBACK")
        other.close()
        assert service("POST", "/v1/verdicts", posted(verdict("b"))).status == 200


def test_a_store_that_is_down_is_never_read_as_clear(service):
    service("POST", "/v1/verdicts", posted(verdict("a")))
    service.store.close()
    for method, path, body in (
        ("GET", "/v1/verdicts/a?wait_ms=10", None), ("GET", "/v1/verdicts", None), ("GET", "/v1/sources", None),
        ("POST", "/v1/verdicts", posted(verdict("b"))), ("DELETE", "/v1/verdicts/a", None),
    ):  # fmt: skip
        assert service(method, path, body).status == 503
    assert service("POST", "/beta/litellm_basic_guardrail_api", {"litellm_call_id": "a"}).status == 500


def test_a_post_whose_client_gave_up_harms_nobody_behind_it(service):
    go = threading.Event()

    async def run():
        async with service.running():
            held = service.store._writer.do(lambda connection: go.wait(30))
            given_up = asyncio.create_task(service.ask("POST", "/v1/verdicts", posted(verdict("a"))))
            behind = asyncio.create_task(service.ask("POST", "/v1/verdicts", posted(verdict("b"))))
            await asyncio.sleep(0.05)
            given_up.cancel()
            await asyncio.sleep(0.05)
            go.set()
            assert held.result(30) and (await behind).status == 200
            return await service.ask("POST", "/v1/verdicts", posted(verdict("c")))

    assert asyncio.run(run()).status == 200
