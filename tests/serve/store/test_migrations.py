"""A store that release 0001 wrote, opened by this one, and taken back."""

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy
from alembic import command
from sqlalchemy import insert, inspect, text

from sri_sdk.serve.store.engines import open_engines
from sri_sdk.serve.store.faults import StoreUnavailable
from sri_sdk.serve.store.observed import Stratum, StreamQuery
from sri_sdk.serve.store.rows import Added, Delivered
from sri_sdk.serve.store.schema import alembic_config
from sri_sdk.serve.store.store import VerdictStore
from sri_sdk.serve.store.tables import SOURCES, TOTALS, VERDICTS
from tests.serve.store.conftest import FOREVER, verdict
from tests.serve.store.observed import HOUR, NOW, ids, observed

OLD = Path(__file__).with_name("store-0001.sql").read_text(encoding="utf-8")
"""What `sqlite3.Connection.iterdump` said of a store that the code of schema 0001 had made."""


def move(url: str, revision: str) -> None:
    """Brings a database up or down to a schema."""
    engines, config = open_engines(url), alembic_config()
    with engines.writing.begin() as connection:
        config.attributes["connection"] = connection
        go = command.downgrade if len(inspect(connection).get_table_names()) > 5 else command.upgrade
        go(config, revision)
    engines.close()


@pytest.fixture
def old_url(url: str, tmp_path: Path) -> str:
    """The old store, on both kinds of databases."""
    raw = sqlite3.connect(tmp_path / ("verdicts.db" if url.startswith("sqlite") else "old.db"))
    raw.executescript(OLD)
    raw.row_factory = sqlite3.Row
    if not url.startswith("sqlite"):
        move(url, "0001")
        engines = open_engines(url)
        with engines.writing.begin() as connection:
            for table in (SOURCES, TOTALS, VERDICTS):
                connection.execute(text(f"DELETE FROM {table.name}"))
                rows = [dict(row) for row in raw.execute(f"SELECT * FROM {table.name}")]
                # With the columns that it had then.
                old = sqlalchemy.table(table.name, *map(sqlalchemy.column, rows[0]))
                connection.execute(insert(old), rows)
            connection.execute(text("SELECT setval(pg_get_serial_sequence('sri_verdicts', 'seq'), 7)"))
        engines.close()
    raw.close()
    return url


def test_an_old_store_answers_as_before(old_url, clock):
    with VerdictStore.open(old_url, kept=FOREVER, clock=clock) as store:
        assert store.totals() == (6, 1867) and store.last_seq() == 6
        found = store.find(None, "b")
        assert (found.row.verdict["status"], found.verdicts, found.row.seq) == ("flagged", 2, 2)
        assert [row.seq for row in store.page().rows] == [1, 2, 3, 4, 5, 6]
        assert [each.source for each in store.sources()] == ["gpu-1", "gpu-1", "gpu-2"]
        assert store.add([Delivered(verdict("new"))]) == Added(1, 0) and store.last_seq() == 8
        again = Delivered(verdict("a", score=0.5, threshold=1.0), "", "gpu-1")
        assert store.add([again]) == Added(0, 1), "what was delivered to the old release is still known"


def test_a_migration_may_take_longer_than_a_query_and_a_query_afterwards_may_not(postgres, clock, monkeypatch):
    monkeypatch.setattr("sri_sdk.serve.store.engines.LONGEST_READ_S", 1)
    upgrade = command.upgrade

    def slow(config, revision):
        config.attributes["connection"].execute(text("SELECT pg_sleep(1.2)"))
        upgrade(config, revision)

    monkeypatch.setattr(command, "upgrade", slow)
    with VerdictStore.open(postgres.new_url(), kept=FOREVER, clock=clock) as store:
        with pytest.raises(StoreUnavailable, match="did not finish within the time") as caught:
            store._writer.do(lambda connection: connection.execute(text("SELECT pg_sleep(1.2)"))).result()
        assert caught.value.fault == "slow"
        assert store.add([Delivered(verdict("a"))]) == Added(1, 0)


