"""A guard on made-up signals for any model: benchmarks need its cost, not its judgement."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from sri_exporter_onnx.exporter import OnnxExporter
from sri_plugin_detectors.autoencoder import AutoencoderDetector

from sri_sdk.anchors import Anchors
from sri_sdk.bundle.bundle import Bundle
from sri_sdk.fingerprint import Fingerprint
from sri_sdk.fitting.build import fit_guard
from sri_sdk.records import Signals
from sri_sdk.signal import sigmoid

CELLS = 32


def made_up_fingerprint(width: int) -> Fingerprint:
    """Of no model at all."""
    hard = {
        "architecture": "Made-up", "hidden_size": width, "layers": ["final"], "pooling": "response",
        "grid": {"cells": CELLS, "mapping": "step", "budget": CELLS}, "sampler": {"name": "made-up"},
        "config_digest": "c" * 64, "weights_digest": "d" * 64,
    }  # fmt: skip
    return Fingerprint(hard, {"dtype": "float32"})


def made_up_anchors(fingerprint: Fingerprint) -> Anchors:
    """[32, C, D], close together as in real models."""
    rng, width, columns = np.random.default_rng(0), fingerprint.hard["hidden_size"], len(fingerprint.hard["layers"])
    harmless = rng.normal(size=(CELLS, columns, width)).astype(np.float32)
    harmful = harmless + 0.1 * rng.normal(size=harmless.shape).astype(np.float32)
    return Anchors(harmless, harmful, fingerprint, {"judge": "made-up"})


def made_up_signals(count: int, seed: int, fingerprint: dict[str, Any] | None = None) -> Signals:
    """Smooth noisy logits, the same in every column of that fingerprint; None = of one column and of no model."""
    rng, t = np.random.default_rng(seed), np.linspace(0, 1, CELLS)
    level = 2 + 0.4 * rng.normal(size=(count, 1)) + 0.4 * rng.normal(size=(count, 1)) * np.sin(4 * t)
    one = (level + 0.2 * rng.normal(size=(count, CELLS)))[..., None].astype(np.float32)
    logit = np.repeat(one, len(fingerprint["hard"]["layers"]) if fingerprint else 1, axis=2)
    return Signals(tuple(f"g{seed}-{i}" for i in range(count)), sigmoid(logit), logit, fingerprint or {})


def made_up_guard(fingerprint: Fingerprint, folder: Path) -> tuple[Bundle, AutoencoderDetector]:
    """A guard folder with the detector of the paper, for the model of that fingerprint."""
    anchors, printed = made_up_anchors(fingerprint), fingerprint.to_dict()
    anchors.save(folder / "anchors.npz")
    folds = [made_up_signals(200, seed, printed) for seed in (1, 2, 3)]
    detector = AutoencoderDetector(AutoencoderDetector.Config(epochs=20))
    bundle = fit_guard(
        detector, "autoencoder", *folds, anchors=anchors, exporter=OnnxExporter(), alpha=0.05, target=folder / "bundle"
    )
    return bundle, detector
