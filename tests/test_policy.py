"""What follows from a verdict."""

from dataclasses import replace

import pytest
from pydantic import ValidationError

from sri_sdk.policy import Policy
from sri_sdk.records import PartVerdict, Verdict

VERDICTS = [Verdict(status, status) for status in ("clear", "flagged", "unmonitored", "not_sampled")]


def withheld(**policy):
    return {d.request_id for d in Policy(rule="final", **policy).decide(VERDICTS) if d.withheld}


def test_only_what_the_operator_named_is_withheld():
    assert withheld(flagged="report", unmonitored="report") == set()
    assert withheld(flagged="abort", unmonitored="report") == {"flagged"}
    assert withheld(flagged="report", unmonitored="abort") == {"unmonitored"}
    assert withheld(flagged="abort", unmonitored="abort") == {"flagged", "unmonitored"}


def test_decisions_come_in_the_order_of_the_verdicts():
    decisions = Policy.observe().decide(VERDICTS)
    assert [d.verdict for d in decisions] == VERDICTS


def test_nothing_has_a_default():
    with pytest.raises(ValidationError, match="3 validation errors"):
        Policy()


def test_an_alarm_stops_a_running_generation_only_with_the_online_rule():
    assert Policy(rule="online", flagged="abort", unmonitored="report").stops_on_alarm
    assert not Policy(rule="final", flagged="abort", unmonitored="report").stops_on_alarm
    assert not Policy.observe("online").stops_on_alarm


OWN = Verdict("own", "flagged", ("request_harmful",), ended="refusing", schema=2)
LENIENT = {"flagged": "abort", "unmonitored": "report", "own_refusal": "report"}


def decided(verdict, **policy):
    (decision,) = Policy(rule="final", **{**LENIENT, **policy}).decide([verdict])
    return decision.withheld, decision.own_refusal


def test_what_the_model_refused_by_itself_is_released_if_the_operator_says_so_and_stays_flagged():
    assert decided(OWN) == (False, True)
    assert decided(OWN, own_refusal=None) == (True, True), "without a word it is flagged like any other"
    assert OWN.status == "flagged"


def test_nothing_counts_as_a_refusal_whose_end_is_not_known_to_be_one():
    blind = PartVerdict("behaviour", "unmonitored", None, 1.0, None, "incomplete_signal")
    for changes in (
        {"ended": None}, {"ended": "complying"}, {"parts": (blind,)}, {"reasons": ("request_harmful", "canvas_primed")},
    ):  # fmt: skip
        assert decided(replace(OWN, **changes)) == (True, False)


def test_a_policy_about_refusals_never_turns_blindness_into_a_release():
    unseen = replace(OWN, status="unmonitored", reasons=("tap_silent",))
    assert decided(unseen, unmonitored="abort") == (True, False)


@pytest.mark.parametrize(
    ("policy", "problem"),
    [
        ({"rule": "request", "flagged": "abort", "own_refusal": "report"}, "nothing has ended"),
        ({"rule": "final", "flagged": "report", "own_refusal": "abort"}, "withhold refusals and release the rest"),
    ],
)
def test_a_policy_that_contradicts_itself_is_refused(policy, problem):
    with pytest.raises(ValidationError, match=problem):
        Policy(unmonitored="report", **policy)
