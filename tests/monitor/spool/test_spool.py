"""The spool: what was put is on disk when its future is done, and stays there until every sink has it."""

import sqlite3
import threading
from contextlib import closing

import pytest

from sri_sdk.errors import ConfigError, SinkRejected
from sri_sdk.monitor.spool import courier, disk, lane, writer
from sri_sdk.monitor.spool.spool import Spool
from sri_sdk.monitor.spool.writer import NotSpooled
from tests.monitor.spool.conftest import Down, Hangs, Keeps, counts, some, until


def on_disk(file):
    with closing(sqlite3.connect(file)) as connection:
        return [number for (number,) in connection.execute("SELECT number FROM observations")]


def test_what_is_put_reaches_every_sink_in_order_and_leaves_the_file(file):
    one, two = Keeps(), Keeps()
    with Spool.open(file, {"one": one, "two": two}) as spool:
        for number in range(20):
            spool.put(some(f"{number}-a", f"{number}-b")).result(10)
        assert spool.flush(10)
        assert one.ids == two.ids == [f"{number}-{each}" for number in range(20) for each in "ab"]
        assert counts(spool) == {"one": (40, 40, 0, 0, 0), "two": (40, 40, 0, 0, 0)}
    assert one.closed == two.closed == 1
    assert on_disk(file) == []


def test_it_is_on_disk_when_its_future_is_done(file):
    with Spool.open(file, {"down": Down()}) as spool:
        spool.put(some("a", "b")).result(10)
        assert len(on_disk(file)) == 2


def test_an_observation_arrives_as_it_was_put(file):
    arrived = []
    sink = Keeps()
    sink.deliver = arrived.extend
    (put,) = some("«ü»\u2028\n<script>", tenant="t", prompt="p", drafts=("a", "b"), audit_rate=0.5, audited=True)
    with Spool.open(file, {"one": sink}) as spool:
        spool.put([put])
        assert spool.flush(10)
    assert arrived == [put]


def test_the_next_process_delivers_what_is_left(file):
    with Spool.open(file, {"one": Down(), "two": Keeps()}) as spool:
        spool.put(some("a", "b"))
        assert not spool.close(10)
        assert counts(spool) == {"one": (2, 0, 0, 0, 2), "two": (2, 2, 0, 0, 0)}
    one, two = Keeps(), Keeps()
    with Spool.open(file, {"one": one, "two": two}) as spool:
        spool.put(some("c"))
        assert spool.flush(10)
        assert one.ids == ["a", "b", "c"] and two.ids == ["c"]
        assert counts(spool) == {"one": (3, 3, 0, 0, 0), "two": (1, 1, 0, 0, 0)}


def test_a_sink_that_hangs_costs_nobody_else(file, monkeypatch, caplog):
    monkeypatch.setattr(lane, "LATE_S", 0.0)
    hangs, other = Hangs(), Keeps()
    spool = Spool.open(file, {"hangs": hangs, "other": other})
    spool.put(some("a"))
    assert hangs.called.wait(10)
    for each in "bcd":
        spool.put(some(each)).result(10)
    until(lambda: other.ids == list("abcd"))
    assert not spool.flush(0)
    first, second = spool.states()
    assert first.failing.startswith("deliver() has not returned for ") and second.failing is None
    assert counts(spool) == {"hangs": (4, 0, 0, 0, 4), "other": (4, 4, 0, 0, 0)}
    assert not spool.close(0.1)
    assert (hangs.closed, other.closed) == (0, 1) and "hangs: not closed" in caplog.text
    hangs.go.set()
    with Spool.open(file, {"hangs": (after := Keeps()), "other": Keeps()}) as spool:
        assert spool.flush(10)
    # Nobody knows what became of the first, so it comes again.
    assert after.ids == list("abcd")


def test_a_sink_that_fails_is_handed_the_same_again_and_its_words_are_kept_back(file, caplog):
    sink = Keeps(RuntimeError("postgresql://me:secret@host"), SystemExit(1), OSError(28, "No space left on device"))
    with Spool.open(file, {"one": sink}) as spool:
        spool.put(some("a")).result(10)
        assert spool.flush(10)
        assert sink.handed == [["a"]] * 4 and sink.batches == [["a"]]
        assert counts(spool) == {"one": (1, 1, 0, 0, 0)} and spool.states()[0].failing is None
    assert "one: failed 1 times" in caplog.text and "RuntimeError" in caplog.text and "secret" not in caplog.text


