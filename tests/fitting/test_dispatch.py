"""Workers get the batches of a stage, and nobody sees that in what comes of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sri_sdk import Shard, ShardLost, ShardResult, WorkerPool, registry
from sri_sdk.config.load import load_config
from sri_sdk.errors import (
    CaptureError,
    ConfigError,
    GenerationAborted,
    MissingExtra,
    ModelMismatch,
    PluginNotFound,
    SinkRejected,
    SriError,
    WorkerLost,
)
from sri_sdk.evaluation.drafts import WatchedDrafts
from sri_sdk.evaluation.steered import Steered
from sri_sdk.evaluation.steered_outcomes import SteeredOutcomes
from sri_sdk.fitting.batches import batch_name
from sri_sdk.fitting.collect import WHOLE, Collector
from sri_sdk.fitting.compare import compare
from sri_sdk.fitting.deployment import Deployment
from sri_sdk.fitting.dispatch import REFUSED, SLOW, SLOW_SECONDS, TRIES, Dispatcher, _error, refused, setup_of
from sri_sdk.fitting.fit import fit
from sri_sdk.fitting.generating import Generating
from sri_sdk.fitting.packed import pack, unpack
from sri_sdk.fitting.store import Store
from sri_sdk.fitting.tasks import FoldSignals, Task, anchors_state, restored_anchors
from sri_sdk.records import Prompt
from sri_sdk.request_map import RequestMap
from sri_sdk.steer.direction import Direction
from sri_sdk.steer.operations import Add
from sri_sdk.steer.where import Where

from .conftest import write_config
from .workers_here import CAUSE, Backwards, ExecutorHere, Garbling, Here, Losing, Poisoned, Twice


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    changes = {
        "model": {"hook": "lab-causal"},
        "sampler": {"name": "autoregressive", "options": {"tokens": 8}},
        "tap": {"pooling": "predicting", "cells": 4},
        "batch_size": 4,
    }
    return Deployment.open(load_config(write_config(tmp_path_factory.mktemp("dispatch"), **changes)))


def collector(deployment: Deployment, folder: Path, pool: WorkerPool | None = None) -> Collector:
    made = Collector.of(deployment, folder, lambda *_: None)
    return made if pool is None else replace(made, dispatcher=Dispatcher(pool))


def fold(ours: Collector, prompts: list[Prompt]) -> tuple[str, bytes]:
    """Anchors and signals of the prompts."""
    anchors = ours.anchors(prompts)
    return anchors.digest, ours.signals("train", prompts, anchors).signals.logit.tobytes()


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def alone(deployment, prompts, tmp_path_factory) -> tuple[tuple[str, bytes], dict[str, bytes]]:
    """What this process makes by itself, and the files it keeps."""
    folder = tmp_path_factory.mktemp("alone")
    return fold(collector(deployment, folder), prompts), files(folder)


@pytest.mark.parametrize("pool", [Here, Backwards, Twice, Losing, Garbling])
def test_workers_that_reorder_repeat_and_die_make_the_same_bytes(pool, deployment, prompts, alone, tmp_path):
    found = fold(collector(deployment, tmp_path, pool(setup_of(deployment))), prompts)
    assert (found, files(tmp_path)) == alone


def test_what_is_there_is_dealt_to_nobody(deployment, prompts, alone, tmp_path):
    ours = collector(deployment, tmp_path)
    stopped = replace(ours, dispatcher=Dispatcher(first := Here(setup_of(deployment))))
    batches = stopped.batches("train", prompts, {"a": 1}, FoldSignals(ours.anchors(prompts)))
    next(batches)
    batches.close()
    assert len(first.given) == 3, "as many as keep two workers busy, and there are only three"
    second = Here(setup_of(deployment))
    again = replace(ours, dispatcher=Dispatcher(second))
    assert len(list(again.batches("train", prompts, {"a": 1}, FoldSignals(ours.anchors(prompts))))) == 3
    assert second.given == first.given[1:]


def test_a_shard_that_kills_everybody_ends_the_run_and_the_rest_is_kept(deployment, prompts, alone, tmp_path):
    pool = Poisoned(setup_of(deployment))
    with pytest.raises(WorkerLost) as caught:
        fold(collector(deployment, tmp_path, pool), prompts)
    text = str(caught.value)
    assert text.startswith("prompts 4 to 7 of 'train'") and f"{TRIES} workers" in text
    assert "worker 7" in text and CAUSE in text
    assert max(Counter(pool.given).values()) == TRIES
    assert files(tmp_path).items() < alone[1].items(), "nothing half written, no claim left"
    assert (fold(collector(deployment, tmp_path), prompts), files(tmp_path)) == alone


@pytest.mark.parametrize("raised", [CaptureError("prompt 'a': broken"), ConfigError("one", ["one", "two"])])
def test_what_a_worker_finds_wrong_is_said_as_this_process_would(raised, deployment, prompts, tmp_path, monkeypatch):
    def broken(*_: object) -> None:
        raise raised

    monkeypatch.setattr(Generating, "run", broken)
    pool = Here(setup_of(deployment))
    with pytest.raises(type(raised)) as caught:
        collector(deployment, tmp_path, pool).anchors(prompts)
    assert str(caught.value) == str(raised) and getattr(caught.value, "problems", ()) == getattr(raised, "problems", ())
    assert len(set(pool.given)) == len(pool.given), "nobody tries again what every worker would find"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: {"version": "0.0.9"}, "sri-sdk 0.1.0, and the run 0.0.9"),
        (lambda f: {"fingerprint": {**f, "soft": {**f["soft"], "torch": "1.0"}}}, "torch is .* instead of '1.0'"),
    ],
)
def test_a_worker_that_is_not_like_the_rest_is_refused(change, says, deployment, prompts, tmp_path):
    setup = {**json.loads(setup_of(deployment)), **change(deployment.fingerprint.to_dict())}
    pool = Here(json.dumps(setup).encode())
    with pytest.raises(ModelMismatch, match=rf"{says}.*\(worker: here\)"):
        collector(deployment, tmp_path, pool).anchors(prompts)


def test_a_damaged_batch_is_dealt_again(deployment, prompts, alone, tmp_path):
    fold(collector(deployment, tmp_path), prompts)
    broken = next(tmp_path.glob(f"train-*/{batch_name(4)}.safetensors"))
    broken.write_bytes(broken.read_bytes()[:-1])
    pool = Here(setup_of(deployment))
    assert (fold(collector(deployment, tmp_path, pool), prompts), files(tmp_path)) == alone
    assert [name.partition(" (")[0] for name in pool.given] == ["prompts 4 to 7 of 'train'"]


def test_what_another_process_is_at_is_not_dealt(deployment, prompts, tmp_path):
    """It finishes, or ends without: then the batch is dealt after all."""
    for finishes in (True, False):
        ours, pool = collector(deployment, tmp_path / str(finishes)), Here(setup_of(deployment))
        task, key = FoldSignals(collector(deployment, tmp_path).anchors(prompts)), {"a": 1}
        store = Store(ours.cache, "train", key)
        other = store.claim(batch_name(0))
        assert other.__enter__()

        class Waiting(Here):
            def wait(self, seconds: float, *, _done: list[int] = []) -> ShardResult | ShardLost | None:  # noqa: B006
                if len(self.out) == 1:
                    if finishes:  # noqa: B023
                        store.save(batch_name(0), *task.make(ours, prompts[:4]))  # noqa: B023
                    other.__exit__(None, None, None)  # noqa: B023
                return super().wait(seconds)

        pool = Waiting(setup_of(deployment))
        made = replace(ours, dispatcher=Dispatcher(pool)).batches("train", prompts, key, task)
        starts = [batch[0].id for batch, _ in made]
        assert starts == [prompts[0].id, prompts[4].id, prompts[8].id]
        dealt = [name.split()[1] for name in pool.given]
        assert dealt == (["4", "8"] if finishes else ["4", "8", "0"])


def test_a_run_that_is_refused_early_gives_up_its_claims(deployment, prompts, tmp_path):
    harmless = [replace(p, label="harmful") for p in prompts]
    with pytest.raises(ConfigError, match="anchors"):
        collector(deployment, tmp_path, Here(setup_of(deployment))).anchors(harmless)
    assert not list(tmp_path.rglob("*.lock"))


def test_progress_never_goes_back_and_ends_with_all(deployment, prompts, tmp_path):
    seen: list[tuple[int, int]] = []
    ours = collector(deployment, tmp_path, Backwards(setup_of(deployment)))
    ours = replace(ours, progress=lambda stage, done, total: seen.append((done, total)))
    ours.anchors(prompts)
    assert seen == sorted(seen) and seen[-1] == (12, 12)


def steered(live: Generating) -> Steered:
    width, blocks = live.hook.hidden_size(), len(live.hook.layers())
    vector = np.zeros((1, width), np.float32)
    vector[0, 3] = 1
    direction = Direction("refusal", vector, "refusing", np.zeros((2, blocks), np.float32), {"block": 1})
    return Steered(direction, Add(0.5), Where(layers=(1,), steps=(0.0, 0.5)))


def tasks(live: Collector, prompts: list[Prompt]) -> Iterator[Task]:
    anchors, judge = live.anchors(prompts), registry.build("judges", "refusal-phrases", {})
    yield FoldSignals(anchors)
    yield WatchedDrafts(anchors, None, "", keep_texts=False, keep_drafts=False)
    yield WatchedDrafts(
        anchors, judge, "refusal-phrases", keep_texts=True, keep_drafts=True, steered=steered(live)
    )  # fmt: skip
    yield SteeredOutcomes(steered(live))


def test_every_task_travels(deployment, prompts, tmp_path):
    live = collector(deployment, tmp_path)
    for task in tasks(live, prompts):
        arrays, notes = unpack(pack(*task.state()))
        again = type(task).restored((arrays, notes))
        assert pack(*again.state()) == pack(arrays, notes)
        one, two = (_timeless(each.make(live, prompts[:4])) for each in (task, again))
        assert pack(*one) == pack(*two)


def test_anchors_with_a_request_map_travel(deployment, prompts, tmp_path):
    anchors = collector(deployment, tmp_path).anchors(prompts)
    weight = np.random.default_rng(0).normal(size=(2, anchors.harmless.shape[2])).astype(np.float32)
    anchors = replace(anchors, request=RequestMap(weight, 0.1, {"prompts": {"plain": {"harmful": 3}}}))
    again = restored_anchors(unpack(pack(*anchors_state(anchors))))
    assert again.digest == anchors.digest and again.request.digest == anchors.request.digest
    assert again.provenance == anchors.provenance and again.columns == anchors.columns


def _timeless(batch: tuple[Any, Any]) -> tuple[Any, Any]:
    return batch[0], {name: value for name, value in batch[1].items() if name != "seconds"}


def test_anchors_keep_one_file_once_all_batches_are_in_it(deployment, prompts, alone):
    assert [name for name in alone[1] if name.startswith("anchors")] == [
        next(name for name in alone[1] if name.endswith(f"{WHOLE}.safetensors"))
    ]


class TheirOwn(CaptureError):
    """A plugin's own error, which this process does not know."""


