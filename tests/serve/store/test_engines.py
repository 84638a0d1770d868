"""Where a store may be, what a new release makes of an old one, and what a look-up costs."""

import stat
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.dialects import sqlite

from sri_sdk.errors import ConfigError
from sri_sdk.serve.store.engines import open_engines
from sri_sdk.serve.store.faults import StoreUnavailable
from sri_sdk.serve.store.keys import read_secret
from sri_sdk.serve.store.reading import most_severe
from sri_sdk.serve.store.schema import VERSION_TABLE, migrate
from sri_sdk.serve.store.store import VerdictStore
from sri_sdk.serve.store.tables import METADATA
from tests.serve.store.conftest import FOREVER, rows


@pytest.mark.parametrize(
    "url", ["", "not a url", "sqlite://", "sqlite:///:memory:", "sqlite:///x?mode=ro", "mysql://u:hidden@h/d"]
)
def test_another_kind_of_url_is_refused_without_its_password(url):
    with pytest.raises(ConfigError, match=r"store\.url") as caught:
        VerdictStore.open(url)
    assert "hidden" not in str(caught.value)


def test_the_password_stands_in_no_message(monkeypatch):
    assert "hidden" not in open_engines("postgresql://u:hidden@127.0.0.1/d").name


def test_a_server_that_does_not_answer_is_said_to_be_unreachable():
    with pytest.raises(StoreUnavailable) as caught:
        VerdictStore.open("postgresql://u:hidden@127.0.0.1:1/d")
    assert caught.value.fault == "unreachable" and "hidden" not in str(caught.value)


def test_the_file_is_its_owners_alone(sqlite_url, tmp_path):
    with VerdictStore.open(sqlite_url.replace("verdicts.db", "new/folder/verdicts.db")) as store:
        store.add(rows("a"))
        modes = {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "new/folder").iterdir()}
    assert modes == {0o600}


@pytest.mark.parametrize("content", [b"not a database" * 100])
def test_a_file_that_is_no_database_is_left_alone(sqlite_url, tmp_path, content):
    (tmp_path / "verdicts.db").write_bytes(content)
    with pytest.raises(StoreUnavailable) as caught:
        VerdictStore.open(sqlite_url)
    assert caught.value.fault == "damaged" and (tmp_path / "verdicts.db").read_bytes() == content


def test_migrations_lead_to_the_tables_of_this_release(url):
    engines = open_engines(url)
    migrate(engines)
    with engines.writing.connect() as connection:
        one_kind = connection.dialect.name == "sqlite"
        # alembic does not know of indexes that only one kind of database has.
        options = {
            "version_table": VERSION_TABLE,
            "compare_type": True,
            "include_object": lambda _, name, *__: not (one_kind and name == "sri_verdicts_by_prefix"),
        }
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, METADATA) == []
    engines.close()


def test_a_store_of_a_newer_release_is_refused_and_left_alone(url):
    VerdictStore.open(url).close()
    engines = open_engines(url)
    with engines.writing.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    engines.close()
    for _ in range(2):
        with pytest.raises(ConfigError, match="has schema 9999, this SDK reads up to 0003"):
            VerdictStore.open(url)


def test_tables_of_somebody_else_are_refused(url):
    engines = open_engines(url)
    with engines.writing.begin() as connection:
        connection.execute(text("CREATE TABLE sri_verdicts (theirs TEXT)"))
    engines.close()
    with pytest.raises(ConfigError, match="tables of these names"):
        VerdictStore.open(url)


def test_a_store_is_opened_again_with_what_it_held(url):
    with VerdictStore.open(url, kept=FOREVER) as store:
        store.add(rows("a"))
    with VerdictStore.open(url, kept=FOREVER) as store:
        assert store.find("", "a") and store.add(rows("a")).known == 1


def test_a_closed_store_says_so(sqlite_url):
    store = VerdictStore.open(sqlite_url)
    store.close(), store.close()
    for use in (lambda: store.add(rows("a")), lambda: store.find("", "a")):
        with pytest.raises(StoreUnavailable, match="shutting down"):
            use()
    assert store.fault == "closed"


@pytest.mark.parametrize("rule", [None, "final"])
@pytest.mark.parametrize("tenant", [None, "x"])
def test_a_look_up_reads_an_index_and_sorts_nothing_for_one_tenant(sqlite_url, tenant, rule):
    VerdictStore.open(sqlite_url).close()
    engines = open_engines(sqlite_url)
    query = most_severe(tenant, "a", rule).compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    with engines.reading.connect() as connection:
        plan = [row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}")]
    assert "USING INDEX sri_verdicts_by_key (key=?" in plan[0] and "SCAN sri_verdicts" not in str(plan)
    # Among everybody's verdicts on one id the most severe is found by sorting these few.
    assert ("TEMP B-TREE" in str(plan)) == (tenant is None)
    engines.close()


def test_the_secret_is_made_once_and_is_its_owners_alone(tmp_path):
    first = read_secret(tmp_path / "secret")
    assert len(first) == 32 and read_secret(tmp_path / "secret") == first
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"abcd\n", b"\xff" * 64, b"zz" * 32])
def test_a_secret_that_is_none_is_refused(tmp_path, content):
    (tmp_path / "secret").write_bytes(content)
    with pytest.raises(ConfigError, match=r"store\.hash_ids"):
        read_secret(tmp_path / "secret")


def test_a_secret_in_no_folder_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"store\.hash_ids"):
        read_secret(Path(tmp_path / "nowhere" / "secret"))
