"""What goes wrong below the store: nothing acknowledged is lost, and the process goes on."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from sri_sdk.records import Verdict
from sri_sdk.serve.store import engines, writer
from sri_sdk.serve.store.faults import StoreUnavailable, fault_of
from sri_sdk.serve.store.rows import Added, Delivered
from sri_sdk.serve.store.store import VerdictStore
from tests.serve.store.conftest import FOREVER, rows, verdict

DELIVERS = """
import sys, threading
from sri_sdk.records import Verdict
from sri_sdk.serve.store.rows import Delivered
from sri_sdk.serve.store.store import VerdictStore

store = VerdictStore.open(sys.argv[1])
lock = threading.Lock()

def deliver(name):
    number = 0
    while True:
        some = [f"{name}-{number + each}" for each in range(5)]
        store.add([Delivered(Verdict(each, "flagged", score=1.0)) for each in some])
        with lock:
            print(*some, sep="\\n", flush=True)
        number += 5

for name in "abcd":
    threading.Thread(target=deliver, args=(name,), daemon=True).start()
sys.stdin.read()
"""

FILLS = """
import resource, sys
from sri_sdk.records import Verdict
from sri_sdk.serve.store.faults import StoreUnavailable
from sri_sdk.serve.store.rows import Delivered
from sri_sdk.serve.store.store import VerdictStore

store = VerdictStore.open(sys.argv[1])
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, hard))
number, fault = 0, None
while fault is None:
    try:
        store.add([Delivered(Verdict(f"r{number}-{each}", "clear", score=1.0)) for each in range(50)])
        print(f"r{number}", flush=True)
        number += 1
    except StoreUnavailable as err:
        fault = err.fault