class Collection(SriError):
    """Named as something that `sri_sdk.errors` imports, which is no error."""


@pytest.mark.parametrize(
    ("raised", "kind", "facts"),
    [
        (MissingExtra("Reading files", extra="capture"), MissingExtra, {"extra": "capture"}),
        (TheirOwn("text"), CaptureError, {}),
        (Collection("text"), SriError, {}),
        (PluginNotFound("text"), PluginNotFound, {}),
        (ConfigError("one", ["one", "two"]), ConfigError, {"problems": ("one", "two")}),
        (
            GenerationAborted(("a", "b"), 3, blind="tap_silent"),
            GenerationAborted,
            {"request_ids": ("a", "b"), "step": 3, "blind": "tap_silent", "beyond": False},
        ),
        (SinkRejected(("a",), "text"), SinkRejected, {}),
    ],
)
def test_an_error_arrives_as_the_closest_class_that_is_known(raised, kind, facts) -> None:
    _, notes = unpack(pack(*refused(raised)))
    found = _error(**notes[REFUSED], worker="worker 7")
    assert (type(found), str(found)) == (kind, str(raised))
    assert {name: getattr(found, name) for name in facts} == facts


class Raising(Here):
    """Raises over the second shard; `texts` by try."""

    texts = ("ValueError: x",) * 3
    tries = 0

    def wait(self, seconds: float) -> ShardResult | ShardLost | None:
        if self.out and self.out[0].name.startswith("prompts 4 to 7"):
            self.tries += 1
            return ShardLost(self.out.pop(0).name, f"worker {self.tries}", self.texts[self.tries - 1], raised=True)
        return super().wait(seconds)


