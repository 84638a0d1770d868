"""Folds that stand for a mix of traffic, in YAML: what is refused before anything is loaded."""

import re
from pathlib import Path

import pytest
import yaml

from sri_sdk.config.load import load_config
from sri_sdk.errors import ConfigError

from ..fitting.conftest import SMALL

MIX = {"plain": 0.9, "wrapped": {"fiction": 0.05}, "unusual": {"unusual": 0.05}}


def found(tmp_path: Path, fold: str, mix, **changes):
    path = tmp_path / "a.yaml"
    folds = {**SMALL["folds"], fold: {**SMALL["folds"][fold], "mix": mix}}
    path.write_text(yaml.safe_dump({**SMALL, "out": "out", "folds": folds, **changes}))
    try:
        return load_config(path)
    except ConfigError as err:
        return [problem.removeprefix(f"{path}: ") for problem in err.problems]


@pytest.mark.parametrize("fold", ["train", "reference", "calibration", "test"])
def test_folds_of_harmless_prompts_may_state_their_mix(tmp_path: Path, fold: str) -> None:
    config = found(tmp_path, fold, MIX)
    assert [each.name for each in getattr(config.folds, fold).mix.kinds()] == ["plain", "fiction", "unusual"]


def test_anchors_have_no_mix(tmp_path: Path) -> None:
    assert "folds.anchors.mix: unknown key" in found(tmp_path, "anchors", MIX)[0]


@pytest.mark.parametrize(
    ("mix", "says"),
    [
        ({"wrapped": {"fictoin": 0.1}}, "folds.calibration.mix.wrapped.fictoin: unknown attack; .* mean 'fiction'?"),
        (
            {"wrapped": {"unusual": 0.1}},
            "unknown attack; .* It is a split: name it under folds.calibration.mix.unusual",
        ),
        ({"unusual": {"unsual": 0.1}}, "folds.calibration.mix.unusual.unsual: unknown split; .* mean 'unusual'?"),
        ({"unusual": {"fiction": 0.1}}, "It is an attack: name it under folds.calibration.mix.wrapped"),
        ({"unusual": {"calibration": 0.1}}, "is the split of the fold itself"),
        ({"plain": 0.9, "wrapped": {"fiction": 0.2}}, "folds.calibration.mix: the shares sum to 1.1"),
        ({"wraped": {"fiction": 0.2}}, "folds.calibration.mix.wraped: unknown key; .*mean 'wrapped'?"),
        ({"wrapped": {"fiction": "5 %"}}, "folds.calibration.mix.wrapped.fiction: must be a number, found '5 %'"),
        ([0.9, 0.1], "folds.calibration.mix: must be a mapping of keys to values"),
    ],
)
def test_names_and_shares_are_checked_with_their_path(tmp_path: Path, mix, says: str) -> None:
    (problem,) = found(tmp_path, "calibration", mix)
    assert re.search(says, problem), problem
