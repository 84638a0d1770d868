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
READS = {"name": "request"}
BOTH = {"behaviour": {"detector": "logistic"}, "asked": {"detector": "request"}}


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
    enough = folds(calibration={"split": "calibration", "harmless": 39})
    assert found(tmp_path, detector=None, parts=BOTH, folds=enough).request.layers == "all"
    assert found(tmp_path, folds=folds(anchors=None)).folds.anchors is None


@pytest.mark.parametrize("rule", ["online", "request"])
def test_a_part_that_reads_the_request_alone_may_decide_under_every_rule(tmp_path: Path, rule) -> None:
    assert found(tmp_path, policy={**SMALL["policy"], "rule": rule}).policy.rule == rule


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"request": {"layers": [0, "last"]}}, "request.layers: found 'last', allowed: final"),
        ({"request": {"layers": [1, 1]}}, "request.layers: named more than once: 1"),
        ({"request": None}, "folds.request: nothing is fitted on it without a section `request`"),
        ({"folds": folds(request=None)}, "folds.request: required with a section `request`"),
        ({"detector": None, "parts": BOTH, "folds": folds(anchors=None)}, "folds.anchors: required, but missing"),
        ({"folds": folds(request={**FOLD, "split": "fitt"})}, "folds.request.split: unknown split 'fitt'"),
        ({"folds": folds(request={**FOLD, "attacks": {"autority": 3}})}, "folds.request.attacks.autority: unknown"),
        ({"folds": folds(request={**FOLD, "unusual": {"odd": 3}})}, "folds.request.unusual.odd: unknown split"),
        ({"folds": folds(request={**FOLD, "around": {"txt": 3}})}, "folds.request.around.txt"),
        (
            {
                "model": {"hook": "lab-causal"}, "sampler": {"name": "autoregressive", "options": {"tokens": 8}},
                "tap": {"pooling": "predicting"}, "folds": folds(request={**FOLD, "around": {"holes": 3}}),
            },
            "folds.request.around.holes: only a masked model can fill holes, and LabCausalHook is autoregressive",
        ),
        ({"detector": {**READS, "columns": ["sri@12"]}}, "'sri@12' fits no column; the guard has: sri@final, request"),
        ({"detector": SMALL["detector"]}, "no part reads the column 'request'"),
        ({"detector": {**READS, "columns": ["sri@*"]}}, "detector.columns: request: it reads the column request alone"),
        (
            {"detector": {**SMALL["detector"], "columns": ["sri@*", "request"]}},
            "detector.columns: detector 'autoencoder' cannot read the column 'request'",
        ),
        (
            {"detector": SMALL["detector"], "policy": {**SMALL["policy"], "rule": "request"}},
            "policy.rule: found 'request', and no part reads",
        ),
        ({"detector": None}, "names both detector and parts, or neither"),
        ({"detector": None, "parts": {"a": {"detector": "knnn"}}}, "parts.a.detector: "),
        (
            {"detector": None, "parts": {name: {"detector": "logistic", "share": 0.7} for name in ("a", "b")}},
            "the shares sum to 1.4",
        ),
        (
            {"detector": None, "parts": {"a": {"detector": "logistic"}, "b": {"detector": "request"}}},
            "the share of part 'b', cannot be met with n = 19",
        ),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_named_at_once(tmp_path: Path, changes, says) -> None:
    problems = found(tmp_path, **changes)
    assert isinstance(problems, list) and any(says in problem for problem in problems), problems


def test_an_exporter_that_writes_format_1_only_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(registry.load("exporters", "onnx"), "formats", (1,))
    (problem,) = found(tmp_path)
    assert problem.startswith("export.name: OnnxExporter writes bundles of format 1, and a guard that reads requests")


def test_a_hook_that_cannot_read_requests_is_refused_with_the_names_of_those_that_can(tmp_path, monkeypatch) -> None:
    hook = registry.load("hooks", "lab-diffusion")
    monkeypatch.setattr(hook, "capabilities", hook.capabilities - {"request"})
    (problem,) = found(tmp_path)
    assert "lacks the capability 'request'" in problem and "lab-causal" in problem and "lab-diffusion" not in problem