def test_what_two_workers_raise_alike_ends_the_run(deployment, prompts, tmp_path):
    pool = Raising(setup_of(deployment))
    with pytest.raises(WorkerLost, match=r"two workers raised the same .* worker 2, ValueError: x"):
        collector(deployment, tmp_path, pool).anchors(prompts)
    assert pool.tries == 2


def test_what_workers_raise_differently_is_tried_as_often_as_a_lost_worker(deployment, prompts, tmp_path):
    pool = Raising(setup_of(deployment))
    pool.texts = ("ValueError: x", "ValueError: y", "ValueError: z")
    with pytest.raises(WorkerLost, match=rf"{TRIES} workers were lost"):
        collector(deployment, tmp_path, pool).anchors(prompts)
    assert pool.tries == TRIES


def test_a_batch_that_can_never_be_read_back_is_not_made_for_ever(deployment, prompts, tmp_path, monkeypatch):
    load = Store.load
    unread = {batch_name(4)}
    monkeypatch.setattr(Store, "load", lambda self, name: None if name in unread else load(self, name))
    pool = Here(setup_of(deployment))
    with pytest.raises(SriError, match=rf"prompts 4 to 7 of 'anchors'.*could not be read {TRIES} times"):
        collector(deployment, tmp_path, pool).anchors(prompts)
    assert max(Counter(pool.given).values()) == TRIES
    assert not list(tmp_path.rglob("*.lock"))


