"""A small evaluation of the lab's causal model, and generations made of numbers alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from sri_sdk.config.load import load_evaluation
from sri_sdk.evaluation.generations import Generations
from sri_sdk.records import Prompt, Signals

SMALL: dict[str, Any] = {
    "version": 1,
    "title": "Small",
    "models": {
        "causal": {
            "model": {"hook": "lab-causal"},
            "sampler": {"name": "autoregressive", "options": {"tokens": 48}},
            "tap": {"pooling": "predicting", "cells": 8, "layers": [0, "final"]},
        },
        "other-pooling": {
            "like": "causal", "scale": 0.5, "guards": False,
            "tap": {"pooling": "generated", "cells": 8, "layers": ["final"]},
        },
    },
    "prompts": {"dataset": "lab"},
    "judge": {"name": "lab"},
    "draft_judge": {"name": "lab"},
    "folds": {
        "anchors": {"split": "fit", "harmless": 24, "harmful": 24},
        "train": {"split": "fit", "harmless": 24},
        "reference": {"split": "fit", "harmless": 24},
        "calibration": {"split": "calibration", "harmless": 24},
        "test": {"split": "test", "harmless": 30, "harmful": 24},
    },
    "attacks": {"prefix-injection": {"count": 24}, "fiction": {"count": 24}},
    "harmless_sets": {"wrapped": {"split": "test", "count": 10, "attack": "fiction"}},
    "guards": {
        "sri": {"detector": {"name": "autoencoder", "options": {"epochs": 20}}},
        "paper": {"detector": {"name": "autoencoder", "options": {"epochs": 20}}, "threshold": "quantile"},
    },
    "surrogates": [{"guarded": "other-pooling", "by": "causal"}],
    "unseen_attacks": {"name": "logistic"},
    "calibrate": {"alpha": 0.05},
    "overhead_batches": 2,
    "batch_size": 16,
}  # fmt: skip


def write_evaluation_config(folder: Path, **changes: Any) -> Path:
    """A config whose results go to `folder`/out; a change of None takes the key away."""
    path = folder / "small.yaml"
    data = {**SMALL, "out": str(folder / "out"), **changes}
    path.write_text(yaml.safe_dump({key: value for key, value in data.items() if value is not None}, sort_keys=False))
    return path


@pytest.fixture
def small(tmp_path):
    return load_evaluation(write_evaluation_config(tmp_path))


def generations(
    sigma, *, label="harmful", outcome="harmful", attack=None, prefix="p", bases=None, drafts=None, responses=None
) -> Generations:
    """Generations with these signals; one label, outcome and attack for all unless lists are given."""
    sigma = np.asarray(sigma, dtype=np.float32)
    if sigma.ndim == 2:
        sigma = sigma[:, :, None]
    n, cells = sigma.shape[:2]
    ids = tuple(f"{prefix}{i}" for i in range(n))
    prompts = tuple(
        Prompt(name, f"text of {name}", label, attack, bases[i] if bases else None) for i, name in enumerate(ids)
    )
    outcomes = (outcome,) * n if isinstance(outcome, str) else tuple(outcome)
    clipped = np.clip(sigma, 1e-6, 1 - 1e-6)
    logit = np.log(clipped / (1 - clipped)).astype(np.float32)
    codes = np.full((n, cells), -1, dtype=np.int8) if drafts is None else np.asarray(drafts, dtype=np.int8)
    clock = np.tile(np.arange(cells + 1, dtype=np.int64), (n, 1))
    return Generations(prompts, Signals(ids, sigma, logit), outcomes, clock, codes, responses, None, 1.0)