def test_what_is_wrong_with_a_sink_is_said(file, monkeypatch):
    monkeypatch.setattr(courier, "FIRST_PAUSE_S", 60.0)
    with Spool.open(file, {"one": Down()}) as spool:
        spool.put(some("a"))
        until(lambda: spool.states()[0].failing == "ConnectionRefusedError: Connection refused")


def test_what_a_sink_rejects_is_counted_and_given_up_and_the_others_are_safe(file, caplog):
    put = some("a", "b", "c")
    sink = Keeps(SinkRejected([put[1].id, "somebody else's"], "HTTP 400"))
    with Spool.open(file, {"one": sink}) as spool:
        spool.put(put)
        assert spool.flush(10)
        assert counts(spool) == {"one": (3, 2, 1, 0, 0)}
        assert sink.handed == [["a", "b", "c"]]
    assert "1 observations for sink one rejected: HTTP 400" in caplog.text


def test_a_rejection_of_what_was_not_handed_over_gives_up_nothing(file):
    sink = Keeps(SinkRejected(["a"], "takes request ids for ids"))
    with Spool.open(file, {"one": sink}) as spool:
        spool.put(some("a"))
        assert spool.flush(10)
        # Nobody knows which ones it has, so all of them come again.
        assert sink.handed == [["a"], ["a"]] and counts(spool) == {"one": (1, 1, 0, 0, 0)}


def test_a_batch_is_never_larger_than_the_sink_says_and_smaller_after_failures(file):
    sink = Keeps(TimeoutError(), TimeoutError())
    sink.batch = 8
    with Spool.open(file, {"one": sink}) as spool:
        spool.put(some(*map(str, range(40))))
        assert spool.flush(10)
        assert list(map(len, sink.handed)) == [8, 4, 2, 4, 8, 8, 8, 8, 2]
        assert sink.ids == [str(each) for each in range(40)]


def test_a_batch_of_long_texts_is_cut(file, monkeypatch):
    monkeypatch.setattr(courier, "MOST_BYTES", 25_000)
    sink = Keeps()
    with Spool.open(file, {"one": sink}) as spool:
        spool.put(some(*"abcdef", response=10_000 * "x"))
        assert spool.flush(10)
        assert list(map(len, sink.batches)) == [3, 3]


def test_whoever_flushes_does_not_wait_for_the_pause_after_a_failure(file, monkeypatch):
    monkeypatch.setattr(courier, "FIRST_PAUSE_S", 3600.0)
    monkeypatch.setattr(courier, "LONGEST_PAUSE_S", 3600.0)
    sink = Keeps(TimeoutError())
    with Spool.open(file, {"one": sink}) as spool:
        spool.put(some("a"))
        until(lambda: spool.states()[0].failing == "TimeoutError")
        assert spool.flush(10) and sink.ids == ["a"]


def test_a_spool_without_room_for_a_sink_drops_and_counts_its_newest_and_only_its(file, caplog):
    hangs, other = Hangs(), Keeps()
    size = len(some("00")[0].to_dict().__repr__())
    spool = Spool.open(file, {"hangs": hangs, "other": other}, max_bytes=10 * size)
    for each in range(40):
        spool.put(some(f"{each:02}")).result(10)
        until(lambda each=each: counts(spool)["other"][1] > each)
    (accepted, delivered, _, dropped, waiting) = counts(spool)["hangs"]
    assert accepted == 40 and not delivered and 1 <= waiting < 20 and dropped == 40 - waiting
    assert counts(spool)["other"] == (40, 40, 0, 0, 0)
    assert "1 observations for sink hangs dropped" in caplog.text and "the sink is too slow" in caplog.text
    hangs.go.set()
    assert spool.flush(10)
    assert hangs.ids == [f"{each:02}" for each in range(waiting)]
    # There is room again.
    spool.put(some("new"))
    assert spool.flush(10) and hangs.ids[-1] == "new"
    assert spool.close(10)


def test_what_no_sink_has_room_for_is_not_acknowledged(file):
    with Spool.open(file, {"one": Keeps(), "two": Keeps()}, max_bytes=1000) as spool:
        with pytest.raises(NotSpooled, match="1 observations dropped: no sink has room") as caught:
            spool.put([*some("a"), *some("b", response=2000 * "x"), *some("c")]).result(10)
        assert caught.value.count == 1
        assert spool.flush(10)
        assert counts(spool) == {"one": (3, 2, 0, 1, 0), "two": (3, 2, 0, 1, 0)}