class Slow(Here):
    """Says how long its workers are at what they have, and then took as long."""

    def __init__(self, setup: bytes, *seconds: float) -> None:
        super().__init__(setup)
        self._seconds = list(seconds)

    def working(self) -> dict[str, tuple[str, float]]:
        return {self.out[0].name: ("worker 7", self._seconds[0])} if self.out and self._seconds else {}

    def made(self, shard: Shard) -> ShardResult:
        found = super().made(shard)
        return replace(found, seconds=self._seconds.pop(0) if self._seconds else 0.0)


@pytest.mark.parametrize(
    ("seconds", "shard"),
    [
        # Each is looked at when the one before was answered.
        ((1, 1, 1), None),
        ((1, SLOW_SECONDS + 1), "prompts 4 to 7"),
        ((SLOW_SECONDS, SLOW_SECONDS * (SLOW - 1)), None),
        ((SLOW_SECONDS, 0, SLOW_SECONDS * SLOW), "prompts 8 to 11"),
    ],
)
def test_a_worker_that_takes_much_longer_than_the_others_is_named_once(
    seconds, shard, deployment, prompts, tmp_path, caplog
):
    pool = Slow(setup_of(deployment), *seconds)
    with caplog.at_level("WARNING", "sri_sdk.fitting"):
        fold(collector(deployment, tmp_path, pool), prompts)
    found = [each for each in caplog.messages if "has been at it" in each]
    assert len(found) == (shard is not None)
    assert all(each.startswith(shard) and "worker 7" in each and "--patience" in each for each in found)


class Checked(ExecutorHere):
    """Refuses, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.models: list[Any] = []

    def check(self, models: Any) -> None:
        self.models.extend(models)
        raise ConfigError("no room for a worker")


@pytest.mark.parametrize("run", [fit, compare])
def test_an_executor_refuses_before_a_model_is_loaded(run, tmp_path, monkeypatch):
    monkeypatch.setattr(Deployment, "open", lambda *_: pytest.fail("the model was loaded"))
    config, executor = load_config(write_config(tmp_path)), Checked()
    with pytest.raises(ConfigError, match="no room for a worker"):
        run(config, executor=executor)
    assert executor.models == [config.model.options]
