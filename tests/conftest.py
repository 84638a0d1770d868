"""A small guard on made-up signals, fitted once per test run."""

import shutil
from collections.abc import Callable
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from sri_exporter_onnx.exporter import OnnxExporter
from sri_plugin_toy.detector import ToyDetector

from sri_sdk.anchors import Anchors
from sri_sdk.bundle.bundle import Bundle
from sri_sdk.fingerprint import Fingerprint
from sri_sdk.fitting.build import fit_guard
from sri_sdk.records import Signals
from sri_sdk.scoring.scorer import Scorer
from sri_sdk.signal import sigmoid

CELLS, WIDTH = 32, 64

# A busy machine is not a failing test.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

MakeSignals = Callable[..., Signals]


@pytest.fixture(scope="session")
def anchors() -> Anchors:
    """[32, 1, 64], close together as in real models."""
    rng = np.random.default_rng(0)
    harmless = rng.normal(size=(CELLS, 1, WIDTH)).astype(np.float32)
    harmful = harmless + 0.1 * rng.normal(size=harmless.shape).astype(np.float32)
    hard = {
        "architecture": "Made-up", "hidden_size": WIDTH, "layers": [-1], "pooling": "response",
        "grid": {"cells": CELLS, "mapping": "step", "budget": CELLS}, "sampler": {"name": "toy"},
        "config_digest": "c" * 64, "weights_digest": "d" * 64,
    }  # fmt: skip
    return Anchors(harmless, harmful, Fingerprint(hard, {"dtype": "float32", "torch": "2"}), {"judge": "made-up 1"})


@pytest.fixture(scope="session")
def make_signals(anchors: Anchors) -> MakeSignals:
    """make(count, seed, dip=0): smooth noisy logits above 0; `dip` digs a hole in the middle, as a jailbreak does."""

    def make(count: int, seed: int, *, dip: float = 0.0) -> Signals:
        rng = np.random.default_rng(seed)
        t = np.linspace(0, 1, CELLS)
        level = 2 + 0.4 * rng.normal(size=(count, 1)) + 0.4 * rng.normal(size=(count, 1)) * np.sin(4 * t)
        noisy = level + 0.2 * rng.normal(size=(count, CELLS)) - dip * np.exp(-(((t - 0.5) / 0.1) ** 2))
        logit = noisy[..., None].astype(np.float32)
        ids = tuple(f"g{seed}-{i}" for i in range(count))
        return Signals(ids, sigmoid(logit), logit, anchors.fingerprint.to_dict())

    return make


@pytest.fixture(scope="session")
def fitted(tmp_path_factory: pytest.TempPathFactory, anchors: Anchors, make_signals: MakeSignals) -> Bundle:
    """A guard folder (`.path.parent`: anchors.npz and bundle/) at alpha = 5 %."""
    folder = tmp_path_factory.mktemp("guard")
    anchors.save(folder / "anchors.npz")
    folds = make_signals(200, 1), make_signals(200, 2), make_signals(399, 3)
    return fit_guard(
        ToyDetector(), "toy", *folds, anchors=anchors, exporter=OnnxExporter(), alpha=0.05, target=folder / "bundle"
    )


@pytest.fixture(scope="session")
def scorer(fitted: Bundle) -> Scorer:
    return Scorer.open(fitted.path)


@pytest.fixture
def guard_copy(fitted: Bundle, tmp_path: Path) -> Path:
    """A guard folder the test may damage."""
    return Path(shutil.copytree(fitted.path.parent, tmp_path / "guard"))
