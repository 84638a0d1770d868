"""No page reads a table from one end to the other: the plan of every query that a reader sends, as SQLite makes it.

SQLite plans without statistics here, as in production, so an empty store has the plans of a full one.
"""

import re

import pytest
from sqlalchemy import event

from sri_sdk.serve.store.observed import StreamQuery
from sri_sdk.serve.store.store import VerdictStore
from tests.serve.store.conftest import FOREVER
from tests.serve.store.observed import HOUR, NOW, observed
from tests.serve.store.test_streams import FILTERS

BIG = ("sri_verdicts", "sri_trajectories", "sri_texts", "sri_labels", "sri_counts", "sri_latencies")
"""Tables that grow with the traffic. The others have some rows per monitor, or some thousand at most."""
_SCAN = re.compile(rf"SCAN ({'|'.join(BIG)})\b")

WEEK = (NOW - 7 * 24 * HOUR, NOW + HOUR)
READS = {
    **{f"stream, {name}": lambda store, f=filters: store.stream(StreamQuery(**f)) for name, filters in FILTERS.items()},
    "stream, trajectories": lambda store: store.stream(StreamQuery(trajectories=True)),
    "stream, an observation's id": lambda store: store.stream(StreamQuery(id="abc")),
    "stream, far back": lambda store: store.stream(StreamQuery(before=2, kind="traffic")),
    "observation": lambda store: store.observation("a"),
    "observation by its id": lambda store: store.observation("a" * 32, tenant="x"),
    "hours": lambda store: store.hours(*WEEK),
    "hours of a deployment": lambda store: store.hours(*WEEK, deployment="chat", bundle="b" * 64),
    "days": lambda store: store.hours(*WEEK, together=24),
    "latencies": lambda store: store.latencies(*WEEK),
    "latencies of days": lambda store: store.latencies(*WEEK, deployment="chat", together=24),
    "audit": lambda store: store.audit_counts(*WEEK, deployment="chat"),
    "scores": lambda store: store.scores(*WEEK, deployment="chat"),
    "labels": lambda store: store.labels(),
    "running": lambda store: store.running(),
    "pulses": lambda store: store.pulses(),
    "choices": lambda store: store.choices(),
    "find": lambda store: store.find("", "a"),
    "find, everybody's": lambda store: store.find(None, "a"),
    "page": lambda store: store.page(),
    "page of a tenant": lambda store: store.page(tenant="x", status="flagged"),
    "last number": lambda store: store.last_seq(),
    "keys": lambda store: store.keys_after(0),
    "sources": lambda store: store.sources(),
    "totals": lambda store: store.totals(),
}
WRITES = {
    "observe": lambda store: store.observe([observed("new", "flagged", audited=True, prompt="x", scoring_s=1.0)]),
    "label": lambda store: store.label("a", "benign", "ann"),
    "label by id": lambda store: store.label("a" * 32, "benign", "ann"),
    "erase": lambda store: store.erase(None, "a"),
    "erase a tenant": lambda store: store.erase_tenant("x"),
    "prune": lambda store: store.prune(2 * NOW),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plans")
    with VerdictStore.open(f"sqlite:///{folder}/v.db", kept=FOREVER, clock=lambda: NOW / 1000) as opened:
        opened.observe([observed("a", audited=True, audit_rate=1.0, id="a" * 32), observed("b", tenant="x")])
        opened.label("b", "attack", "ann")
        yield opened


def plans(store, engine, use) -> list[tuple[str, str]]:
    """What SQLite plans to do for each statement that is sent, beside the statement."""
    sent = []

    def heard(connection, cursor, statement, parameters, context, executemany):
        if not statement.startswith(("PRAGMA", "BEGIN", "EXPLAIN")):
            sent.append((statement, parameters[0] if executemany else parameters))

    event.listen(engine, "before_cursor_execute", heard)
    try:
        use(store)
    finally:
        event.remove(engine, "before_cursor_execute", heard)
    assert sent, "it asks something"
    with store._engines.reading.connect() as connection:
        return [
            (row.detail, statement)
            for statement, parameters in sent
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]


@pytest.mark.parametrize("use", READS.values(), ids=READS)
def test_no_page_scans_a_big_table_or_sorts_it(store, use):
    for detail, statement in plans(store, store._engines.reading, use):
        assert not _SCAN.search(detail), f"{detail}: {statement}"
        # A sorted page would read everything that fits first. Sums of counts, and the verdicts of one request, are few.
        if "TEMP B-TREE FOR ORDER BY" in detail:
            assert "FROM sri_verdicts" not in statement or "sri_verdicts.key = ?" in statement.replace('"', ""), (
                statement
            )


@pytest.mark.parametrize("use", WRITES.values(), ids=WRITES)
def test_no_write_scans_a_big_table(store, use):
    for detail, statement in plans(store, store._engines.writing, use):
        assert not _SCAN.search(detail), f"{detail}: {statement}"


def test_the_check_notices_a_scan(store):
    def scans(store):
        with store._engines.reading.connect() as connection:
            connection.exec_driver_sql("SELECT count(*) FROM sri_verdicts WHERE rule = 'final'").all()

    assert any(_SCAN.search(detail) for detail, _ in plans(store, store._engines.reading, scans))
