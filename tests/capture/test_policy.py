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


# -- debounce ----------------------------------------------------------------------------------------------------

TWICE = {"alarms": 2, "of": 3}


def scores_by_cell(toy: Toy, guard, count: int = 4):
    """[R, T] scores of the online rule, of generations that were watched whole."""
    signals = driven(toy, guard, Policy.observe("online"), count).run.signals
    values = signals.domain(guard.manifest.signal.domain)
    cells = values.shape[1]
    lengths = [torch.full((len(values),), t + 1).numpy() for t in range(cells)]
    return torch.stack([torch.from_numpy(guard.scorer.score_prefix(values, each)[0]) for each in lengths], dim=1)


def test_with_debounce_a_generation_stops_at_the_step_of_its_second_alarm(toy: Toy, toy_guard) -> None:
    z = scores_by_cell(toy, toy_guard)
    # Every row alarms at its second-highest cell, if not before.
    threshold = float(z.flatten().sort().values[z.numel() // 2])
    toy_guard.scorer.thresholds["online"] = replace(toy_guard.scorer.thresholds["online"], value=threshold)
    above = z > threshold
    cells = z.shape[1]
    fires = {
        row: next(t for t in range(cells) if above[row, max(0, t - 2) : t + 1].sum() >= 2)
        for row in range(len(z))
        if any(above[row, max(0, t - 2) : t + 1].sum() >= 2 for t in range(cells))
    }
    plain = driven(toy, toy_guard, Policy(rule="online", flagged="report", unmonitored="report"))
    stops = driven(toy, toy_guard, Policy(rule="online", flagged="abort", unmonitored="report", debounce=TWICE))
    reports = driven(toy, toy_guard, Policy(rule="online", flagged="report", unmonitored="report", debounce=TWICE))
    flagged = {row for row, v in enumerate(stops.run.verdicts) if v.status == "flagged"}
    assert flagged == set(fires) and flagged
    for row in flagged:
        stopped, reported, first = stops.run.verdicts[row], reports.run.verdicts[row], plain.run.verdicts[row]
        assert stopped.first_alarm_step == reported.first_alarm_step == toy_guard.scorer._step(fires[row])
        assert stopped.first_alarm_step > first.first_alarm_step
        assert stopped.steps_seen == stopped.first_alarm_step + 1
        assert stopped.score > threshold and reported.score <= first.score


def test_what_was_watched_with_debounce_is_what_the_signals_give_afterwards(toy: Toy, toy_guard) -> None:
    alarm_for_some(toy, toy_guard)
    policy = Policy(rule="online", flagged="report", unmonitored="report", debounce=TWICE)
    run = driven(toy, toy_guard, policy).run
    again = toy_guard.scorer.score(run.signals, rule="online", debounce=policy.debounce)
    assert [(v.status, v.score, v.first_alarm_step) for v in again] == [
        (v.status, v.score, v.first_alarm_step) for v in run.verdicts
    ]


def test_fewer_cells_than_alarms_are_not_clear(toy: Toy, toy_guard) -> None:
    run = driven(toy, toy_guard, Policy.observe("online")).run
    short = replace(run.signals, lengths=torch.ones(len(run.verdicts), dtype=torch.int64).numpy())
    policy = Policy(rule="online", flagged="report", unmonitored="report", debounce=TWICE)
    for verdict in toy_guard.scorer.score(short, rule="online", debounce=policy.debounce):
        assert (verdict.status, verdict.reasons, verdict.score) == ("unmonitored", ("incomplete_signal",), None)
