"""The gate: whatever goes wrong, silence is not clear."""

import asyncio

import pytest
from sri_plugin_gateways.gate import Gate

import sri_sdk
from sri_sdk.errors import ConfigError

CLOSED = sri_sdk.Policy(rule="final", flagged="abort", unmonitored="abort")
OPEN = sri_sdk.Policy(rule="final", flagged="abort", unmonitored="report")


class Broken:
    def lookup(self, request_id, *, wait_s=0.0, rule=None):
        raise OSError("a prompt that somebody typed")


class OfAnother:
    def lookup(self, request_id, *, wait_s=0.0, rule=None):
        return sri_sdk.Verdict("another", "clear")


def test_a_clear_response_passes_and_a_flagged_one_does_not(gate):
    assert [gate.decide(name).withheld for name in ("clear", "not_sampled", "flagged")] == [False, False, True]


@pytest.mark.parametrize("request_id", ["nobody-knows-it", "", None, 7])
def test_a_request_that_nobody_judged_is_unmonitored_and_does_not_pass(gate, request_id):
    decision = gate.decide(request_id)
    assert (decision.verdict.status, decision.withheld) == ("unmonitored", True)


@pytest.mark.parametrize("store", [Broken(), OfAnother()])
def test_a_store_that_fails_or_answers_with_anothers_verdict_has_judged_nothing(store, caplog):
    decision = Gate(store, CLOSED).decide("r1")
    assert (decision.verdict.status, decision.withheld) == ("unmonitored", True)
    assert "typed" not in caplog.text


def test_only_a_policy_that_says_so_passes_what_nobody_judged(verdicts):
    gate = Gate(verdicts, OPEN)
    assert [gate.decide(name).withheld for name in ("unknown", None, "flagged")] == [False, False, True]


def test_on_an_event_loop_the_same_is_decided(gate):
    assert asyncio.run(gate.decide_async("flagged")).withheld


def test_a_gate_asks_with_the_wait_and_the_rule_it_was_given():
    asked = []

    class Waiting:
        def lookup(self, request_id, *, wait_s, rule):
            asked.append((wait_s, rule))
            return sri_sdk.Verdict(request_id, "clear")

    Gate(Waiting(), CLOSED, wait_s=0.25, rule="final").decide("r1")
    Gate(Waiting(), CLOSED, wait_s=0).decide("r1")
    assert asked == [(0.25, "final"), (0, None)]


def test_a_policy_that_recovers_is_refused():
    recover = sri_sdk.Policy(
        rule="final", flagged="recover", unmonitored="abort", recovery=[{"action": "refuse", "text": "no"}]
    )
    with pytest.raises(ConfigError, match="runs no model"):
        Gate(Broken(), recover)


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan")])
def test_a_wait_without_end_is_refused(seconds):
    with pytest.raises(ConfigError, match="wait_s"):
        Gate(Broken(), CLOSED, wait_s=seconds)
