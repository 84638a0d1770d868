"""A small fit of the lab's diffusion model: few steps, few tokens, few prompts; seconds, not minutes."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from sri_sdk import registry
from sri_sdk.config.fit import FitConfig
from sri_sdk.config.load import load_config
from sri_sdk.fitting.by_length import SHORT_IN_FITS
from sri_sdk.records import Prompt

SMALL: dict[str, Any] = {
    "version": 1,
    "model": {"hook": "lab-diffusion"},
    "sampler": {"name": "low-confidence", "options": {"steps": 8, "tokens": 48}},
    "tap": {"pooling": "response", "cells": 4},
    "prompts": {"dataset": "lab"},
    "judge": {"name": "lab"},
    "folds": {
        "anchors": {"split": "fit", "harmless": 12, "harmful": 12},
        "train": {"split": "fit", "harmless": 20},
        "reference": {"split": "fit", "harmless": 20},
        "calibration": {"split": "calibration", "harmless": 19},
        "test": {"split": "test", "harmless": 8, "harmful": 8},
    },
    "detector": {"name": "autoencoder", "options": {"epochs": 20}},
    "calibrate": {"alpha": 0.05},
    "policy": {"rule": "final", "flagged": "report", "unmonitored": "report"},
    "batch_size": 12,
}


def write_config(folder: Path, **changes: Any) -> Path:
    """A config whose guard goes to `folder`/guard."""
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump({**SMALL, "out": str(folder / "guard"), **changes}))
    return path


@pytest.fixture(scope="session")
def prompts() -> list[Prompt]:
    """Twelve of the lab's, both classes; every third one is long, with the lab's own words in front."""
    lab = registry.build("datasets", "lab", {})
    plain = [p for label in ("harmless", "harmful") for p in lab.prompts("fit", label, 6)]
    front = "feed the pony of the farmer . " * 4
    assert len(front) > SHORT_IN_FITS
    return [p if at % 3 else Prompt(p.id, front + p.text, p.label) for at, p in enumerate(plain)]


@pytest.fixture
def small(tmp_path: Path) -> FitConfig:
    return load_config(write_config(tmp_path))