def test_old_verdicts_are_in_the_stream_and_counted(old_url, clock):
    with VerdictStore.open(old_url, kept=FOREVER, clock=clock) as store:
        assert ids(store.stream()) == ["é 𝄞", "d", "c", "b", "b", "a"]
        assert ids(store.stream(StreamQuery(status="flagged"))) == ["d", "b"]
        assert ids(store.stream(StreamQuery(reason="tap_silent"))) == ["c"]
        assert ids(store.stream(StreamQuery(reason="other"))) == ["d"]
        assert ids(store.stream(StreamQuery(deployment="gpu-2", kind="traffic"))) == ["b"]
        assert ids(store.stream(StreamQuery(tenant="x"))) == ["c", "b", "b"]
        assert ids(store.stream(StreamQuery(until_ms=NOW + HOUR))) == ["b", "a"]
        counts = store.hours(NOW, NOW + 3 * HOUR)
        assert sum(row.generations for row in counts) == 6 and {row.hour_ms // HOUR for row in counts} == {277, 279}
        assert store.audit_counts(NOW, NOW + HOUR) == (
            Stratum("clear", 0.0, 1, 0, 0, 0, 0), Stratum("flagged", 0.0, 1, 0, 0, 0, 0),
        )  # fmt: skip
        assert store.label("d", "benign", "ann") == 1 and store.observation("d").label == "benign"
        assert store.observation("d").observation.verdict.parts[0].name == "map"


def test_new_verdicts_join_the_series_of_old_ones(old_url, clock):
    with VerdictStore.open(old_url, kept=FOREVER, clock=clock) as store:
        before = store.hours(NOW, NOW + HOUR)
        again = verdict("z", "clear", 0.75, threshold=1.0)
        store.add([Delivered(again, "", "gpu-1")])
        after = store.hours(NOW, NOW + HOUR)
        assert len(before) == len(after) and sum(row.generations for row in after) == 3


def test_the_schema_goes_back_and_forth_and_keeps_what_both_know(old_url, clock):
    with VerdictStore.open(old_url, kept=FOREVER, clock=clock) as store:
        store.observe([observed("new", "flagged", prompt="text"), observed("shadow", kind="shadow")])
        store.label("new", "attack", "ann")
        size = store.totals()[1]
    move(old_url, "0001")
    engines = open_engines(old_url)
    with engines.reading.connect() as connection:
        names = {column["name"] for column in inspect(connection).get_columns("sri_verdicts")}
        assert "series" not in names and not inspect(connection).has_table("sri_series")
        keys = list(connection.scalars(text("SELECT key FROM sri_verdicts ORDER BY seq")))
        rows, left = connection.execute(text("SELECT rows, size FROM sri_totals")).one()
        assert keys == ["a", "b", "b", "c", "d", "é 𝄞", "new"] and (rows, left < size) == (7, True)
    engines.close()
    with VerdictStore.open(old_url, kept=FOREVER, clock=clock) as store:
        assert store.find("", "new").row.verdict["status"] == "flagged"
        assert sum(row.generations for row in store.hours(0, 2 * NOW)) == 7
        assert store.observe([observed("next")]) == Added(1, 0)


def test_an_empty_old_store_opens(url, clock):
    move(url, "0001")
    with VerdictStore.open(url, kept=FOREVER, clock=clock) as store:
        assert store.observe([observed("a")]) == Added(1, 0) and ids(store.stream()) == ["a"]


def test_a_migration_that_fails_leaves_the_old_store_as_it_was(sqlite_url, tmp_path, clock):
    raw = sqlite3.connect(tmp_path / "verdicts.db")
    raw.executescript(OLD + "CREATE TABLE sri_labels (theirs TEXT);")
    before = "\n".join(raw.iterdump())
    with pytest.raises(Exception, match="tables of these names"):
        VerdictStore.open(sqlite_url)
    assert "\n".join(raw.iterdump()) == before
    raw.close()
