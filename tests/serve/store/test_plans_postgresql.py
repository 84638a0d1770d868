"""What PostgreSQL reads for every page of a large store: hardly more rows than the answer has, however it was kept up.

Its plans depend on sizes and statistics, so those of an empty store say nothing. Rows are made in the database itself.
"""

import dataclasses
import zlib

import pytest
from sqlalchemy import event

from sri_sdk.serve.store.observed import StreamQuery
from sri_sdk.serve.store.reading import SCANNED
from sri_sdk.serve.store.store import VerdictStore
from tests.serve.store.conftest import FOREVER
from tests.serve.store.observed import HOUR, NOW, observed
from tests.serve.store.test_plans import READS
from tests.serve.store.test_streams import crowd

pytestmark = [pytest.mark.timeout(900), pytest.mark.slow]

ROWS = 300_000
SPAN = 28 * 24 * HOUR
"""Rows end at `NOW`, and are spread over so many milliseconds. `READS` look at the last week of it."""
SPARE = 300
"""Rows of a big table that a statement may read beside those that it answers with."""
BIG = ("sri_verdicts", "sri_trajectories", "sri_texts", "sri_labels")
SUMMED = ("sri_counts", "sri_latencies")
"""Tables whose rows are added up: few are answered, and only those that count may be read."""
BOUNDED = {"page of a tenant": SCANNED}
"""Pages that look at so many rows at most and then go on."""
RARE = "rare"
ID = "r00150000"
MORE = {
    "stream, a rare deployment": lambda store: store.stream(StreamQuery(deployment=RARE)),
    "stream, its alarms": lambda store: store.stream(StreamQuery(deployment=RARE, status="unmonitored")),
    "stream, a tenant's": lambda store: store.stream(StreamQuery(tenant="tenant-7")),
    "stream, how an id begins": lambda store: store.stream(StreamQuery(id="r0015")),
    "stream, how many ids begin": lambda store: store.stream(StreamQuery(id="r00")),
    "stream, how an observation's id begins": lambda store: store.stream(StreamQuery(id="7")),
    "stream, a day weeks ago": lambda store: store.stream(
        StreamQuery(since_ms=NOW - SPAN // 2, until_ms=NOW - SPAN // 2 + 24 * HOUR)
    ),
    "an observation by its request": lambda store: store.observation(ID),
    "a tenant's look-up": lambda store: store.find("tenant-7", ID),
}
TEXTS = zlib.compress(b'{"drafts":[],"prompt":"x","response":null}')
COPIED = {
    "seq": "n",
    "key": "'r' || lpad(n::text, 8, '0')",
    "tenant": "CASE WHEN n % 2 = 0 THEN '' ELSE 'tenant-' || n % 50 END",
    "digest": "decode(md5(n::text), 'hex')",
    "at": f"{NOW - SPAN} + n * {SPAN // ROWS}",
    "received_at": f"{NOW - SPAN} + n * {SPAN // ROWS}",
    "audited": "CASE WHEN n % 40 = 0 THEN 1 END",
    "label": "CASE WHEN n % 400 = 0 THEN n / 400 % 2 END",
}
COUNTED = (
    f"INSERT INTO sri_counts SELECT 1, at / {HOUR}, series, count(*), count(audited), "
    "count(*) FILTER (WHERE label = 0), count(*) FILTER (WHERE label = 1), 0, min(seq), max(seq) FROM sri_verdicts "
    "GROUP BY 2, 3",
    "INSERT INTO sri_counts SELECT 24, hour - hour % 24, series, sum(generations), sum(drawn), sum(benign), "
    "sum(attack), 0, min(first_seq), max(last_seq) FROM sri_counts GROUP BY 2, 3",
    f"INSERT INTO sri_latencies SELECT 1, at / {HOUR}, source, seq % 40 - 20, count(*) FROM sri_verdicts "
    "GROUP BY 2, 3, 4",
    "INSERT INTO sri_latencies SELECT 24, hour - hour % 24, source, bucket, sum(generations) FROM sri_latencies "
    "GROUP BY 2, 3, 4",
    "INSERT INTO sri_labels (seq, at, label, by, note) SELECT seq, at, label, 'ann', '' FROM sri_verdicts "
    "WHERE label IS NOT NULL",
    f"INSERT INTO sri_texts SELECT seq, '\\x{TEXTS.hex()}' FROM sri_verdicts WHERE seq % 10 = 0",
    "UPDATE sri_series SET last_seq = (SELECT max(last_seq) FROM sri_counts WHERE series = sri_series.id)",
    "UPDATE sri_totals SET rows = (SELECT count(*) FROM sri_verdicts), size = (SELECT sum(size) FROM sri_verdicts)",
    "SELECT setval(pg_get_serial_sequence('sri_verdicts', 'seq'), (SELECT max(seq) FROM sri_verdicts))",
    # It samples 300 rows for each unit of this: all of them, so that no plan hangs on which rows were drawn.
    f"SET default_statistics_target = {ROWS // 300}",
    "ANALYZE",
)


STATES = {
    "analysed": (),
    # Then an index alone may answer, also from rows that are not asked for.
    "vacuumed": ("VACUUM sri_verdicts",),
    "in the order of a language": (
        'ALTER TABLE sri_verdicts ALTER COLUMN key TYPE text COLLATE "und-x-icu"',
        f"SET default_statistics_target = {ROWS // 300}",
        "VACUUM ANALYZE sri_verdicts",
    ),
}
"""What was done to a store before it is read. Each is a database of its own."""


@pytest.fixture(scope="module")
def filled(postgres):
    """A store on PostgreSQL with many rows, to which nothing is connected."""
    import psycopg

    url = postgres.new_url()
    with VerdictStore.open(url, kept=FOREVER, clock=lambda: NOW / 1000) as opened:
        patterns = [observed("rare", deployment=RARE), *(dataclasses.replace(each, tenant="") for each in crowd(500))]
        opened.observe(patterns)
        with psycopg.connect(url, autocommit=True) as raw:
            names = [name for name, *_ in raw.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_name = 'sri_verdicts' "
                "ORDER BY ordinal_position"
            )]  # fmt: skip
            # Plans change with what is vacuumed, which would happen at some time during the tests.
            for (table,) in raw.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall():
                raw.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
            raw.execute("CREATE TABLE patterns AS SELECT * FROM sri_verdicts")
            raw.execute("TRUNCATE sri_verdicts, sri_counts, sri_latencies")
            # Made again afterwards: kept up row by row they take most of the time.
            indexes = raw.execute(
                "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'sri_verdicts' "
                "AND indexname <> 'sri_verdicts_pkey'"
            ).fetchall()
            for name, _ in indexes:
                raw.execute(f"DROP INDEX {name}")
            values = ", ".join(COPIED.get(name, f"p.{name}") for name in names)
            raw.execute(
                f"INSERT INTO sri_verdicts ({', '.join(names)}) SELECT {values} "
                f"FROM generate_series(1::bigint, {ROWS}) AS n "
                f"JOIN patterns AS p ON p.seq = CASE WHEN n % {ROWS // 3} = 7 THEN 1 "
                f"ELSE 2 + n * 2654435761 % 4294967296 % {len(patterns) - 1} END"
            )
            for statement in (*(written for _, written in indexes), *COUNTED):
                raw.execute(statement)
    return postgres


