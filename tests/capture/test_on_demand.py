"""Alarms that stop nothing: looked at some steps at a time, or as soon as somebody asks."""

from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from threading import Thread
from types import SimpleNamespace
from typing import Any

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sri_sdk.capture import passes
from sri_sdk.capture.later import AT_ONCE
from sri_sdk.capture.run import Run
from sri_sdk.capture.tap import tap_of
from sri_sdk.errors import GenerationAborted
from sri_sdk.policy import Action, Policy

from .test_cost import STEPS, SUBJECTS, settings_for
from .test_many_steps import assert_same, made, recorded, schedules


class AlarmsAt:
    """In place of a scorer: a signal alarms from a number of cells on; `calls` = lengths of each call."""

    manifest = SimpleNamespace(signal=SimpleNamespace(domain="logit"))
    groups = ()

    def __init__(self, cells: int) -> None:
        self.cells, self.calls = cells, list[list[int]]()

    def growing(self, signals: Any) -> Any:
        return SimpleNamespace(length=np.ones(1, np.int64))

    def score_prefix(self, values: Any, lengths: Any) -> Any:
        self.calls.append(lengths.tolist())
        return lengths.astype(np.float32), np.ones(len(lengths), np.bool_)

    def alarms(self, scored: Any, rule: str, groups: Any) -> Any:
        return scored[0] >= self.cells

    def alarm(self, scored: Any, rule: str, group: Any) -> bool:
        return bool(scored[0][0] >= self.cells)


def watched(
    scheme: str, scorer: AlarmsAt, asks: Callable[[Run, int], None] = lambda run, step: None,
    blind: Action = "report", **more: Any,
) -> Run:  # fmt: skip
    """A generation under the rule `online` that reports; `asks` is called before each pass."""
    hook, generate = SUBJECTS[scheme]()
    policy = Policy(rule="online", flagged="report", unmonitored=blind)
    guard: Any = scorer
    run = Run(hook, replace(settings_for(hook, live=False), scorer=guard, policy=policy, **more))
    tap, begun = tap_of(hook.model), []

    def before(*_: Any) -> None:
        asks(run, len(begun))
        begun.append(1)

    handle = hook.embedding().register_forward_pre_hook(before)
    with tap.installed(hook, run), tap.owned_by(run), torch.inference_mode():
        run.returned(generate())
    handle.remove()
    run.passes.drop()
    run.passes.close(None)
    return run


@pytest.mark.parametrize("scheme", SUBJECTS)
def test_steps_are_scored_many_at_once_and_say_what_one_by_one_says(scheme: str) -> None:
    found, asked = (AlarmsAt(9), AlarmsAt(9))
    together, apart = watched(scheme, found), watched(scheme, asked, live=True)
    # Several rows take turns where steps are looked at one by one.
    assert sorted(chain(*found.calls)) == sorted(chain(*asked.calls))
    assert len(asked.calls) > 2 * len(found.calls)
    assert max(map(len, found.calls)) <= (AT_ONCE + 2) * len(together.live.lengths)
    assert together.alarms == apart.alarms != {}
    for name in ("logit", "sigma", "lengths", "broken"):
        assert np.array_equal(getattr(together.live, name), getattr(apart.live, name), equal_nan=True)


@pytest.mark.parametrize("scheme", ["masked", "autoregressive"])
def test_who_asks_meanwhile_hears_of_every_step_that_is_over(scheme: str) -> None:
    heard: list[tuple[int, int]] = []

    def asks(run: Run, step: int) -> None:
        if run.live is not None:
            heard.append((step, int(run.live.lengths[0])))

    watched(scheme, AlarmsAt(9), asks)
    assert len(heard) >= STEPS - 2
    # The generated token of the last step has no state yet in autoregressive models; planned steps show one pass later.
    assert all(step - 2 <= length <= step for step, length in heard)


