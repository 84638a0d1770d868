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
from tests.serve.store.test_streams import FILTERS, crowd

BIG = ("sri_verdicts", "sri_trajectories", "sri_texts", "sri_labels", "sri_counts", "sri_latencies")
"""Tables that grow with the traffic. The others have some rows per monitor, or some thousand at most."""
_SCAN = re.compile(rf"SCAN ({'|'.join(BIG)})\b")

WEEK = (NOW - 7 * 24 * HOUR, NOW + HOUR)
READS = {
    **{f"stream, {name}": lambda store, f=filters: store.stream(StreamQuery(**f)) for name, filters in FILTERS.items()},
    "stream, trajectories": lambda store: store.stream(StreamQuery(trajectories=True)),
    "stream, an observation's id": lambda store: store.stream(StreamQuery(id="abc")),
    "stream, far back": lambda store: store.stream(StreamQuery(before=2, kind="traffic")),
    "queue": lambda store: store.waiting_ids(100, deployment="chat"),
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
    "pulses of processes": lambda store: store.all_pulses(),
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
        # Something for every filter: of what does not exist nothing is asked.
        opened.observe(crowd(100))
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


def bad(detail: str, statement: str) -> bool:
    """Whether a step of a plan looks at rows that the answer does not need."""
    plain = statement.replace('"', "")
    if _SCAN.search(detail):
        return True
    if "TEMP B-TREE FOR ORDER BY" in detail:
        # Everything that fits would be read first. Sums of counts, and the verdicts of one request, are few.
        return "FROM sri_verdicts" in plain and "sri_verdicts.key = ?" not in plain
    if "SEARCH sri_verdicts USING INTEGER PRIMARY KEY (rowid>" in detail and "ORDER BY sri_verdicts.seq DESC" in plain:
        # By number alone, backwards, row by row until enough of them fit.
        where = plain.partition("WHERE")[2].partition("ORDER BY")[0]
        return not re.fullmatch(r"\s*sri_verdicts\.seq >= \?\s*(AND sri_verdicts\.seq <= \?\s*)?", where)
    return False


@pytest.mark.parametrize("use", READS.values(), ids=READS)
def test_no_page_looks_at_rows_that_it_does_not_need(store, use):
    assert not [step for step in plans(store, store._engines.reading, use) if bad(*step)]


@pytest.mark.parametrize("use", WRITES.values(), ids=WRITES)
def test_no_write_scans_a_big_table(store, use):
    assert not [step for step in plans(store, store._engines.writing, use) if _SCAN.search(step[0])]


@pytest.mark.parametrize("name", ["series", "tenant", "label", "key"])
def test_the_check_notices_an_index_that_is_missing(tmp_path, name):
    with VerdictStore.open(f"sqlite:///{tmp_path}/v.db", kept=FOREVER, clock=lambda: NOW / 1000) as store:
        store.observe(crowd(20))
        with store._engines.writing.begin() as connection:
            connection.exec_driver_sql(f"DROP INDEX sri_verdicts_by_{name}")
        uses = {"series": "status", "tenant": "tenant", "label": "label", "key": "one id"}
        assert any(bad(*step) for step in plans(store, store._engines.reading, READS[f"stream, {uses[name]}"]))


def test_the_check_notices_that_the_queue_has_no_index(tmp_path):
    with VerdictStore.open(f"sqlite:///{tmp_path}/v.db", kept=FOREVER, clock=lambda: NOW / 1000) as store:
        with store._engines.writing.begin() as connection:
            connection.exec_driver_sql("DROP INDEX sri_verdicts_to_label")
        assert any(bad(*step) for step in plans(store, store._engines.reading, READS["stream, queue"]))
