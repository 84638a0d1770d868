"""The section `steer` in YAML: what is refused before anything is loaded."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from sri_sdk.config.load import load_config
from sri_sdk.errors import ConfigError

from ..fitting.conftest import SMALL


def found(tmp_path: Path, steer: Any, **changes: Any) -> Any:
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump({**SMALL, "out": "out", "steer": steer, **changes}))
    try:
        return load_config(path)
    except ConfigError as err:
        return [problem.removeprefix(f"{path}: ") for problem in err.problems]


def test_a_split_is_enough_and_the_rest_is_that_of_the_papers(tmp_path: Path) -> None:
    steer = found(tmp_path, {"split": "fit"}).steer
    assert (steer.harmless, steer.harmful, steer.places) == (128, 128, None)
    assert (steer.limits.kl, steer.limits.last_blocks) == (0.1, 0.2)
    assert found(tmp_path, None).steer is None


@pytest.mark.parametrize(
    ("steer", "problem"),
    [
        ({}, "steer.split: required, but missing"),
        ({"split": "fitt"}, "steer.split: unknown split 'fitt'; dataset 'lab' has: .* Did you mean 'fit'?"),
        ({"split": "fit", "validation": {"split": "calibrate"}}, "steer.validation.split: unknown split 'calibrate'"),
        ({"split": "fit", "harmful": 7}, "steer.harmful: .*8"),
        ({"split": "fit", "validation": {"harmful": 0}}, "steer.validation.harmful: .*1"),
        ({"split": "fit", "limits": {"kl": 0}}, "steer.limits.kl: "),
        ({"split": "fit", "limits": {"last_blocks": 1}}, "steer.limits.last_blocks: "),
        ({"split": "fit", "limits": {"finalist": 3}}, "steer.limits.finalist: unknown key"),
        ({"split": "fit", "places": []}, "steer.places: "),
        ({"split": "fit", "places": ["pre-1", "pre-1"]}, "steer.places: names a place more than once"),
        ({"split": "fit", "places": ["pre-0"]}, r"steer.places: found 'pre-0', allowed: pre-1, pre-2 ... and post\+0"),
    ],
)
def test_a_mistake_is_one_problem_with_its_path(tmp_path: Path, steer: dict, problem: str) -> None:
    import re

    problems = found(tmp_path, steer)
    assert len(problems) == 1 and re.match(problem, problems[0]), problems


def test_a_family_that_reads_prompts_apart_cannot_be_steered_this_way(tmp_path: Path) -> None:
    changes = {"model": {"hook": "diffusion-gemma", "options": {"source": "x/y"}}, "tap": {"pooling": "response"}}
    problems = found(tmp_path, {"split": "fit"}, **changes)
    assert any(each.startswith("steer: DiffusionGemmaHook reads prompts in a part of its own") for each in problems)
