"""What goes wrong below the spool: killed processes and full disks lose nothing that was acknowledged."""

import os
import subprocess
import sys
import threading
from contextlib import suppress

import numpy as np
import pytest
from sri_plugin_sinks.jsonl import JsonlSink
from sri_plugin_sinks.sql import SqlSink

from sri_sdk.monitor.spool import courier
from sri_sdk.monitor.spool.spool import Spool
from sri_sdk.monitor.spool.writer import NotSpooled
from sri_sdk.observation import MOST_CELLS, Observation, Trajectory
from sri_sdk.records import Verdict
from sri_sdk.serve.store.observed import StreamQuery
from sri_sdk.serve.store.store import VerdictStore
from sri_sdk.strict_json import JsonError, parse
from tests.monitor.spool.conftest import Hangs, Keeps, counts, some, until

KILLS = int(os.environ.get("SRI_KILLS", "3"))
"""Times that the monitor is killed. The proof of 20: SRI_KILLS=20."""

WATCHES = """
import os, random, signal, sys, threading, time
from sri_plugin_sinks.jsonl import JsonlSink
from sri_plugin_sinks.sql import SqlSink
from sri_sdk.monitor.spool.spool import Spool
from tests.monitor.spool.conftest import some

class SlowLines(JsonlSink):
    batch = 7

    def deliver(self, observations):
        super().deliver(observations)
        time.sleep(0.02)
        if random.random() < 0.2:
            raise TimeoutError

def monitor(folder, told):
    sinks = {
        "sql": SqlSink(SqlSink.Config(url=f"sqlite:///{folder}/verdicts.db")),
        "lines": SlowLines(JsonlSink.Config(path=f"{folder}/verdicts.jsonl", max_bytes=20_000)),
    }
    spool = Spool.open(f"{folder}/spool.db", sinks)

    def watch():
        while True:
            put = some(*(f"r{random.random()}" for _ in range(3)))
            spool.put(put).result()
            # One write of a few bytes to a pipe is never cut in two.
            os.write(told, "".join(f"{each.id}\\n" for each in put).encode())

    for _ in range(4):
        threading.Thread(target=watch, daemon=True).start()
    signal.pause()

# Imported once, and forked before there is any thread: a monitor per kill.
for _ in range(int(sys.argv[2])):
    read, told = os.pipe()
    if not (child := os.fork()):
        monitor(sys.argv[1], told)
    os.close(told)
    with os.fdopen(read) as acknowledged:
        print(acknowledged.readline(), end="")
        time.sleep(random.uniform(0, 0.5))
        os.kill(child, signal.SIGKILL)
        print(acknowledged.read(), end="")
    os.waitpid(child, 0)
"""


def ids_in(store):
    """Every observation of a store, by id."""
    page = store.stream(StreamQuery(limit=1000))
    ids = [row.observation.id for row in page.rows]
    while page.next is not None:
        page = store.stream(StreamQuery(limit=1000, before=page.next))
        ids += [row.observation.id for row in page.rows]
    return ids


