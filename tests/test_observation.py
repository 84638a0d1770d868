"""Observations on their way through files: whole, or not at all."""

import json

import numpy as np
import pytest

import sri_sdk
from sri_sdk.observation import CANARY_ID, Observation, Trajectory, canary_id, canary_kind
from sri_sdk.records import Signals, Verdict
from sri_sdk.strict_json import parse
from sri_sdk.testing.sinks import planted_verdicts

SIGNALS = Signals(
    ("a", "b"),
    np.full((2, 4, 2), 0.5, np.float32),
    np.array([[[0.25, 1], [-3, 1], [1e-3, 1], [1e-3, 1]]] * 2, np.float32),
    lengths=np.array([3, 4]),
    columns=("sri@final", "request"),
)
WHOLE = Observation(
    Verdict("a", "flagged", ("score_above_threshold",), 2.0, 1.0, 0.01),
    at=1_800_000_000_000, kind="traffic", consequence="would_withhold", deployment="chat", model="lab", tenant="acme",
    audit_rate=0.5, audited=True, generation_s=1.5, scoring_s=0.002, trajectory=Trajectory.of(SIGNALS, 0),
    prompt="what?", response="that", drafts=("_", "that"),
)  # fmt: skip


def again(observation: Observation) -> Observation:
    return Observation.from_dict(parse(json.dumps(observation.to_dict())))


def test_an_observation_comes_back_as_it_was() -> None:
    back = again(WHOLE)
    assert back.to_dict() == WHOLE.to_dict()
    assert back.verdict == WHOLE.verdict
    assert back.trajectory is not None and np.array_equal(back.trajectory.logit, SIGNALS.logit[0])
    assert back.trajectory.length == 3


@pytest.mark.parametrize("at", range(4))
def test_verdicts_of_every_status_come_back(at: int) -> None:
    verdict = planted_verdicts(4)[at]
    assert again(Observation(verdict, 7)).verdict == verdict


def test_sigma_is_that_of_the_logit() -> None:
    trajectory = Trajectory(("sri@final",), np.array([[0], [800], [-800]], np.float32), 3)
    assert trajectory.sigma().tolist() == [[0.5], [1.0], [0.0]]


def test_the_same_verdict_at_the_same_time_is_the_same_observation() -> None:
    verdict = Verdict("a", "clear")
    assert Observation.of(verdict, 5).id == Observation.of(verdict, 5).id
    assert Observation.of(verdict, 5).id != Observation.of(verdict, 6).id
    assert Observation(verdict, 5).id != Observation(verdict, 5).id


@pytest.mark.parametrize(
    "change",
    [
        {"sri_observation": 2}, {"verdict": None}, {"verdict": {"request_id": "a", "status": "fine"}}, {"at": "now"},
        {"at": True}, {"kind": "rumour"}, {"consequence": 3}, {"audited": 1}, {"drafts": [1]}, {"trajectory": []},
        {"trajectory": {"columns": ["a"], "logit": "AAAA", "length": 1}},
        {"trajectory": {"columns": ["a"], "logit": "AAAAAA==", "length": 2}},
    ],
    ids=lambda change: json.dumps(change)[:40],
)  # fmt: skip
def test_what_is_no_observation_is_refused_without_quoting_it(change: dict[str, object]) -> None:
    with pytest.raises(ValueError) as refused:
        Observation.from_dict({**WHOLE.to_dict(), **change})
    assert "what?" not in str(refused.value)


def test_a_sink_that_only_emits_is_delivered_to_as_well() -> None:
    got = []

    class Old(sri_sdk.Sink):
        def emit(self, verdict: Verdict) -> None:
            got.append(verdict)

    Old().deliver([WHOLE])
    assert got == [WHOLE.verdict]


@pytest.mark.parametrize("kind", ["harmful", "harmless"])
def test_the_id_of_a_canary_says_its_kind_and_is_nobody_elses(kind):
    first, second = canary_id(kind), canary_id(kind)
    assert first != second and canary_kind(first) == canary_kind(second) == kind
    # Of a service, which has one kind only, and of a store that keeps hashes.
    assert canary_kind(f"{CANARY_ID}12-3-4") is None and canary_kind("0" * 64) is None