def test_an_alarm_is_known_when_it_is_asked_for() -> None:
    known: list[int] = []

    def asks(run: Run, step: int) -> None:
        if run.alarms and not known:
            known.append(step)

    run = watched("masked", AlarmsAt(5), asks)
    # Four steps were done before the fifth, which closes the fifth cell and is over before pass number 5.
    assert known == [5] and run.alarms == {"0": 4}


def test_another_thread_that_asks_disturbs_nothing() -> None:
    heard: list[int] = []

    def asks(run: Run, step: int) -> None:
        other = Thread(target=lambda: heard.append(len(run.alarms)))
        other.start()
        other.join()

    run = watched("masked", AlarmsAt(5), asks)
    assert run.alarms == {"0": 4} and heard[-1] == 1
    assert sorted(heard) == heard


def test_planned_passes_are_looked_at_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "says_how_it_goes_on", lambda hook: False)
    scorer = AlarmsAt(9)
    run = watched("masked", scorer)
    assert run.alarms == {"0": 8}
    assert [each for call in scorer.calls for each in call] == list(range(1, STEPS + 1))


class AlarmsBySize:
    """In place of a scorer: the largest logit so far, which alarms above 0.5."""

    manifest = SimpleNamespace(signal=SimpleNamespace(domain="logit"))
    groups = ()

    def growing(self, signals: Any) -> Any:
        return SimpleNamespace(signals=signals, length=np.ones(1, np.int64))

    def score_prefix(self, values: Any, lengths: Any) -> Any:
        rows = getattr(values, "signals", values)
        score = np.array([row[:length].max() for row, length in zip(rows, lengths, strict=True)], dtype=np.float32)
        return score, np.isfinite(score)

    def alarms(self, scored: Any, rule: str, groups: Any) -> Any:
        return scored[1] & (scored[0] > 0.5)

    def alarm(self, scored: Any, rule: str, group: Any) -> bool:
        return bool(self.alarms(scored, rule, None)[0])


@hypothesis.settings(max_examples=150)
@given(drawn=schedules, groups=st.lists(st.integers(1, 9), max_size=5))
def test_alarms_of_steps_taken_together_are_those_of_one_by_one(drawn: Any, groups: list[int]) -> None:
    """Rows that end early or pause, jumps, several requests, states that cannot be measured, a horizon."""
    settings, steps, whole = made(drawn)
    # Steps beyond the budget write into the last cell again, which then was judged before; they cost the verdict.
    over = [
        at for at, step in enumerate(steps) if at >= drawn["budget"] or int(step.committed.max()) >= drawn["budget"]
    ]
    steps = steps[: over[0] if over else None]
    scorer: Any = AlarmsBySize()
    policy = Policy(rule="online", flagged="report", unmonitored="report", beyond_horizon="report")
    settings = replace(settings, scorer=scorer, policy=policy)
    together, apart = recorded(settings, steps, whole, groups), recorded(settings, steps, whole, [1] * len(steps))
    hypothesis.event(f"alarms: {bool(apart.alarms)}")
    assert_same(together, apart)
    assert together.alarms == apart.alarms


class FailsAt(AlarmsAt):
    """Alarms from some cells on, and raises at one length."""

    def __init__(self, cells: int, length: int) -> None:
        super().__init__(cells)
        self.length = length

    def score_prefix(self, values: Any, lengths: Any) -> Any:
        if self.length in lengths:
            raise ValueError("no number")
        return super().score_prefix(values, lengths)


@pytest.mark.parametrize("scheme", ["masked", "autoregressive"])
def test_a_length_that_cannot_be_scored_takes_no_alarm_of_others_with_it(scheme: str) -> None:
    alone, apart = (watched(scheme, FailsAt(4, 7), live=live) for live in (False, True))
    assert alone.alarms == apart.alarms != {} and set(alone.alarms.values()) == {3}
    assert "no number" in str(alone.failure)


def test_a_policy_that_stops_what_it_cannot_see_hears_of_a_failure_at_the_next_pass() -> None:
    with pytest.raises(GenerationAborted) as stopped:
        watched("masked", FailsAt(99, 5), blind="abort")
    assert stopped.value.step == 4
