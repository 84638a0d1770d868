"""Prompts of like length share a batch, and nobody sees that in what comes of them."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest

from sri_sdk.config.load import load_config
from sri_sdk.fitting.by_length import SHORT_IN_FITS
from sri_sdk.fitting.collect import Collector
from sri_sdk.fitting.deployment import Deployment
from sri_sdk.fitting.request import request_states
from sri_sdk.records import RequestStates

from .conftest import write_config


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    changes = {
        "model": {"hook": "lab-causal"},
        "sampler": {"name": "autoregressive", "options": {"tokens": 24}},
        "tap": {"pooling": "predicting", "cells": 4},
        "batch_size": 4,
    }
    return Deployment.open(load_config(write_config(tmp_path_factory.mktemp("order"), **changes)))


def collector(deployment: Deployment, folder: Path) -> Collector:
    return Collector.of(deployment, folder, lambda *_: None)


def test_signals_come_in_the_order_of_the_prompts_and_are_those_of_each_prompt_alone(
    deployment, prompts, tmp_path, monkeypatch
):
    ours = collector(deployment, tmp_path)
    anchors = ours.anchors(prompts)
    batches, run = [], Collector.run
    monkeypatch.setattr(Collector, "run", lambda self, some, *rest: batches.append(some) or run(self, some, *rest))
    found = ours.signals("train", prompts, anchors)
    assert found.prompts == tuple(prompts) and found.signals.ids == tuple(p.id for p in prompts)
    assert all(len(p.text) > SHORT_IN_FITS for p in batches[0]), "the long ones together, and first"
    for row in (0, 1, 7):
        alone = ours.signals("alone", [prompts[row]], anchors)
        np.testing.assert_allclose(found.signals.logit[row], alone.signals.logit[0], atol=1e-2)
        assert found.outcomes[row] == alone.outcomes[0]


def test_an_interrupted_fold_goes_on_with_the_batches_it_has(deployment, prompts, tmp_path, monkeypatch):
    ours = collector(deployment, tmp_path)
    anchors = ours.anchors(prompts)
    made, run = [], Collector.run

    def fails_at_the_third(self, some, *rest):
        made.append(some)
        if len(made) == 3:
            raise KeyboardInterrupt
        return run(self, some, *rest)

    monkeypatch.setattr(Collector, "run", fails_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        ours.signals("train", prompts, anchors)
    found = ours.signals("train", prompts, anchors)
    assert len(made) == 4 and made[3] == made[2]
    whole = collector(deployment, tmp_path / "other").signals("train", prompts, anchors)
    assert np.array_equal(found.signals.logit, whole.signals.logit) and found.outcomes == whole.outcomes


def test_anchors_are_those_of_any_other_order_of_the_prompts(deployment, prompts, tmp_path):
    one = collector(deployment, tmp_path).anchors(prompts)
    two = collector(deployment, tmp_path).anchors(prompts[::-1])
    for label in ("harmless", "harmful"):
        np.testing.assert_allclose(getattr(one, label), getattr(two, label), atol=1e-4)
    assert one.provenance["counts"] == two.provenance["counts"]


def test_states_of_requests_come_in_the_order_of_the_prompts(prompts):
    def read(batch):
        states = np.array([[[float(prompts.index(p))]] for p in batch], dtype=np.float32)
        yes = np.ones(len(batch), dtype=np.bool_)
        return RequestStates(states, yes, yes)

    assert request_states(prompts, read, batch_size=5)[:, 0, 0].tolist() == list(range(len(prompts)))


def test_the_memory_of_a_batch_is_free_as_soon_as_its_results_are_there(deployment, prompts, tmp_path, monkeypatch):
    """Without Python's collector, which may come a hundred batches later."""
    runs, run = [], Collector.run

    def remembered(self, some, *rest):
        driven = run(self, some, *rest)
        runs.append(weakref.ref(driven.run))
        return driven

    monkeypatch.setattr(Collector, "run", remembered)
    gc.collect()
    gc.disable()
    try:
        ours = collector(deployment, tmp_path)
        ours.signals("train", prompts, ours.anchors(prompts))
        alive = sum(each() is not None for each in runs)
    finally:
        gc.enable()
    assert len(runs) == 6 and alive == 0
