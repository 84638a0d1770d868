"""The operator's policy under watch and drive, and where verdicts go."""

from dataclasses import replace

import pytest
import torch

import sri_sdk
from sri_sdk.emitter import Emitter
from sri_sdk.errors import ConfigError, GenerationAborted
from sri_sdk.policy import Policy
from sri_sdk.sink import Sink

from .conftest import Toy, toy_prompts

STOPS = Policy(rule="online", flagged="abort", unmonitored="report")
CLOSED = Policy(rule="final", flagged="report", unmonitored="abort")


class Keeps(Sink):
    def __init__(self, error=None):
        super().__init__()
        self.verdicts, self.error = [], error

    def emit(self, verdict):
        if self.error:
            raise self.error
        self.verdicts.append(verdict)


def driven(toy: Toy, guard, policy: Policy, count: int = 4, **more):
    settings = sri_sdk.watch_settings(toy.hook, guard, policy=policy, **more)
    batch = sri_sdk.drive(toy.hook, toy.loaded, toy.sampler, toy_prompts(count), settings)
    for _ in batch:
        pass
    return batch


def alarm_for_some(toy: Toy, guard, count: int = 4) -> set[str]:
    """Sets the online threshold so that half of the prompts alarm; says which."""
    scores = {v.request_id: v.score for v in driven(toy, guard, Policy.observe("online"), count).run.verdicts}
    ordered = sorted(scores.values())
    middle = (ordered[count // 2 - 1] + ordered[count // 2]) / 2
    guard.scorer.thresholds["online"] = replace(guard.scorer.thresholds["online"], value=middle)
    return {request for request, score in scores.items() if score > middle}


def test_a_driven_row_that_alarms_is_stopped_and_the_others_go_on(toy: Toy, toy_guard) -> None:
    free = driven(toy, toy_guard, Policy.observe())
    flagged = alarm_for_some(toy, toy_guard)
    batch = driven(toy, toy_guard, STOPS)
    assert {v.request_id for v in batch.run.verdicts if v.status == "flagged"} == flagged
    for row, verdict in enumerate(batch.run.verdicts):
        if verdict.request_id in flagged:
            assert verdict.steps_seen == verdict.first_alarm_step + 1
            assert batch.responses[row] is None
        else:
            assert verdict.status == "clear"
            assert batch.responses[row] == free.texts[row]


def test_no_response_is_given_out_before_a_verdict_that_may_withhold_it(toy: Toy, toy_guard) -> None:
    for policy, early in ((STOPS, None), (Policy.observe(), str)):
        settings = sri_sdk.watch_settings(toy.hook, toy_guard, policy=policy)
        batch = sri_sdk.drive(toy.hook, toy.loaded, toy.sampler, toy_prompts(2), settings)
        for _ in batch:
            assert [type(text) for text in batch.responses] == [early or type(None)] * 2


def test_with_the_final_rule_everything_is_generated_and_what_is_flagged_is_withheld(toy: Toy, toy_guard) -> None:
    toy_guard.scorer.thresholds["final"] = replace(toy_guard.scorer.thresholds["final"], value=-1e9)
    policy = Policy(rule="final", flagged="abort", unmonitored="report")
    inputs = toy.inputs(toy_prompts(2))
    with sri_sdk.watch(toy.loaded.model, toy_guard, policy=policy) as run:
        tokens = toy.loaded.model.generate(**inputs)
    assert torch.equal(tokens, toy.loaded.model.generate(**inputs))
    assert [(d.request_id, d.withheld) for d in run.decisions] == [("0", True), ("1", True)]


def test_who_fails_closed_stops_once_the_hook_has_failed(toy: Toy, toy_guard, monkeypatch) -> None:
    plan = type(toy.hook).plan

    def fails(self, call, run):
        if run.steps == 3:
            raise ValueError("a pass that fits nothing")
        return plan(self, call, run)

    monkeypatch.setattr(type(toy.hook), "plan", fails)
    with (
        pytest.raises(GenerationAborted, match=r"step 2: unmonitored \(hook_failed\)") as stopped,
        sri_sdk.watch(toy.loaded.model, toy_guard, policy=CLOSED, request_ids=["a", "b"]) as run,
    ):
        toy.loaded.model.generate(**toy.inputs(toy_prompts(2)))
    assert stopped.value.request_ids == ("a", "b") and stopped.value.blind == "hook_failed"
    assert {v.status for v in run.verdicts} == {"unmonitored"} and all(d.withheld for d in run.decisions)
    batch = driven(toy, toy_guard, CLOSED)
    assert batch.step.index < 5 and batch.responses == [None] * 4


def test_who_fails_open_is_not_disturbed_by_a_hook_that_fails(toy: Toy, toy_guard, monkeypatch) -> None:
    inputs = toy.inputs(toy_prompts(2))
    alone = toy.loaded.model.generate(**inputs)
    monkeypatch.setattr(type(toy.hook), "plan", lambda self, call, run: 1 / 0)
    with sri_sdk.watch(toy.loaded.model, toy_guard, policy=Policy.observe()) as run:
        assert torch.equal(alone, toy.loaded.model.generate(**inputs))
    assert not any(d.withheld for d in run.decisions)
    assert [v.status for v in run.verdicts] == ["unmonitored"]


def test_a_policy_and_its_parts_together_are_refused(toy: Toy, toy_guard) -> None:
    with (
        pytest.raises(ConfigError, match="rule and abort come with the policy"),
        sri_sdk.watch(toy.loaded.model, toy_guard, policy=STOPS, rule="online"),
    ):
        pass


def test_every_verdict_of_watch_and_drive_reaches_the_sinks(toy: Toy, toy_guard) -> None:
    sink = Keeps()
    with Emitter([sink]) as emitter:
        with sri_sdk.watch(toy.loaded.model, toy_guard, sinks=emitter) as run:
            toy.loaded.model.generate(**toy.inputs(toy_prompts(2)))
        batch = driven(toy, toy_guard, Policy.observe(), emitter=emitter)
    assert sink.verdicts == [*run.verdicts, *batch.run.verdicts]


def test_a_generation_that_was_aborted_or_never_ran_has_verdicts_in_the_sinks_too(toy: Toy, toy_guard) -> None:
    sink = Keeps()
    alarm_for_some(toy, toy_guard)
    with pytest.raises(GenerationAborted), sri_sdk.watch(toy.loaded.model, toy_guard, policy=STOPS, sinks=[sink]):
        toy.loaded.model.generate(**toy.inputs(toy_prompts(4)))
    with sri_sdk.watch(toy.loaded.model, toy_guard, request_ids=["silent"], sinks=[sink]):
        pass
    assert Emitter([sink]).flush(10)
    assert [v.request_id for v in sink.verdicts] == ["0", "1", "2", "3", "silent"]
    assert "flagged" in {v.status for v in sink.verdicts} and sink.verdicts[-1].status == "unmonitored"


@pytest.mark.parametrize("error", [RuntimeError("down"), SystemExit(1)], ids=repr)
def test_a_sink_that_breaks_changes_neither_tokens_nor_verdicts(toy: Toy, toy_guard, error) -> None:
    inputs = toy.inputs(toy_prompts(2))
    with sri_sdk.watch(toy.loaded.model, toy_guard) as alone:
        expected = toy.loaded.model.generate(**inputs)
    with sri_sdk.watch(toy.loaded.model, toy_guard, sinks=[Keeps(error)]) as run:
        assert torch.equal(expected, toy.loaded.model.generate(**inputs))
    assert run.verdicts == alone.verdicts
