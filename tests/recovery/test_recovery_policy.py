"""What a policy may say about recovery, and what is refused before anything is loaded."""

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from sri_sdk.config.load import load_config
from sri_sdk.errors import ConfigError
from sri_sdk.policy import Policy
from sri_sdk.records import Verdict
from tests.fitting.conftest import SMALL

STEER = {"action": "steer", "direction": "refusal.safetensors"}
REMASK = {"action": "remask", "direction": "refusal.safetensors"}
BASE = {"rule": "online", "flagged": "recover", "unmonitored": "report"}


def test_a_recovery_stops_what_it_flags_and_holds_it_back() -> None:
    policy = Policy(**BASE, recovery=[STEER])
    assert policy.stops_on_alarm and policy.may_withhold and policy.recovers
    flagged, clear = policy.decide([Verdict("a", "flagged"), Verdict("b", "clear")])
    assert policy.to_recover(flagged) and not policy.to_recover(clear) and not clear.withheld
    assert not Policy(**{**BASE, "rule": "final"}, recovery=[STEER]).stops_on_alarm


def test_the_models_own_refusal_is_released_and_not_recovered_where_the_operator_says_so() -> None:
    policy = Policy(**{**BASE, "rule": "final"}, recovery=[STEER], own_refusal="report")
    (own,) = policy.decide([Verdict("a", "flagged", ended="refusing", schema=2)])
    assert own.own_refusal and not own.withheld and not policy.to_recover(own)


def test_a_policy_is_read_back_as_it_was_written() -> None:
    steps = [REMASK, {**STEER, "steps": 4}, {"action": "judge"}, {"action": "refuse", "text": "No."}]
    policy = Policy(**BASE, recovery=steps, audit={"path": "audit.jsonl"}, budget={"forwards": 7})
    assert Policy.model_validate(policy.model_dump()) == policy
    assert Policy.model_validate(policy.model_dump(mode="json")) == policy


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, "'recover' without recovery"),
        ({"flagged": "abort", "recovery": [STEER]}, "recovery: goes with flagged: recover, and flagged is abort"),
        ({"flagged": "report", "budget": {"forwards": 1}}, "budget: goes with flagged: recover"),
        ({"flagged": "report", "audit": {"path": "a"}}, "audit: goes with flagged: recover"),
        ({"recovery": [{"action": "refuse"}, STEER]}, "'refuse' ends every recovery"),
        ({"rule": "request", "recovery": [STEER]}, "allowed: judge, refuse"),
        ({"recovery": [STEER], "own_refusal": "abort"}, "would withhold refusals"),
        ({"recovery": [{"action": "steer"}]}, "steer needs a direction"),
        ({"recovery": [{**REMASK, "restart": True}]}, "remask has no option 'restart'; .* direction, share"),
        ({"recovery": [{**REMASK, "steps": 4}]}, "remask steers nothing without a strength"),
        ({"recovery": [{**STEER, "strength": float("inf")}]}, "finite number"),
        ({"recovery": [{"action": "judge", "text": "No."}]}, "judge has no option 'text'"),
        ({"recovery": [{"action": "refuse", "text": " "}]}, "is empty"),
        ({"recovery": [{**REMASK, "share": 0.0}]}, "greater than 0"),
        ({"recovery": [{"action": "remsk"}]}, "remask"),
        ({"recovery": [STEER], "budget": {"rounds": -1}}, "greater than or equal to 0"),
    ],
)
def test_a_policy_whose_recovery_makes_no_sense_is_refused(changes, problem) -> None:
    with pytest.raises(ValidationError, match=problem):
        Policy(**{**BASE, **changes})


def test_a_request_may_be_judged_or_refused_where_nothing_else_is_judged() -> None:
    Policy(**{**BASE, "rule": "request"}, recovery=[{"action": "judge"}, {"action": "refuse"}])


def checked(tmp_path: Path, recovery, **changes) -> list[str]:
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump({**SMALL, "out": "guard", "policy": {**BASE, "recovery": recovery}, **changes}))
    try:
        load_config(path)
    except ConfigError as err:
        return [problem.partition(": ")[2] for problem in err.problems]
    return []


CAUSAL = {
    "model": {"hook": "lab-causal"},
    "sampler": {"name": "autoregressive", "options": {"tokens": 48}},
    "tap": {"pooling": "predicting", "cells": 4},
}


def test_a_file_with_a_recovery_is_fine_before_its_directions_exist(tmp_path) -> None:
    assert checked(tmp_path, [REMASK, STEER]) == []
    assert checked(tmp_path, [STEER, {"action": "judge"}], **CAUSAL) == []


def test_a_file_is_told_what_its_family_cannot_do(tmp_path) -> None:
    (problem,) = checked(tmp_path, [STEER, REMASK], **CAUSAL)
    assert problem.startswith("policy.recovery.1: remask opens positions again, and LabCausalHook is autoregressive")


def test_every_mistake_of_a_recovery_is_named_by_its_place(tmp_path) -> None:
    found = checked(tmp_path, [{"action": "remsk"}, {**STEER, "stength": 1}, {"action": "steer", "steps": 0}])
    assert [each.split(":")[0] for each in found] == [
        "policy.recovery.0.action", "policy.recovery.1.stength", "policy.recovery.2.steps",
    ]  # fmt: skip
    assert "Did you mean 'remask'?" in found[0] and "Did you mean 'strength'?" in found[1]
