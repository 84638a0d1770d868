"""Worker processes on this machine. They make what this process makes, and none of them outlives it."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

import psutil
import pytest
from sri_plugin_executors import local
from sri_plugin_executors.local import LocalExecutor, _shares

import sri_sdk
from sri_sdk.errors import ConfigError
from sri_sdk.executor import ShardLost, ShardResult
from sri_sdk.fitting.collect import Collector
from sri_sdk.fitting.deployment import Deployment
from sri_sdk.fitting.dispatch import setup_of, workers_of
from sri_sdk.fitting.prompts import prompts_of

from .conftest import config_in, guard_files

KILLS = int(os.environ.get("SRI_KILLS", "1"))
"""Moments at which a whole run is killed."""

RUN = """
import sys, sri_sdk
from sri_plugin_executors import local
from sri_plugin_executors.local import LocalExecutor
workers = LocalExecutor(LocalExecutor.Config(workers=int(sys.argv[2])))
sri_sdk.fit(sri_sdk.load_config(sys.argv[1]), executor=workers)
"""


def until(found: Callable[[], Any], what: str) -> Any:
    """What `found` gives once it gives something. The bound is for a hang: a busy machine takes as long as it takes."""
    end = time.monotonic() + 240
    while time.monotonic() < end:
        if result := found():
            return result
        time.sleep(0.01)
    raise AssertionError(f"never happened: {what}")


def test_a_worker_that_is_killed_is_replaced_and_the_guard_is_the_same(alone, tmp_path, monkeypatch):
    path = config_in(tmp_path / "run")
    executor = LocalExecutor(LocalExecutor.Config(workers=2))
    lost: list[ShardLost] = []
    pools, start = [], executor.start

    def started(setup: bytes):
        pool = start(setup)
        wait = pool.wait

        def waits(seconds: float) -> ShardResult | ShardLost | None:
            busy = [each.process for each in pool._slots if each is not None and each.shard]
            if len(pools) == 1 and len(busy) == 2:
                pools.append(busy[0].pid)
                os.kill(busy[0].pid, signal.SIGKILL)
            event = wait(seconds)
            if isinstance(event, ShardLost):
                lost.append(event)
            return event

        pool.wait = waits
        pools.append(pool)
        return pool

    monkeypatch.setattr(executor, "start", started)
    sri_sdk.fit(sri_sdk.load_config(path), executor=executor)
    assert guard_files(tmp_path / "run") == alone
    (only,) = lost
    assert only.cause == "ended by SIGKILL" and str(pools[1]) in only.worker
    assert not psutil.Process().children(recursive=True), "no worker outlives the run"


@pytest.mark.parametrize("kill", range(KILLS))
def test_a_run_that_is_killed_with_its_workers_at_work_goes_on_to_the_same_bytes(kill, alone, tmp_path):
    """By SIGKILL, once a number of batches lie in the cache: then its workers end by themselves."""
    path, cache = config_in(tmp_path / "run"), tmp_path / "run" / "guard" / "cache"
    moment, later = 1 + (7 * kill) % 12, random.Random(kill).uniform(0, 0.2)
    with subprocess.Popen([sys.executable, "-c", RUN, str(path), "2"]) as run:

        def far_enough() -> bool:
            assert run.poll() is None, "it ended before it was killed"
            return len(list(cache.rglob("*.safetensors"))) >= moment

        until(far_enough, f"{moment} files in the cache")
        workers = psutil.Process(run.pid).children(recursive=True)
        time.sleep(later)
        run.kill()
    assert workers
    until(lambda: not any(map(_alive, workers)), "the workers end with their parent")
    assert not (tmp_path / "run" / "guard" / "bundle").exists(), "nothing half written"
    sri_sdk.fit(sri_sdk.load_config(path))
    assert guard_files(tmp_path / "run") == alone


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_ctrl_c_ends_the_workers_at_once(tmp_path):
    live = Deployment.open(sri_sdk.load_config(config_in(tmp_path / "run")))
    prompts = prompts_of(live.config).anchors

    def interrupted(_stage: str, done: int, _total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with (
        pytest.raises(KeyboardInterrupt),
        workers_of(LocalExecutor(LocalExecutor.Config(workers=1)), live) as dispatcher,
    ):
        own = Collector.of(live, tmp_path / "cache", interrupted)
        replace(own, dispatcher=dispatcher).anchors(prompts)
    assert not psutil.Process().children(recursive=True)
    assert not list(tmp_path.rglob("*.lock"))


def test_a_worker_that_cannot_start_says_why():
    """Here its setup cannot be read; the same goes for whatever a worker raises."""
    pool = LocalExecutor().start(b"not json")
    try:
        pool.give(sri_sdk.Shard("prompts 0 to 3 of 'train'"))
        event = until(lambda: pool.wait(1), "an answer")
    finally:
        pool.close()
    assert isinstance(event, ShardLost) and event.shard == "prompts 0 to 3 of 'train'"
    assert event.cause.startswith("JsonError: "), "and not only that it is gone"
    assert event.raised and "worker.py:" in event.cause, "and where"


@pytest.mark.parametrize(
    ("visible", "workers", "each", "shares"),
    [
        (None, 2, 1, [None, None]),
        ("", 2, 1, [None, None]),
        ("0,1", 2, 1, ["1", "0"]),
        ("0,1,2,3", 3, 1, ["3", "2", "1"]),
        ("0,1", 3, 1, ["1", "0", "1"]),
        ("4,5,6,7", 2, 2, ["6,7", "4,5"]),
        ("GPU-a", 2, 1, ["GPU-a", "GPU-a"]),
        ("0,1", 2, 0, [None, None]),
    ],
)
def test_every_process_sees_accelerators_of_its_own_and_that_of_the_command_is_dealt_last(
    visible, workers, each, shares, monkeypatch
):
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert _shares(workers, each) == shares


def test_more_accelerators_than_there_are_is_refused(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(ConfigError, match="4 accelerators for each process; there are 2"):
        _shares(1, 4)


def test_far_more_processes_than_cores_are_refused_before_a_model_is_loaded(monkeypatch):
    monkeypatch.setattr(local, "_cores", lambda: 2)
    allowed = 2 * local.MOST_PER_CORE
    with pytest.raises(ConfigError, match=rf"found 1000; .* 2 cores; allowed: at most {allowed}, .*Give --workers 2"):
        LocalExecutor(LocalExecutor.Config(workers=1000)).check([])
    LocalExecutor(LocalExecutor.Config(workers=allowed)).check([])


@pytest.mark.parametrize(("workers", "threads", "says"), [(2, 2, False), (4, 2, True), (2, 4, True)])
def test_more_threads_than_cores_are_named(workers, threads, says, monkeypatch, caplog):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(local, "_cores", lambda: 4)
    monkeypatch.setattr("torch.get_num_threads", lambda: threads)
    LocalExecutor(LocalExecutor.Config(workers=workers)).start(b"{}").close()
    assert caplog.messages == [] if not says else "OMP_NUM_THREADS=" in caplog.messages[0]


@pytest.mark.parametrize(
    ("workers", "shared"), [(3, None), (4, "0 (2 models)"), (6, "0 (2 models), 2 (2 models), 3 (2 models)")]
)
def test_accelerators_with_more_than_one_model_are_named(workers, shared, monkeypatch, caplog):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    LocalExecutor(LocalExecutor.Config(workers=workers)).start(b"{}").close()
    found = [each for each in caplog.messages if "more than one model" in each]
    assert len(found) == (shared is not None) and all(f"more than one model: {shared}. " in each for each in found)


@pytest.mark.parametrize("placed", ["cuda:1", 1, {"": "cuda:1"}, {"first": 0, "rest": 1}])
@pytest.mark.parametrize("option", ["device", "device_map"])
def test_a_model_on_an_accelerator_that_its_process_does_not_see_is_refused(option, placed, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    models = [{"source": "a"}, {option: placed}]
    with pytest.raises(ConfigError, match=rf"options.{option} names accelerator 1, and each worker sees 1"):
        LocalExecutor().check(models)
    for devices in (2, 0):
        LocalExecutor(LocalExecutor.Config(devices=devices)).check(models)


@pytest.mark.parametrize("placed", ["cuda", "cuda:0", "auto", "cpu", 0, None, {"": 0}, True])
def test_a_model_on_what_its_process_sees_is_not_refused(placed, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    LocalExecutor().check([{"device_map": placed}])


def test_a_process_that_hangs_is_ended_once_patience_is_over(monkeypatch):
    ours, theirs = socket.socketpair()
    hanging = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    monkeypatch.setattr(local, "_started", lambda *_: local._Process(hanging, Connection(ours.detach())))
    pool = LocalExecutor(LocalExecutor.Config(workers=1, patience=0.01)).start(b"{}")
    with theirs:
        pool.give(sri_sdk.Shard("prompts 0 to 3 of 'train'"))
        ((worker, seconds),) = pool.working().values()
        lost = until(lambda: pool.wait(0.01), "the loss")
    assert isinstance(lost, ShardLost) and "no answer" in lost.cause and not lost.raised
    assert str(hanging.pid) in worker and lost.worker == worker and seconds >= 0
    assert hanging.poll() is not None and not pool.working()


READER = """
import queue, threading
from sri_plugin_executors import process
class Full:
    def recv_bytes(self):
        raise {raised}
messages = queue.SimpleQueue()
threading.Thread(target=process._read, args=(Full(), messages), daemon=True).start()
messages.get()
"""


@pytest.mark.parametrize(("raised", "code"), [("MemoryError", 1), ("EOFError", 0)])
def test_a_worker_whose_reader_ends_ends_with_it(raised, code):
    """The bound is for a hang."""
    done = subprocess.run([sys.executable, "-c", READER.format(raised=raised)], timeout=240, capture_output=True)
    assert done.returncode == code and (code == 0 or raised in done.stderr.decode())


def test_setups_are_small(tmp_path):
    """A model never travels: each worker loads its own."""
    live = Deployment.open(sri_sdk.load_config(config_in(tmp_path / "run")))
    assert len(setup_of(live)) < 10_000