def test_a_monitor_that_is_killed_again_and_again_loses_nothing_and_stores_nothing_twice(tmp_path):
    """What is acknowledged is in the spool; what a sink has when the process dies may be delivered to it again."""
    done = subprocess.run(
        [sys.executable, "-c", WATCHES, str(tmp_path), str(KILLS)], capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    acknowledged = set(done.stdout.split())
    sql = SqlSink(SqlSink.Config(url=f"sqlite:///{tmp_path}/verdicts.db"))
    lines = JsonlSink(JsonlSink.Config(path=tmp_path / "verdicts.jsonl"))
    with Spool.open(tmp_path / "spool.db", {"sql": sql, "lines": lines}) as spool:
        left = [state.accepted for state in spool.states()]
        assert spool.flush(60)
    with VerdictStore.open(f"sqlite:///{tmp_path}/verdicts.db") as store:
        stored = ids_in(store)
        assert len(stored) == len(set(stored)) == store.totals()[0]
    written = []
    for file in tmp_path.glob("verdicts*.jsonl"):
        for line in file.read_text().splitlines():
            with suppress(JsonError):  # Written by a process that was killed within it.
                written.append(parse(line)["id"])
    print(f"{len(acknowledged)} acknowledged, {left} left, {len(stored)} stored, {len(written)} lines")
    assert len(acknowledged) >= 3 * KILLS and acknowledged <= set(stored) and acknowledged <= set(written)


FILLS = """
import resource, sys
from sri_sdk.monitor.spool.spool import Spool
from sri_sdk.monitor.spool.writer import NotSpooled
from tests.monitor.spool.conftest import Down, counts, some, until

spool = Spool.open(sys.argv[1], {"down": Down()})
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, hard))
number, full = 0, None
while full is None:
    try:
        spool.put(some(f"{number}-a", f"{number}-b")).result()
        number += 1
    except NotSpooled as err:
        full = str(err)
assert "is not written: the disk is full" in full, full
assert spool.fault and spool.states()[0].failing
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
spool.put(some("after")).result()
assert spool.fault is None
assert counts(spool) == {"down": (2 * number + 3, 0, 0, 2, 2 * number + 1)}, counts(spool)
spool.close()
print(number)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits on the size of files are Linux's")
def test_a_file_that_may_not_grow_costs_what_comes_and_keeps_what_is_there(file):
    done = subprocess.run([sys.executable, "-c", FILLS, str(file)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    sink = Keeps()
    with Spool.open(file, {"down": sink}) as spool:
        assert spool.flush(30)
    acknowledged = [f"{number}-{each}" for number in range(int(done.stdout)) for each in "ab"]
    assert len(acknowledged) > 100 and sink.ids == [*acknowledged, "after"]


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
def test_a_disk_that_is_really_full_is_noticed_and_forgiven_and_delivery_goes_on_meanwhile(small_disk):
    hangs, other = Hangs(), Keeps()
    spool = Spool.open(small_disk / "spool.db", {"hangs": hangs, "other": other})
    put = 0
    with pytest.raises(NotSpooled, match="the disk is full"):
        for put in range(10_000):
            spool.put(some(f"{put}", response=1000 * "x")).result(10)
    until(lambda: len(other.ids) == put)
    assert counts(spool) == {"hangs": (put + 1, 0, 0, 1, put), "other": (put + 1, put, 0, 1, 0)}
    assert "the disk is full" in spool.states()[1].failing
    hangs.go.set()
    # What is delivered makes room, though a full disk may not let it be removed at once.
    until(lambda: len(hangs.ids) == put)
    subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True)
    spool.put(some("after")).result(10)
    assert spool.flush(10) and spool.fault is None
    assert hangs.ids == other.ids == [*map(str, range(put)), "after"]
    assert spool.close(10)


def test_a_database_that_stops_within_a_write_has_everything_once_it_is_back(file, postgres, monkeypatch):
    """As counted by id: what it had acknowledged, what it had not, and what came while it was down."""
    monkeypatch.setattr(courier, "LONGEST_PAUSE_S", 0.2)
    url, put, stop = postgres.new_url(), [], threading.Event()
    other, sink = Keeps(), SqlSink(SqlSink.Config(url=url))
    spool = Spool.open(file, {"sql": sink, "other": other})

    def watch():
        while not stop.wait(0.01):
            observations = some(*(f"r{len(put)}-{each}" for each in range(5)))
            spool.put(observations).result(10)
            put.extend(each.id for each in observations)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        until(lambda: spool.states()[0].delivered > 50)
        postgres.stop("immediate")
        until(lambda: spool.states()[0].failing)
        assert "verdict store" in spool.states()[0].failing
        # Nobody else waits for it.
        down = len(put)
        until(lambda: counts(spool)["other"][1] > down)
        postgres.start()
    finally:
        stop.set()
        watching.join()
    assert spool.flush(60) and spool.close(10)
    assert counts(spool) == {"sql": (len(put), len(put), 0, 0, 0), "other": (len(put), len(put), 0, 0, 0)}
    with VerdictStore.open(url) as store:
        assert sorted(ids_in(store)) == sorted(put) and store.totals()[0] == len(put)


def test_a_trajectory_that_is_too_large_is_left_out_and_its_verdict_arrives(tmp_path) -> None:
    class Whole(Keeps):
        def deliver(self, observations):
            super().deliver(observations)
            trajectories.extend(each.trajectory is not None for each in observations)

    trajectories: list[bool] = []
    sink, large = Whole(), np.zeros((MOST_CELLS + 1, 1), np.float32)
    told = [
        Observation(Verdict("large", "flagged"), 1, trajectory=Trajectory(("sri@final",), large, 1)),
        Observation(Verdict("whole", "clear"), 1, trajectory=Trajectory(("sri@final",), large[1:], 1)),
        Observation(Verdict("none", "clear"), 1, trajectory=Trajectory((), large[:, :0], 0)),
    ]
    with Spool.open(tmp_path / "spool.db", {"kept": sink}) as spool:
        spool.put(told).result(20)
        assert spool.flush(20)
        (state,) = spool.states()
    assert (state.delivered, state.rejected) == (3, 0)
    assert list(zip(sink.ids, trajectories, strict=True)) == [("large", False), ("whole", True), ("none", False)]