def test_what_is_not_json_costs_no_neighbour(file):
    sink = Keeps()
    with Spool.open(file, {"one": sink}) as spool:
        with pytest.raises(NotSpooled, match="1 observations dropped: they cannot be written as JSON"):
            spool.put(some("a", "\ud800", "b")).result(10)
        assert spool.flush(10) and sink.ids == ["a", "b"]
        assert counts(spool) == {"one": (3, 2, 0, 1, 0)}


def test_without_sinks_there_is_nothing_to_keep(file):
    with Spool.open(file, {}) as spool:
        spool.put(some("a")).result(10)
        assert spool.flush(10) and spool.states() == () and on_disk(file) == []


def test_a_closed_spool_takes_nothing_and_counts_it(file):
    spool = Spool.open(file, {"one": Keeps()})
    assert spool.close(10) and spool.close(10)
    with pytest.raises(NotSpooled, match="the spool is closed"):
        spool.put(some("a")).result(10)
    assert counts(spool) == {"one": (1, 0, 0, 1, 0)}


def test_a_forked_child_puts_nothing_into_its_parents_file(file, monkeypatch):
    with Spool.open(file, {"one": Keeps()}) as spool:
        with monkeypatch.context() as child:
            child.setattr("os.getpid", lambda: -1)
            with pytest.raises(NotSpooled, match="this process has not opened the spool"):
                spool.put(some("a")).result(10)
            spool.close(0)
        spool.put(some("b")).result(10)
        assert spool.flush(10)


def test_what_waits_for_a_sink_that_is_not_named_any_more_stays(file, caplog):
    with Spool.open(file, {"one": Down(), "two": Keeps()}) as spool:
        spool.put(some("a"))
    with Spool.open(file, {"two": Keeps()}) as spool:
        assert "1 observations wait for sink one, which is not named any more" in caplog.text
        spool.put(some("b"))
    one = Keeps()
    with Spool.open(file, {"one": one}) as spool:
        assert spool.flush(10) and one.ids == ["a"]


def test_a_clock_that_is_set_back_changes_no_order(file, monkeypatch):
    sink = Keeps(TimeoutError())
    with Spool.open(file, {"one": sink}) as spool:
        for at in (2_000_000, 1_000_000, 0, -5):
            monkeypatch.setattr("time.time", lambda at=at: at / 1000)
            spool.put(some(str(at), at=at)).result(10)
        assert spool.flush(10) and sink.ids == ["2000000", "1000000", "0", "-5"]


def test_a_disk_that_is_too_slow_costs_observations_and_no_memory(file, monkeypatch):
    monkeypatch.setattr(writer, "MOST_IN_MEMORY", 2_000)
    sink = Keeps()
    with Spool.open(file, {"one": sink}) as spool:
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            done = [spool.put(some(str(each))) for each in range(50)]
            with pytest.raises(NotSpooled, match="the disk is too slow"):
                done[-1].result(10)
            other.execute("ROLLBACK")
        assert spool.flush(10)
        accepted, delivered, _, dropped, waiting = counts(spool)["one"]
        assert (accepted, waiting) == (50, 0) and delivered and dropped and sink.ids[0] == "0"


def test_a_file_that_stays_locked_costs_what_is_put_meanwhile_and_is_tried_again(file, monkeypatch):
    monkeypatch.setattr(disk, "PATIENCE_S", 0.05)
    sink = Keeps()
    with Spool.open(file, {"one": sink}) as spool:
        spool.put(some("a")).result(10)
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(NotSpooled, match="is not written: locked by another process"):
                spool.put(some("b")).result(10)
            assert spool.fault == "locked by another process"
            assert spool.states()[0].failing == "spool: locked by another process"
            other.execute("ROLLBACK")
        spool.put(some("c")).result(10)
        assert spool.fault is None and spool.flush(10) and sink.ids == ["a", "c"]
        assert counts(spool) == {"one": (3, 2, 0, 1, 0)}
    assert on_disk(file) == []


def test_a_row_that_nobody_can_read_is_given_up_and_holds_nobody_up(file, caplog):
    with Spool.open(file, {"one": Down()}) as spool:
        spool.put(some("a", "b", "c"))
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE observations SET body = ? WHERE number = 2", (b'{"sri_observation": 2}',))
    sink = Keeps()
    with Spool.open(file, {"one": sink}) as spool:
        assert spool.flush(10) and sink.ids == ["a", "c"]
        assert counts(spool) == {"one": (3, 2, 1, 0, 0)}
    assert "1 observations for sink one rejected: this release cannot read them" in caplog.text


