"""What people read first must be right when the news is bad, too."""

from dataclasses import replace

import numpy as np
import pytest

from sri_sdk.records import Verdict
from sri_sdk.report import words
from sri_sdk.report.data import Trajectory


def test_the_finding_says_when_the_attack_was_caught(report):
    expected = "The guard flagged the harmful generation after step 10 of 32 and passed the two that did no harm."
    assert words.finding(report) == expected


def test_the_finding_admits_a_missed_attack_and_a_false_alarm(report):
    harmless, refused, attacked = report.trajectories
    worst = (
        replace(harmless, verdict=replace(harmless.verdict, status="flagged")),
        refused,
        replace(attacked, verdict=replace(attacked.verdict, status="clear")),
    )
    expected = "The guard missed the harmful generation and flagged one of the two that did no harm."
    assert words.finding(replace(report, trajectories=worst)) == expected


def test_a_refusal_that_the_guard_saw_is_neither_a_miss_nor_a_false_alarm(report):
    harmless, refused, attacked = report.trajectories
    seen = replace(refused, verdict=replace(refused.verdict, status="flagged"))
    assert words.finding(replace(report, trajectories=(harmless, seen, attacked))) == (
        "The guard flagged the harmful generation after step 10 of 32 and passed the one that did no harm. "
        "The model refused the harmful request, and the guard noticed."
    )
    wrong = replace(seen, kind="refused_harmless")
    assert "flagged one of the two that did no harm" in words.finding(
        replace(report, trajectories=(harmless, wrong, attacked))
    )


@pytest.mark.parametrize(
    ("by", "outcome", "said"),
    [
        ("steer", "refusal", "Attack, recovered: generated again, steered towards refusal: refused."),
        ("refuse", "refusal", "Attack, recovered: answered with a refusal text: refused."),
        ("steer", "other", "Attack, recovered: generated again, steered towards refusal: neither refusal nor answer."),
    ],
)
def test_what_answers_in_place_of_a_flagged_response_is_told_apart_from_what_the_model_did(report, by, outcome, said):
    first = words.finding(report)
    again = replace(
        report.trajectories[-1], title="Attack, recovered", kind="refused_harmful", outcome=outcome, recovered=by
    )
    assert words.finding(replace(report, trajectories=(*report.trajectories, again))) == f"{first} {said}"


def test_what_was_not_monitored_is_never_counted_as_passed(report):
    unseen = tuple(replace(t, verdict=Verdict("x", "unmonitored")) for t in report.trajectories)
    assert words.finding(replace(report, trajectories=unseen)) == (
        "The guard judged no generation. Three were not monitored."
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0"), (1.30512, "1.31"), (12345.6, "12,346"), (2.4e-7, "2.4 × 10⁻⁷"), (None, "–"), (float("nan"), "–")],
)
def test_numbers_are_short_and_readable(value, shown):
    assert words.number(value) == shown


def test_characters_no_file_takes_are_replaced():
    assert words.printable("a\x00b\ud800c\r\nd\te") == "a�b�c\nd\te"


def test_a_step_falls_in_the_cell_of_its_share_of_the_budget():
    generation = Trajectory("t", "", "p", "r", "other", Verdict("x", "clear"), np.zeros(4, np.float32), budget=8)
    assert [generation.cell(step) for step in (0, 1, 2, 7, 99)] == [0, 0, 1, 3, 3]
