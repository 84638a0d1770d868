"""Sections of guards that read requests: what is refused before anything is loaded."""

from pathlib import Path

import pytest
import yaml

from sri_sdk import registry
from sri_sdk.config.load import load_config
from sri_sdk.errors import ConfigError

from ..fitting.conftest import SMALL

FOLD = {"split": "fit", "harmless": 10, "harmful": 10}
WITH = {"request": {"layers": "all"}, "folds": {**SMALL["folds"], "request": FOLD}}
READS = {**SMALL["detector"], "columns": ["sri@*", "request"]}


def found(tmp_path: Path, **changes):
    path = tmp_path / "a.yaml"
    whole = {**SMALL, "out": "out", **WITH, "detector": READS, **changes}
    path.write_text(yaml.safe_dump({name: value for name, value in whole.items() if value is not None}))
    try:
        return load_config(path)
    except ConfigError as err:
        return [problem.removeprefix(f"{path}: ") for problem in err.problems]


def folds(**changes):
    made = {**SMALL["folds"], "request": FOLD, **changes}
    return {name: fold for name, fold in made.items() if fold is not None}


def test_the_request_may_stand_beside_the_signal_or_alone_without_anchors(tmp_path: Path) -> None:
    assert found(tmp_path).request.layers == "all"
    alone = found(tmp_path, detector={**READS, "columns": ["request"]}, folds=folds(anchors=None))
    assert alone.folds.anchors is None


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"request": {"layers": [0, "last"]}}, "request.layers: found 'last', allowed: final"),
        ({"request": {"layers": [1, 1]}}, "request.layers: named more than once: 1"),
        ({"request": None}, "folds.request: nothing is fitted on it without a section `request`"),
        ({"folds": folds(request=None)}, "folds.request: required with a section `request`"),
        ({"folds": folds(anchors=None)}, "folds.anchors: required, but missing"),
        ({"folds": folds(request={**FOLD, "split": "fitt"})}, "folds.request.split: unknown split 'fitt'"),
        ({"folds": folds(request={**FOLD, "attacks": {"autority": 3}})}, "folds.request.attacks.autority: unknown"),
        ({"folds": folds(request={**FOLD, "unusual": {"odd": 3}})}, "folds.request.unusual.odd: unknown split"),
        ({"detector": {**READS, "columns": ["sri@12"]}}, "'sri@12' fits no column; the guard has: sri@final, request"),
        ({"detector": SMALL["detector"]}, "no part reads the column 'request'"),
        ({"policy": {**SMALL["policy"], "rule": "online"}}, "policy.rule: found 'online', and a part"),
        ({"policy": {**SMALL["policy"], "rule": "request"}}, "policy.rule: found 'request', and no part reads"),
        ({"detector": None}, "names both detector and parts, or neither"),
        ({"detector": None, "parts": {"a": {"detector": "knnn"}}}, "parts.a.detector: "),
        (
            {"detector": None, "parts": {name: {"detector": "knn", "share": 0.7} for name in ("a", "b")}},
            "the shares sum to 1.4",
        ),
        (
            {"detector": None, "parts": {"a": {"detector": "knn"}, "b": {"detector": "knn", "columns": ["request"]}}},
            "the share of part 'b', cannot be met with n = 19",
        ),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_named_at_once(tmp_path: Path, changes, says) -> None:
    problems = found(tmp_path, **changes)
    assert isinstance(problems, list) and any(says in problem for problem in problems), problems


def test_a_hook_that_cannot_read_requests_is_refused_with_the_names_of_those_that_can(tmp_path, monkeypatch) -> None:
    hook = registry.load("hooks", "lab-diffusion")
    monkeypatch.setattr(hook, "capabilities", hook.capabilities - {"request"})
    (problem,) = found(tmp_path)
    assert "lacks the capability 'request'" in problem and "lab-causal" in problem and "lab-diffusion" not in problem