@pytest.fixture(scope="module", params=STATES)
def store(filled, request):
    import psycopg

    url = filled.copy("read")
    with psycopg.connect(url, autocommit=True) as raw:
        for statement in STATES[request.param]:
            raw.execute(statement)
    with VerdictStore.open(url, kept=FOREVER, clock=lambda: NOW / 1000) as opened:
        yield opened


@dataclasses.dataclass
class Read:
    """What one statement read."""

    statement: str
    answered: int
    big: int = 0
    """Rows of big tables, also those that were looked at and left out."""
    left_out: int = 0
    """Rows of counts that were looked at and left out."""

    def wrong(self, spare: int = SPARE) -> bool:
        return self.big > 2 * self.answered + spare or self.left_out > spare


def reads(engine, use) -> list[Read]:
    """What each statement reads, as PostgreSQL does it."""
    sent = []

    def heard(connection, cursor, statement, parameters, context, executemany):
        if statement.startswith("SELECT") and "pg_advisory" not in statement:
            sent.append((statement, parameters[0] if executemany else parameters))

    event.listen(engine, "before_cursor_execute", heard)
    try:
        use()
    finally:
        event.remove(engine, "before_cursor_execute", heard)
    with engine.connect() as connection:
        return [_read(connection, *each) for each in sent]


def _read(connection, statement, parameters) -> Read:
    found = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}", parameters).scalar()
    plan = found[0]["Plan"]
    made = Read(statement, plan["Actual Rows"] * plan["Actual Loops"])
    _add(made, plan)
    return made


def _add(made, node) -> None:
    loops, table = node["Actual Loops"], node.get("Relation Name")
    left_out = (node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)) * loops
    if table in BIG:
        made.big += node["Actual Rows"] * loops + left_out
    elif table in SUMMED:
        made.left_out += left_out
    for child in node.get("Plans", ()):
        _add(made, child)


@pytest.mark.parametrize("name", [*READS, *MORE])
def test_no_page_reads_rows_that_it_does_not_need(store, name):
    use = {**READS, **MORE}[name]
    spare = BOUNDED.get(name, SPARE)
    assert not [each for each in reads(store._engines.reading, lambda: use(store)) if each.wrong(spare)]


@pytest.mark.parametrize(
    "name, use", [("series", "stream, a rare deployment"), ("tenant", "stream, a tenant's"), ("label", "stream, label"),
                  ("prefix", "stream, how an id begins")],
)  # fmt: skip
def test_the_check_notices_an_index_that_is_missing(store, name, use):
    with store._engines.writing.begin() as connection:
        where = f"indexname = 'sri_verdicts_by_{name}'"
        written = connection.exec_driver_sql(f"SELECT indexdef FROM pg_indexes WHERE {where}").scalar()
        connection.exec_driver_sql(f"DROP INDEX sri_verdicts_by_{name}")
    try:
        assert any(each.wrong() for each in reads(store._engines.reading, lambda: {**READS, **MORE}[use](store)))
    finally:
        with store._engines.writing.begin() as connection:
            connection.exec_driver_sql(written)
