"""What follows from a verdict."""

import pytest
from pydantic import ValidationError

from sri_sdk.policy import Policy
from sri_sdk.records import Verdict

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