def test_a_file_that_was_emptied_stops_nobody(file):
    sink = Keeps(TimeoutError())
    with Spool.open(file, {"one": sink}) as spool:
        with closing(sqlite3.connect(file)) as connection, spool._shared.changed:
            done = spool.put(some("a"))
            spool._shared.changed.wait_for(done.done, 10)
            with connection:
                connection.execute("DELETE FROM due")
        spool.put(some("b")).result(10)
        until(lambda: "b" in sink.ids)


def test_close_of_a_sink_that_raises_or_hangs_is_not_waited_for(file, caplog):
    raises, hangs, go = Keeps(), Keeps(), threading.Event()
    raises.close, hangs.close = lambda: 1 / 0, go.wait
    spool = Spool.open(file, {"raises": raises, "hangs": hangs})
    assert not spool.close(0.1)
    go.set()
    assert "raises: close() raised ZeroDivisionError" in caplog.text


def test_one_file_has_one_owner(file):
    with Spool.open(file, {"one": Keeps()}), pytest.raises(ConfigError, match="is in use by another monitor"):
        Spool.open(file, {"one": Keeps()})
    Spool.open(file, {"one": Keeps()}).close()


def test_one_sink_has_one_name(file):
    with pytest.raises(ConfigError, match="one sink under two names"):
        Spool.open(file, {"one": (sink := Keeps()), "two": sink})
    assert not file.exists()


def test_a_file_is_its_owners_alone(file):
    with Spool.open(file, {"one": Down()}) as spool:
        spool.put(some("a")).result(10)
        modes = {each.name: each.stat().st_mode & 0o777 for each in file.parent.glob("spool.db*")}
    assert modes == dict.fromkeys(("spool.db", "spool.db-wal", "spool.db-shm"), 0o600)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda file: file.write_bytes(b"not a database, but long enough to be read as one" * 20), "not a database"),
        (lambda file: sqlite3.connect(file).executescript("CREATE TABLE x (y)").close(), "of something else"),
        (lambda file: Spool.open(file, {}).close() and change(file, "PRAGMA user_version = 2"), "has format 2"),
        (lambda file: file.mkdir(), "cannot be opened|directory"),
    ],
    ids=["garbage", "somebody-elses", "newer", "folder"],
)
def test_a_file_that_is_no_spool_of_this_release_is_refused_and_left_alone(file, write, message):
    file.parent.mkdir()
    write(file)
    before = file.read_bytes() if file.is_file() else None
    with pytest.raises(ConfigError, match=message):
        Spool.open(file, {"one": Keeps()})
    assert before is None or file.read_bytes() == before


def change(file, statement):
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(statement)


def test_a_sink_that_stays_down_or_comes_and_goes_does_not_flood_the_log(file, caplog):
    sink = Keeps(*(TimeoutError() for _ in range(30)))
    with Spool.open(file, {"one": sink}) as spool:
        spool.put(some("a"))
        until(lambda: sink.batches or spool.flush(0))
        assert sum("failed" in message for message in caplog.messages) == 2
        for each in "bcd":
            sink.fails.append(TimeoutError())
            spool.put(some(each))
            assert spool.flush(10)
    assert sum("failed" in message for message in caplog.messages) == 2


def test_a_file_that_an_outage_blew_up_shrinks_when_it_is_opened_empty(file):
    with Spool.open(file, {"one": Down()}) as spool:
        spool.put(some(*map(str, range(100)), response=10_000 * "x"))
    large = file.stat().st_size
    with Spool.open(file, {"one": Keeps()}) as spool:
        assert spool.flush(10)
    Spool.open(file, {"one": Keeps()}).close()
    assert large > 1_000_000 and file.stat().st_size < 50_000


def test_texts_that_were_delivered_are_not_in_the_file_any_more(file):
    with Spool.open(file, {"one": Down()}) as spool:
        spool.put(some("a", prompt="a secret that somebody typed"))
    assert b"a secret that somebody typed" in file.read_bytes()
    with Spool.open(file, {"one": Keeps()}) as spool:
        assert spool.flush(10)
    assert b"a secret" not in b"".join(each.read_bytes() for each in file.parent.iterdir())
