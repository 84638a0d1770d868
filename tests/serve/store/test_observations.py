"""Observations of monitors: what is kept of them, what is found, what is erased; on SQLite and on PostgreSQL."""

import random
import threading

import numpy as np
import pytest

from sri_sdk.errors import SinkRejected
from sri_sdk.observation import Observation, Running, Trajectory
from sri_sdk.records import PartVerdict, Verdict
from sri_sdk.serve.http import LONGEST_ID
from sri_sdk.serve.store.details import texts_row
from sri_sdk.serve.store.faults import StoreUnavailable
from sri_sdk.serve.store.kept import Retention
from sri_sdk.serve.store.observed import StreamQuery
from sri_sdk.serve.store.prepared import LONGEST_KEY, LONGEST_NAME
from sri_sdk.serve.store.rows import Added
from sri_sdk.serve.store.store import VerdictStore
from sri_sdk.serve.store.tables import METADATA
from sri_sdk.serve.tokens import LONGEST_TENANT
from tests.serve.store.conftest import FOREVER, rows, verdict
from tests.serve.store.observed import NOW, ids, observed

LOGIT = np.array([[1.5, -2.0], [np.nan, 3.0], [0.25, np.inf]], dtype=np.float32)


def full() -> Observation:
    """One with everything."""
    part = PartVerdict("map", "flagged", 1.5, 1.0, 0.01, "request_harmful")
    return Observation(
        verdict("a", "flagged", 1.25, reasons=("request_harmful",), schema=2, parts=(part,)), NOW - 7,
        consequence="would_withhold", deployment="chat", model="small", tenant="t", audit_rate=0.25, audited=True,
        generation_s=1.5, scoring_s=0.004, trajectory=Trajectory(("sri@final", "request"), LOGIT, 2),
        prompt="question", response="𝄞", drafts=("a", "ab"),
    )  # fmt: skip


def test_an_observation_comes_back_as_it_was(store, clock):
    given = full()
    assert store.observe([given]) == Added(1, 0)
    found = store.observation(given.id)
    assert found.observation.to_dict() == given.to_dict() and found.received_at == int(clock.now * 1000)
    assert (found.label, found.labels) == (None, ())
    assert store.observation("a") == found or store.observation("a").observation.id == given.id


def test_a_page_has_no_texts_and_trajectories_only_where_they_are_asked_for(store):
    given = full()
    store.observe([given, observed("b")])
    _, row = store.stream().rows
    assert (row.observation.trajectory, row.observation.prompt, row.observation.drafts) == (None, None, ())
    without, row = store.stream(StreamQuery(trajectories=True)).rows
    assert row.observation.trajectory.to_dict() == given.trajectory.to_dict() and not without.observation.trajectory


def test_texts_that_no_database_takes_as_they_are_come_back(store):
    given = observed("a", prompt="zero \0", response="half \ud800", drafts=("\0", ""))
    store.observe([given])
    found = store.observation("a").observation
    assert (found.prompt, found.response, found.drafts) == ("zero \0", "half ?", ("\0", ""))


def test_an_observation_delivered_again_counts_once(store):
    some = [observed(name) for name in "abc"]
    assert store.observe(some) == Added(3, 0)
    assert store.observe([*some, observed("d"), some[0]]) == Added(1, 4)
    assert store.totals()[0] == 4 and sum(row.generations for row in store.hours(NOW, NOW + 1)) == 4


def test_nothing_observed_is_nothing_stored(store):
    assert store.observe([]) == Added(0, 0)


