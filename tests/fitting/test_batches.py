"""Two processes share the batches of a stage. Threads stand for them: each open file has a claim of its own."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sri_sdk.files import claimed
from sri_sdk.fitting.batches import Batches
from sri_sdk.fitting.packed import Batch
from sri_sdk.fitting.store import Store
from sri_sdk.records import Prompt

pytest.importorskip("fcntl")
PROMPTS = [Prompt(f"p{i}", f"text {i}", "harmless") for i in range(7)]


def batches(folder: Path, make: Callable[[tuple[Prompt, ...]], Batch]) -> Batches:
    return Batches(Store(folder, "train", {"a": 1}), PROMPTS, 2, make)


def ids(batch: tuple[Prompt, ...]) -> Batch:
    return {"n": np.array([len(batch)])}, {"ids": [p.id for p in batch]}


def test_two_that_work_on_one_stage_make_every_batch_once_and_get_all_of_them(tmp_path: Path) -> None:
    made: list[str] = []
    both = threading.Barrier(2, timeout=20)

    def make(batch: tuple[Prompt, ...]) -> Batch:
        if not made or made == ["p0"]:
            # The first two batches are made at the same time, by one worker each.
            made.append(batch[0].id)
            both.wait()
        else:
            made.append(batch[0].id)
        return ids(batch)

    found: list[list[str]] = []

    def work() -> None:
        own = batches(tmp_path, make)
        found.append([name for start in own.starts for name in own.at(start)[1]["ids"]])

    workers = [threading.Thread(target=work) for _ in range(2)]
    for each in workers:
        each.start()
    for each in workers:
        each.join(timeout=30)
    assert sorted(made) == ["p0", "p2", "p4", "p6"]
    assert found == [[p.id for p in PROMPTS]] * 2


def test_while_another_is_at_a_batch_later_ones_are_made(tmp_path: Path) -> None:
    made: list[str] = []

    def make(batch: tuple[Prompt, ...]) -> Batch:
        made.append(batch[0].id)
        if batch[0].id == "p2":
            # The other one finishes meanwhile.
            own.store.save("00000000", *ids(tuple(PROMPTS[:2])))
        return ids(batch)

    own = batches(tmp_path, make)
    with own.store.claim("00000000") as ours:
        assert ours
        assert own.at(0)[1]["ids"] == ["p0", "p1"]
    assert made == ["p2"]


def test_a_batch_whose_maker_died_is_made_by_the_next(tmp_path: Path) -> None:
    own = batches(tmp_path, ids)
    target = own.store.folder / "00000000"
    code = (
        f"import os, pathlib, sri_sdk.files as f\nwith f.claimed(pathlib.Path({str(target)!r})) as ours:\n os._exit(3)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 3
    assert (target.parent / ".00000000.lock").exists(), "it died inside"
    assert own.at(0)[1]["ids"] == ["p0", "p1"]


def test_who_waits_for_another_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    store = Store(tmp_path, "anchors", {"a": 1})
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with claimed(store.folder / "sums"):
            inside.set()
            leave.wait(20)

    worker = threading.Thread(target=other)
    worker.start()
    assert inside.wait(20)
    threading.Timer(0.2, leave.set).start()
    with store.alone("sums"):
        assert leave.is_set()
    worker.join(timeout=20)
    assert "anchors: another process is at it; waiting for it" in caplog.text


def test_claims_leave_nothing_behind(tmp_path: Path) -> None:
    own = batches(tmp_path, ids)
    for start in own.starts:
        own.at(start)
    assert sorted(p.name for p in own.store.folder.iterdir()) == [f"0000000{at}.safetensors" for at in (0, 2, 4, 6)]


def test_where_no_lock_can_be_written_the_work_is_done_as_if_there_were_no_locks(tmp_path: Path) -> None:
    # As on a disk that is full or can only be read: what is there is read, and a write says itself why it fails.
    (tmp_path / ".batch.lock").mkdir()
    with claimed(tmp_path / "batch") as ours:
        assert ours
    (tmp_path / "no folder").touch()
    with claimed(tmp_path / "no folder" / "batch", wait=True) as ours:
        assert ours
