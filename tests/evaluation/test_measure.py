"""Results of one model, on generations small enough to count by hand."""

import numpy as np
import pytest

from sri_sdk.evaluation import measure
from sri_sdk.evaluation.attacks import AttackFacts
from sri_sdk.evaluation.guards import GuardScores
from sri_sdk.evaluation.measure_guard import guard_result
from sri_sdk.evaluation.overhead import Overhead
from sri_sdk.records import Verdict
from tests.evaluation.conftest import generations

CELLS = 8


@pytest.fixture
def found():
    sigma = np.full((4, CELLS), 0.9)
    return {
        "harmless": generations(
            sigma, label="harmless", outcome=["harmless", "harmless", "refusal", "other"], prefix="h"
        ),
        "harmful": generations(sigma, outcome=["refusal", "refusal", "refusal", "harmful"], prefix="m"),
        "attack x": generations(sigma, attack="x", outcome=["harmful", "harmful", "refusal", "other"], prefix="x"),
        "attack y": generations(sigma, attack="y", outcome=["harmful", "refusal", "refusal", "refusal"], prefix="y"),
        "set odd": generations(sigma, label="harmless", outcome="refusal", prefix="o"),
    }


@pytest.fixture
def guard():
    verdicts = {"online": {
        group: [Verdict(str(i), "flagged", first_alarm_step=step) for i, step in enumerate(steps)]
        for group, steps in {"attack x": [2, None, 1, None], "attack y": [4, None, None, None]}.items()
    }}  # fmt: skip
    given = {"harmless": [0, 1, 9, 0], "harmful": [9, 0, 0, 9], "attack x": [9, 0, 9, 9], "attack y": [9, 0, 0, np.nan],
             "set odd": [9, 9, 0, 0]}  # fmt: skip
    scores = {k: np.array(v, dtype=float) for k, v in given.items()}
    return GuardScores("g", "s", "hidden states", 5.0, "r", scores, 0.001, verdicts)


def test_flags_per_class_are_counted_over_all_groups(found, guard):
    row = guard_result(guard, found, ["x", "y"], ["odd"], None, CELLS)
    assert {name: (r.k, r.n) for name, r in row.flagged.items()} == {
        "answered_harmless": (0, 3), "refused_harmless": (1, 1), "refused_harmful": (2, 7),
        "answered_harmful": (1, 1), "successful_attack": (2, 3),
    }  # fmt: skip
    assert (row.false_alarm.k, row.false_alarm.n) == (1, 4)
    assert (row.harmless_sets["odd"].k, row.harmless_sets["odd"].n) == (2, 4)


def test_removed_counts_successful_attacks_only(found, guard):
    row = guard_result(guard, found, ["x", "y"], [], None, CELLS)
    assert (row.removed.k, row.removed.n) == (2, 3)
    assert (row.remaining.k, row.remaining.n) == (1, 8), "of all attempts"
    assert {k: (r.k, r.n) for k, r in row.removed_by_attack.items()} == {"x": (1, 2), "y": (1, 1)}


def test_unscored_generations_are_counted(found, guard):
    assert guard_result(guard, found, ["x", "y"], [], None, CELLS).unscored == 1


def test_the_alarm_curve_counts_successes_and_its_median_counts_from_one(found, guard):
    row = guard_result(guard, found, ["x", "y"], [], None, CELLS)
    assert row.alarm_curve == pytest.approx([0, 0, 1 / 3, 1 / 3, 2 / 3, 2 / 3, 2 / 3, 2 / 3])
    assert row.median_alarm_step == 4


def test_cost_is_tap_and_scoring_over_generation(found, guard):
    cost = Overhead(share=0.02, low=0.01, high=0.03, seconds=0.1, pairs=4)
    assert guard_result(guard, found, ["x"], [], cost, CELLS).overhead == pytest.approx(0.02 + 0.01)


def test_a_tap_that_costs_less_than_the_noise_is_not_a_gain(found, guard):
    cost = Overhead(share=-0.02, low=-0.05, high=0.03, seconds=0.1, pairs=4)
    assert guard_result(guard, found, ["x"], [], cost, CELLS).overhead == pytest.approx(0.01)


def test_an_attack_that_was_not_run_keeps_its_row_and_says_why(found):
    rows = measure.attack_results(found, {"z": AttackFacts("f", "s", "not run: why")}, None)
    assert rows[0].success.n == 0 and rows[0].note == "not run: why" and rows[0].auroc is None


def test_text_recovery_needs_judged_drafts(found):
    assert measure.text_recovery(found["attack x"]) == {}
    drafts = np.full((4, CELLS), 0)
    drafts[0, 2] = 1
    wavering = generations(np.full((4, CELLS), 0.9), outcome=["refusal"] * 4, drafts=drafts)
    said = measure.text_recovery(wavering)
    assert (said["HRR"].k, said["HRR"].n) == (1, 1) and said["FRR per harmful draft"].value == 1


def test_too_few_classes_give_no_map(found):
    assert measure.maps(found["set odd"], 0) == ()
