"""A small fit of the lab's causal model, and the guard that one process makes of it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

import sri_sdk

CONFIG: dict[str, Any] = {
    "version": 1,
    "model": {"hook": "lab-causal"},
    "sampler": {"name": "autoregressive", "options": {"tokens": 24}},
    "tap": {"pooling": "predicting", "cells": 4},
    "prompts": {"dataset": "lab"},
    "judge": {"name": "lab"},
    "folds": {
        "anchors": {"split": "fit", "harmless": 8, "harmful": 8},
        "train": {"split": "fit", "harmless": 20},
        "reference": {"split": "fit", "harmless": 20},
        "calibration": {"split": "calibration", "harmless": 19},
    },
    "detector": {"name": "mahalanobis"},
    "calibrate": {"alpha": 0.05},
    "policy": {"rule": "final", "flagged": "report", "unmonitored": "report"},
    "batch_size": 4,
}


def config_in(folder: Path) -> Path:
    folder.mkdir()
    path = folder / "guard.yaml"
    path.write_text(yaml.safe_dump({**CONFIG, "out": str(folder / "guard")}))
    return path


def guard_files(folder: Path) -> dict[str, bytes]:
    """Anchors, detector and bundle."""
    out = folder / "guard"
    return {
        str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file() and "cache" not in p.parts
    }  # fmt: skip


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("alone") / "run"
    sri_sdk.fit(sri_sdk.load_config(config_in(folder)))
    return guard_files(folder)