BAD = {
    "short id": observed("x", id="x"),
    "upper case": observed("x", id="A" * 32),
    "before 1970": observed("x", at=-1),
    "too late": observed("x", at=2**63),
    "half a millisecond": observed("x", at=1.5),
    "zero byte": observed("x\0"),
    "tenant": observed("x", tenant="x\0"),
    "long id": observed(513 * "x"),
    "long tenant": observed("x", tenant=129 * "x"),
    "long deployment": observed("x", deployment=129 * "x"),
    "half a character": observed("x", model="\ud800"),
    "not a number": observed("x", scoring_s=float("nan")),
    "rate in words": observed("x", audit_rate="x"),
    "list": Observation(Verdict("x", "clear", score=[1.0]), NOW),
    "status": Observation(Verdict("x", "strange"), NOW),
    "trajectory": observed("x", trajectory=Trajectory(("a",), "x", 1)),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_what_can_never_be_stored_is_rejected_and_costs_only_itself(store, bad):
    with pytest.raises(SinkRejected) as caught:
        store.observe([observed("a"), bad, observed("b")])
    assert caught.value.ids == {bad.id} and repr("x") not in caught.value.why
    assert ids(store.stream()) == ["b", "a"]


def test_a_row_that_the_database_itself_refuses_costs_only_itself(store, url, monkeypatch):
    monkeypatch.setattr("sri_sdk.serve.store.prepared.LONGEST_KEY", 10_000)
    # What cannot be compressed is too long for an entry of PostgreSQL's indexes; SQLite takes no number beyond 64 bits.
    bad = observed(random.Random(1).randbytes(4_000).hex())
    if url.startswith("sqlite"):
        monkeypatch.setattr("sri_sdk.serve.store.prepared.SPEAKS_NOT", 2**70)
        bad = observed("x", kind="canary")
    with pytest.raises(SinkRejected, match="a row that the database does not take") as caught:
        store.observe([*(observed(each) for each in "abc"), bad, observed("d")])
    assert caught.value.ids == {bad.id} and ids(store.stream()) == list("dcba")
    assert store.observe([observed("e")]) == Added(1, 0) and store.fault is None


def test_the_longest_id_and_names_fit_into_every_index(store):
    wide = random.Random(1)
    key, tenant, deployment = (
        "".join(chr(wide.randrange(0x20000, 0x2A6D0)) for _ in range(n))
        for n in (LONGEST_KEY, LONGEST_NAME, LONGEST_NAME)
    )
    assert (LONGEST_ID, LONGEST_TENANT) == (LONGEST_KEY, LONGEST_NAME)
    assert store.observe([observed(key, tenant=tenant, deployment=deployment)]) == Added(1, 0)


def test_canaries_and_shadows_never_speak_for_a_request(store):
    store.observe([observed("a", "flagged", kind="shadow"), observed("a"), observed("c", "flagged", kind="canary")])
    assert store.find(None, "a").row.verdict["status"] == "clear" and store.find(None, "a").verdicts == 1
    assert store.find("", "c") is None
    for query in ({}, {"tenant": ""}, {"status": "flagged"}):
        page = store.page(**query)
        assert [row.key for row in page.rows] == (["a"] if "status" not in query else [])
        assert page.next == store.last_seq()
    assert store.observation("c").observation.kind == "canary", "whoever asks for it itself finds it"
    assert store.observation("a").observation.kind == "traffic"


def test_an_observation_is_found_by_the_same_look_ups_as_a_posted_verdict(store):
    store.add(rows("a"))
    store.observe([observed("a", "flagged", tenant="")])
    found = store.find("", "a")
    assert (found.row.verdict["status"], found.row.source, found.verdicts) == ("flagged", "chat", 2)


def test_a_posted_verdict_is_an_observation_too(store, clock):
    store.add(rows("a", status="flagged", tenant="t", source="gpu-1"))
    (row,) = store.stream(StreamQuery(status="flagged", kind="traffic", consequence="released")).rows
    found = row.observation
    assert (found.tenant, found.deployment, found.at) == ("t", "gpu-1", int(clock.now * 1000))
    assert store.observation(found.id).observation == found and store.label(found.id, "benign", "ann") == 1


def test_a_listener_hears_of_observations(store):
    heard = threading.Event()
    store.listen(heard.set)
    store.observe([observed("a")])
    assert heard.wait(60)


def test_another_tenant_sees_nothing(store):
    given = observed("a", tenant="x")
    store.observe([given])
    for name in ("a", given.id):
        assert store.observation(name, tenant="y") is None and store.label(name, "benign", "ann", tenant="y") == 0
        assert store.observation(name, tenant="x")
    assert ids(store.stream(StreamQuery(tenant="y"))) == [] and ids(store.stream(StreamQuery(tenant="x"))) == ["a"]


def everything(connection) -> dict[str, int]:
    counted = {}
    for name in METADATA.tables:
        counted[name] = connection.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar()
    return counted


PERSONAL = ("sri_verdicts", "sri_trajectories", "sri_texts", "sri_labels")


@pytest.mark.parametrize("how", ["request", "tenant", "age", "number"])
def test_what_goes_takes_everything_along_that_belongs_to_it(url, clock, how):
    kept = {"age": Retention(keep_days=1), "number": Retention(keep_rows=1)}.get(how, FOREVER)
    with VerdictStore.open(url, kept=kept, clock=clock) as store:
        given = full()
        store.observe([given])
        store.label("a", "attack", "ann", "looks bad")
        store.observe([observed("b", tenant="other", prompt="stays")])
        if how == "request":
            assert store.erase("t", "a") == 1
        elif how == "tenant":
            assert store.erase_tenant("t") == 1
        else:
            clock.now += 2 * 86_400 if how == "age" else 0
            assert store.prune() == (2 if how == "age" else 1)
        with store._engines.reading.connect() as connection:
            left = everything(connection)
        stays = 0 if how == "age" else 1
        assert [left[name] for name in PERSONAL] == [stays, 0, stays, 0]
        assert store.observation(given.id) is None and store.observation("a") is None and store.labels() == ()
        assert sum(row.generations for row in store.hours(0, 2 * NOW)) == 2, "counts name nobody, and stay"
        if how == "age":
            assert store.totals() == (0, 0)


def test_size_counts_trajectories_and_texts(store):
    store.observe([observed("a")])
    small = store.totals()[1]
    logit = np.zeros((64, 2), dtype=np.float32)
    store.observe([observed("b", trajectory=Trajectory(("x", "y"), logit, 64))])
    assert store.totals()[1] - 2 * small > 512
    store.erase(None, "b")
    assert store.totals() == (1, small)


def test_what_was_erased_of_an_observation_stands_in_no_file(sqlite_url, tmp_path):
    given = observed("find-me-id", prompt="incompressible", tenant="tenant-of-old")
    packed = texts_row(given)["packed"]
    with VerdictStore.open(sqlite_url, kept=FOREVER) as store:
        store.observe([given])
        store.label("find-me-id", "attack", "find-me-ann", "find-me-note")
        store.show([Running("find-me-id", "chat", NOW, 1, 2, draft="find-me-draft", tenant="tenant-of-old")], "chat")
        files = [tmp_path / "verdicts.db", tmp_path / "verdicts.db-wal"]
        store.prune()
        assert any(packed in file.read_bytes() for file in files)
        store.erase(None, "find-me-id")
        assert not any(word in file.read_bytes() for file in files for word in (b"find-me", b"of-old", packed))


def test_hashed_ids_of_observations_stand_nowhere_and_are_found(url, clock):
    given = observed("patient-7", tenant="t")
    with VerdictStore.open(url, kept=FOREVER, secret=b"k" * 32, clock=clock) as store:
        store.observe([given])
        store.show([Running("patient-7", "chat", NOW, 1, 2)], "chat").result()
        assert store.label("patient-7", "benign", "ann") == 1
        seen = (store.stream(), store.observation(given.id), store.running(), store.labels())
        assert "patient-7" not in repr(seen)
        assert store.observation("patient-7").observation.request_id == "patient-7"
        assert [each.observation.id for each in store.stream(StreamQuery(id="patient-7")).rows] == [given.id]
        assert store.stream(StreamQuery(id="patient")).rows == ()
        assert store.erase(None, "patient-7") == 1 and store.running() == ()


def test_a_closed_store_takes_and_answers_nothing(sqlite_url):
    store = VerdictStore.open(sqlite_url)
    store.close()
    write, label = (lambda: store.observe([observed("a")])), (lambda: store.label("a", "benign", "b"))
    for use in (write, label, store.stream, store.running):
        with pytest.raises(StoreUnavailable, match="shutting down"):
            use()
    assert isinstance(store.show([], "chat").exception(), StoreUnavailable), "it returns at once, and never raises"
