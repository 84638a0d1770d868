"""Whether a store could be opened, found out without opening it."""

import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import inspect, text

from sri_sdk.errors import ConfigError
from sri_sdk.serve.store.engines import open_engines
from sri_sdk.serve.store.faults import StoreUnavailable
from sri_sdk.serve.store.schema import VERSION_TABLE
from sri_sdk.serve.store.store import VerdictStore
from tests.serve.store.conftest import FOREVER, rows


def set_version(url: str, version: str) -> None:
    engines = open_engines(url)
    with engines.writing.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = :version"), {"version": version})
    engines.close()


def test_one_that_is_not_there_is_not_made(url, tmp_path):
    said = VerdictStore.look(url)
    assert "made when it is opened" in said and list(tmp_path.iterdir()) == []
    engines = open_engines(url)
    with engines.reading.connect() as connection:
        assert inspect(connection).get_table_names() == []
    engines.close()


def test_one_that_is_in_use_is_read_and_goes_on(url, tmp_path):
    with VerdictStore.open(url, kept=FOREVER) as store:
        store.add(rows("a"))
        assert VerdictStore.look(url) == "can be read and written"
        store.add(rows("b"))
        assert store.totals()[0] == 2


def test_an_older_one_is_left_as_it_is_and_a_newer_one_refused(url):
    with VerdictStore.open(url, kept=FOREVER):
        pass
    set_version(url, "0001")
    assert "of an older release (schema 0001" in VerdictStore.look(url)
    assert "of an older release (schema 0001" in VerdictStore.look(url), "and it was not migrated"
    set_version(url, "9999")
    with pytest.raises(ConfigError, match=r"schema 9999.*Upgrade sri-sdk"):
        VerdictStore.look(url)


def test_ids_that_are_kept_another_way_are_found(sqlite_url, tmp_path):
    key, other = tmp_path / "key", tmp_path / "other"
    with VerdictStore.open(sqlite_url, kept=FOREVER, secret=key):
        pass
    assert VerdictStore.look(sqlite_url, secret=key) == "can be read and written"
    for secret in (None, other):
        with pytest.raises(ConfigError, match="keeps request ids as hashes of"):
            VerdictStore.look(sqlite_url, secret=secret)
    assert not other.exists(), "a key is made when the store is opened"


@pytest.mark.parametrize(("content", "fault"), [(b"not a database" * 100, "damaged")])
def test_a_file_that_is_no_database_is_said_to_be_damaged(sqlite_url, tmp_path, content, fault):
    (tmp_path / "verdicts.db").write_bytes(content)
    with pytest.raises(StoreUnavailable) as caught:
        VerdictStore.look(sqlite_url)
    assert caught.value.fault == fault and (tmp_path / "verdicts.db").read_bytes() == content


@pytest.mark.parametrize("name", ["file/verdicts.db", "."])
def test_a_place_where_no_file_can_be_is_named(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"store\.url: .*(cannot be written|a folder)"):
        VerdictStore.look(f"sqlite:///{tmp_path / name}")


def test_a_database_of_somebody_else_gets_tables_beside_its_own(sqlite_url, tmp_path):
    with closing(sqlite3.connect(tmp_path / "verdicts.db")) as raw:
        raw.execute("CREATE TABLE theirs (x)")
    assert "its tables are made when it is opened" in VerdictStore.look(sqlite_url)


def test_a_server_that_does_not_answer_is_said_to_be_unreachable():
    with pytest.raises(StoreUnavailable) as caught:
        VerdictStore.look("postgresql://u:hidden@127.0.0.1:1/d")
    assert caught.value.fault == "unreachable" and "hidden" not in str(caught.value)


def test_a_user_who_may_only_read_is_refused(postgres):
    url = postgres.new_url()
    with VerdictStore.open(url, kept=FOREVER):
        pass
    engines = open_engines(url)
    with engines.writing.begin() as connection:
        connection.execute(text("DROP ROLE IF EXISTS onlooker"))
        connection.execute(text("CREATE ROLE onlooker LOGIN PASSWORD 'unused'"))
        connection.execute(text("GRANT USAGE ON SCHEMA public TO onlooker"))
        connection.execute(text("GRANT SELECT ON ALL TABLES IN SCHEMA public TO onlooker"))
    engines.close()
    with pytest.raises(ConfigError, match="its user may not write the table sri_verdicts"):
        VerdictStore.look(url.replace("postgres:unused-password@", "onlooker:unused@"))
