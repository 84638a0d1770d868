"""The same on a Ray cluster of this machine. Opt-in: `make ray`."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from sri_plugin_executors.on_ray import RayExecutor

import sri_sdk
from sri_sdk.errors import ConfigError
from sri_sdk.executor import ShardLost, ShardResult

from .conftest import config_in, guard_files

ray = pytest.importorskip("ray")
pytestmark = [
    pytest.mark.timeout(900),
    # Of Ray's own making.
    pytest.mark.filterwarnings("ignore"),
]


def executor(**options: Any) -> RayExecutor:
    return RayExecutor(RayExecutor.Config(**options))


@pytest.mark.parametrize("workers", [1, 2])
def test_actors_make_the_guard_that_one_process_makes(workers, alone, tmp_path):
    sri_sdk.fit(sri_sdk.load_config(config_in(tmp_path / "run")), executor=executor(workers=workers))
    assert guard_files(tmp_path / "run") == alone
    assert not ray.is_initialized(), "the cluster was started for the run, and ends with it"


def test_an_actor_that_is_killed_is_replaced_and_the_guard_is_the_same(alone, tmp_path, monkeypatch):
    made = executor(workers=1)
    start, lost, killed = made.start, list[ShardLost](), list[int]()

    def started(setup: bytes):
        pool = start(setup)
        wait = pool.wait

        def waits(seconds: float) -> ShardResult | ShardLost | None:
            event = wait(seconds)
            if isinstance(event, ShardResult) and not killed:
                # The one actor is at its next shard by now.
                killed.append(int(event.worker.split()[1]))
                os.kill(killed[0], signal.SIGKILL)
            if isinstance(event, ShardLost):
                lost.append(event)
            return event

        pool.wait = waits
        return pool

    monkeypatch.setattr(made, "start", started)
    sri_sdk.fit(sri_sdk.load_config(config_in(tmp_path / "run")), executor=made)
    assert guard_files(tmp_path / "run") == alone
    (only,) = lost
    assert str(killed[0]) in only.worker and "Died" in only.cause


def test_a_cluster_that_is_not_there_is_refused_with_the_cure():
    with pytest.raises(ConfigError, match="ray start --head"):
        executor(address="auto").start(b"{}")


def test_an_actor_that_fits_nowhere_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="one actor needs 1000 and 0"):
        executor(cpus=1000).start(b"{}")
    assert not ray.is_initialized()


def test_what_an_actor_raises_is_named():
    pool = executor(workers=1).start(b"not json")
    try:
        pool.give(sri_sdk.Shard("prompts 0 to 3 of 'train'"))
        event = None
        while event is None:
            event = pool.wait(1)
    finally:
        pool.close()
    assert isinstance(event, ShardLost) and "JsonError" in event.cause