assert fault == "full" and store.fault == "full", fault
assert store.find("", "r0-0"), "what is there can be read"
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
store.add([Delivered(Verdict("after", "clear"))])
assert store.fault is None
store.close()
"""


def process(code, *arguments, **more):
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, **more)


def test_nothing_acknowledged_is_lost_where_the_process_is_killed(url):
    """Counted by id, where a store is killed twice in a row."""
    acknowledged = set()
    for _ in range(2):
        before = len(acknowledged)
        with process(DELIVERS, url, stdin=subprocess.PIPE) as running:
            while len(acknowledged) < before + 100:
                acknowledged.add(running.stdout.readline().strip())
            running.send_signal(signal.SIGKILL)
            # A last line may be cut in two: it was never acknowledged to anybody.
            rest, end = running.stdout.read(), "\n"
            acknowledged.update(rest[: rest.rfind(end) + 1].split())
    with VerdictStore.open(url, kept=FOREVER) as store:
        assert len(acknowledged) >= 200
        assert not [each for each in acknowledged if store.find("", each) is None]


@pytest.mark.skipif(sys.platform != "linux", reason="limits on the size of files are Linux's")
def test_a_full_disk_refuses_new_verdicts_and_keeps_the_others(sqlite_url):
    with process(FILLS, sqlite_url) as running:
        acknowledged = running.stdout.read().split()
    assert running.returncode == 0
    with VerdictStore.open(sqlite_url, kept=FOREVER) as store:
        assert acknowledged and all(store.find("", f"{each}-49") for each in acknowledged)
        assert store.find("", "after") and store.totals()[0] == 50 * len(acknowledged) + 1


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True)
    if done.returncode:
        pytest.skip("only root mounts a small disk")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root mounts a small disk")
def test_a_disk_that_is_really_full_is_noticed_and_forgiven(small_disk):
    with VerdictStore.open(f"sqlite:///{small_disk}/v.db", kept=FOREVER) as store:
        acknowledged = 0
        with pytest.raises(StoreUnavailable) as caught:
            for number in range(1_000):
                store.add(rows(*(f"r{number}-{each}" for each in range(50))))
                acknowledged += 1
        assert caught.value.fault == "full" and store.fault == "full"
        assert all(store.find("", f"r{number}-49") for number in range(acknowledged))
        subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True)
        assert store.add(rows("after")) == Added(1, 0) and store.fault is None
        assert store.totals()[0] == 50 * acknowledged + 1


def test_a_locked_store_refuses_after_a_moment_still_answers_and_goes_on(sqlite_url, tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "PATIENCE_S", 0.2)
    with VerdictStore.open(sqlite_url, kept=FOREVER) as store:
        store.add(rows("a"))
        other = sqlite3.connect(tmp_path / "verdicts.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="lock") as caught:
            store.add(rows("b"))
        assert caught.value.fault == "locked" and store.fault == "locked" and store.find("", "a")
        other.execute("ROLLBACK")
        other.close()
        assert store.add(rows("b")) == Added(1, 0) and store.fault is None


def test_a_failed_store_notices_by_itself_that_it_can_write_again(sqlite_url, tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "PATIENCE_S", 0.05)
    monkeypatch.setattr(writer, "RETRY_S", 0.05)
    with VerdictStore.open(sqlite_url, kept=FOREVER) as store:
        other = sqlite3.connect(tmp_path / "verdicts.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable):
            store.add(rows("b"))
        other.execute("ROLLBACK")
        other.close()
        until = time.monotonic() + 30
        while store.fault and time.monotonic() < until:
            time.sleep(0.02)
        assert store.fault is None


def test_a_locked_postgresql_refuses_after_a_moment(postgres, monkeypatch):
    import psycopg

    monkeypatch.setattr(engines, "PATIENCE_S", 0.2)
    url = postgres.new_url()
    with VerdictStore.open(url, kept=FOREVER) as store, psycopg.connect(url) as other:
        other.execute("LOCK TABLE sri_verdicts IN EXCLUSIVE MODE")
        with pytest.raises(StoreUnavailable) as caught:
            store.add(rows("a"))
        assert caught.value.fault == "locked"
        other.rollback()
        assert store.add(rows("a")) == Added(1, 0)


def test_a_postgresql_that_is_stopped_mid_load_loses_nothing_acknowledged(postgres):
    url = postgres.new_url()
    with VerdictStore.open(url, kept=FOREVER) as store:
        acknowledged, refused = [], threading.Event()

        def deliver():
            number = 0
            while not refused.is_set():
                try:
                    store.add(rows(f"r{number}"))
                    acknowledged.append(f"r{number}")
                except StoreUnavailable:
                    refused.set()
                number += 1

        thread = threading.Thread(target=deliver)
        thread.start()
        while len(acknowledged) < 50:
            time.sleep(0.01)
        postgres.stop("immediate")
        assert refused.wait(60)
        thread.join()
        assert store.fault == "unreachable"
        with pytest.raises(StoreUnavailable):
            store.find("", "r0")
        postgres.start()
        assert not [each for each in acknowledged if store.find("", each) is None]
        # What was under way may have been committed or not: delivered again, it is there once.
        last = f"r{len(acknowledged)}"
        assert store.add(rows(last)) in (Added(1, 0), Added(0, 1)) and store.find("", last).verdicts == 1


def test_more_than_it_can_take_is_refused_at_once_and_not_forgotten(sqlite_url, monkeypatch):
    monkeypatch.setattr(writer, "MOST_WAITING", 10)
    go = threading.Event()
    with VerdictStore.open(sqlite_url, kept=FOREVER) as store:
        held = store._writer.do(lambda connection: go.wait(60))
        waiting = []
        with pytest.raises(StoreUnavailable) as caught:
            for number in range(20):
                waiting.append(store.deliver(rows(str(number))))
        go.set()
        assert caught.value.fault == "busy" and held.result(60) and 9 <= len(waiting) <= 11
        assert sum(each.result(60).stored for each in waiting) == len(waiting) == store.totals()[0]


def test_deliveries_that_wait_are_committed_together(sqlite_url):
    go = threading.Event()
    with VerdictStore.open(sqlite_url, kept=FOREVER) as store:
        store._writer.do(lambda connection: go.wait(60))
        waiting = [store.deliver(rows(f"a{number}")) for number in range(30)]
        with store._engines.reading.connect() as looking:
            before = looking.exec_driver_sql("PRAGMA data_version").scalar()
            go.set()
            assert all(each.result(60) == Added(1, 0) for each in waiting)
            # SQLite counts commits of others; the task that held the writer changed nothing.
            assert looking.exec_driver_sql("PRAGMA data_version").scalar() - before == 1


def test_a_delivery_that_the_database_cannot_take_costs_only_itself(store):
    go = threading.Event()
    store._writer.do(lambda connection: go.wait(60))
    good = [store.deliver(rows("a")), store.deliver(rows("b"))]
    # A NUL never comes through the routes; PostgreSQL takes none, and SQLite's score takes no list.
    bad = store.deliver([Delivered(Verdict("x\0", "clear", score=[1.0]))])
    last = store.deliver(rows("c"))
    go.set()
    with pytest.raises(StoreUnavailable) as caught:
        bad.result(60)
    assert caught.value.fault in ("content", "failed")
    assert [each.result(60) for each in [*good, last]] == [Added(1, 0)] * 3


def test_nothing_of_a_verdict_is_logged_where_the_database_refuses_it(store, caplog):
    with pytest.raises(StoreUnavailable):
        store.add([Delivered(Verdict("my-own-words", "clear", score=["my-own-words"]))])
    assert "not written" in caplog.text and "my-own-words" not in caplog.text


def test_what_was_erased_stands_in_no_file(sqlite_url, tmp_path):
    with VerdictStore.open(sqlite_url, kept=FOREVER) as store:
        store.add([Delivered(verdict("find-me-if-you-can"), "tenant-of-old", "gpu-1")])
        files = [tmp_path / "verdicts.db", tmp_path / "verdicts.db-wal"]
        assert any(b"find-me" in file.read_bytes() for file in files)
        store.erase_tenant("tenant-of-old")
        assert not any(b"find-me" in file.read_bytes() or b"of-old" in file.read_bytes() for file in files)


@pytest.mark.timeout(3600)
@pytest.mark.skipif("SRI_MILLION" not in os.environ, reason="opt-in, minutes: SRI_MILLION=1")
def test_a_million_ids_are_looked_up_as_fast_as_a_thousand(sqlite_url):
    def seconds_per_look_up(store, count):
        begun = time.perf_counter()
        for number in range(0, count, count // 500):
            assert store.find("", f"r{number}")
        return (time.perf_counter() - begun) / 500

    with VerdictStore.open(sqlite_url, kept=FOREVER) as store:
        store.add(rows(*(f"r{number}" for number in range(1_000))))
        few = seconds_per_look_up(store, 1_000)
        for start in range(1_000, 1_000_000, 2_000):
            store.add(rows(*(f"r{number}" for number in range(start, min(start + 2_000, 1_000_000)))))
        many = seconds_per_look_up(store, 1_000_000)
        assert store.totals()[0] == 1_000_000
        print(f"{few * 1e6:.0f} us among 1,000, {many * 1e6:.0f} us among 1,000,000")
        assert many < 5 * few + 1e-3


@pytest.mark.parametrize(
    "said, fault",
    [
        ('connection failed: FATAL:  password authentication failed for user "sri"', "refused"),
        ('connection failed: FATAL:  database "nowhere" does not exist', "refused"),
        ('connection failed: FATAL:  no pg_hba.conf entry for host "10.0.0.1"', "refused"),
        ("connection failed: FATAL:  the database system is starting up", "unreachable"),
        ('connection to server at "10.0.0.1", port 5432 failed: Connection refused', "unreachable"),
    ],
    ids=["password", "database", "host", "starting", "nobody"],
)  # fmt: skip
def test_a_login_that_fails_is_told_from_a_server_that_is_away(said, fault):
    psycopg = pytest.importorskip("psycopg")
    assert fault_of(psycopg.OperationalError(said)) == fault
