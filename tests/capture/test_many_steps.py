"""Steps that are measured many at once, judged some at once, or read from an accelerator one step later."""

from dataclasses import replace

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sri_sdk
from sri_sdk.anchors import Anchors
from sri_sdk.capture import flight, recorder, states
from sri_sdk.capture.pool import Pooled
from sri_sdk.capture.recorder import Recorder
from sri_sdk.capture.settings import WatchSettings
from sri_sdk.capture.stream import SignalStream
from sri_sdk.errors import CaptureError
from sri_sdk.fingerprint import Fingerprint
from sri_sdk.grid import StepGrid
from sri_sdk.policy import Policy
from sri_sdk.signal import EPS, TAU

from .conftest import Toy
from .test_policy import alarm_for_some, driven

WIDTH = 8


def made_anchors(cells: int) -> Anchors:
    base = np.random.default_rng(cells).normal(size=(cells, 2, WIDTH)).astype(np.float32)
    return Anchors(base, base[:, ::-1].copy(), Fingerprint({}, {}), {})


schedules = st.fixed_dictionaries(
    {
        "cells": st.integers(1, 12),
        "budget": st.integers(1, 30),
        "steps": st.integers(1, 24),
        "rows": st.integers(1, 4),
        "mapping": st.sampled_from(["step", "committed"]),
        "ends": st.booleans(),
        "unusable": st.integers(0, 2),
        "horizon": st.sampled_from([None, 5]),
        "seed": st.integers(0, 10_000),
    }
)


def made(drawn) -> tuple[WatchSettings, list[Pooled], np.ndarray]:
    """Settings, the steps of a generation, and which rows ended: idle rows, jumps, states that cannot be measured."""
    rng, steps, rows = np.random.default_rng(drawn["seed"]), drawn["steps"], drawn["rows"]
    grid = StepGrid(drawn["cells"], drawn["mapping"], drawn["budget"])
    horizon = drawn["horizon"] if drawn["mapping"] == "step" else None
    settings = WatchSettings("response", grid=grid, anchors=made_anchors(grid.cells), horizon=horizon, keep_states=True)
    phi = rng.normal(size=(steps, rows, 2, WIDTH)).astype(np.float32)
    for bad in (np.nan, np.inf)[: drawn["unusable"]]:
        phi[rng.integers(steps), rng.integers(rows), 1, 3] = bad
    if drawn["ends"]:
        active = np.arange(steps)[:, None] < rng.integers(0, steps + 1, rows)
    else:
        active = rng.random((steps, rows)) < 0.8
    committed = np.cumsum(rng.integers(-2, 7, (steps, rows)), axis=0).clip(0)
    return (
        settings,
        [
            Pooled(torch.from_numpy(phi[s]), torch.from_numpy(active[s]), torch.from_numpy(committed[s]))
            for s in range(steps)
        ],
        rng.random(rows) < 0.7,
    )


def recorded(settings: WatchSettings, steps: list[Pooled], whole: np.ndarray, groups: list[int]) -> Recorder:
    """The steps in groups of these sizes, the rest in one; with a tail behind the end, as a profile may define it."""
    found, at = Recorder(settings, len(whole)), 0
    for size in [*groups, len(steps)]:
        if at < len(steps):
            found.take_many(steps[at : at + size])
        at += size
    found.finish(iter(steps[:3]) if settings.grid.mapping == "step" else (), whole)
    return found


def assert_same(one: Recorder, other: Recorder) -> None:
    for name in ("logit", "sigma", "lengths", "broken"):
        assert np.array_equal(getattr(one.stream, name), getattr(other.stream, name), equal_nan=True), name
    assert np.array_equal(one.steps, other.steps) and np.array_equal(one.full, other.full)
    for row in range(len(one.steps)):
        assert np.array_equal(one.phi(row), other.phi(row), equal_nan=True)
        assert np.array_equal(one.clock(row), other.clock(row))


@hypothesis.settings(max_examples=300)
@given(drawn=schedules, groups=st.lists(st.integers(1, 9), max_size=5))
def test_steps_measured_together_give_the_bits_that_one_by_one_gives(drawn, groups) -> None:
    watched, steps, whole = made(drawn)
    assert_same(recorded(watched, steps, whole, groups), recorded(watched, steps, whole, [1] * len(steps)))


@pytest.mark.parametrize("mapping", ["step", "committed"])
def test_a_generation_in_step_is_measured_in_one_call(mapping, monkeypatch) -> None:
    settings, steps, _ = made(
        {"cells": 8, "budget": 8, "steps": 8, "rows": 3, "mapping": mapping, "ends": False, "unusable": 0,
         "horizon": None, "seed": 1}
    )  # fmt: skip
    calls, real = [], states.sri_logits_of_steps
    monkeypatch.setattr(states, "sri_logits_of_steps", lambda *args, **more: calls.append(1) or real(*args, **more))
    found = Recorder(settings, 3)
    found.take_many([replace(each, active=None) for each in steps])
    assert len(calls) == 1


def test_a_step_beyond_the_budget_is_the_last_cell_and_one_that_it_overwrites_is_looked_at_too() -> None:
    anchors, phi = made_anchors(2), torch.ones(5, 1, 2, WIDTH)
    phi[2] = torch.nan
    stream = SignalStream(anchors, StepGrid(2, "step", 2), 1, tau=TAU, eps=EPS)
    before = np.arange(5)[:, None]
    stream.add_many(phi, before, before + 1, np.ones((5, 1), dtype=np.bool_))
    assert np.isfinite(stream.logit).all() and stream.broken.tolist() == [True] and stream.lengths.tolist() == [2]


def test_a_jump_from_one_call_to_the_next_is_filled_with_the_step_before_it() -> None:
    anchors, rng = made_anchors(8), np.random.default_rng(0)
    phi = torch.from_numpy(rng.normal(size=(4, 1, 2, WIDTH)).astype(np.float32))
    before, active = np.array([[0], [1], [6], [7]]), np.ones((4, 1), dtype=np.bool_)
    together, apart = (SignalStream(anchors, StepGrid(8, "committed", 8), 1, tau=TAU, eps=EPS) for _ in range(2))
    for at in (0, 2):
        two = slice(at, at + 2)
        together.add_many(phi[two], before[two], before[two], active[two])
    for at in range(4):
        apart.add(phi[at], before[at], before[at], active[at])
    assert np.isfinite(together.logit).all() and np.array_equal(together.logit, apart.logit)


def test_commits_that_nobody_counted_are_refused() -> None:
    settings = WatchSettings("response", grid=StepGrid(4, "committed", 4), anchors=made_anchors(4))
    steps = [Pooled(torch.ones(1, 2, WIDTH), None, None)] * 2
    with pytest.raises(CaptureError, match="needs a hook that reads commits"):
        Recorder(settings, 1).take_many(steps)


# -- k steps per look ----------------------------------------------------------------------------------------------


def looks(monkeypatch, guard) -> list[int]:
    """Rows of each call that scores prefixes, from now on."""
    seen, real = [], type(guard.scorer).score_prefix
    monkeypatch.setattr(type(guard.scorer), "score_prefix", lambda self, s, n: seen.append(len(n)) or real(self, s, n))
    return seen


@pytest.mark.parametrize("debounce", [None, {"alarms": 2, "of": 3}])
def test_the_verdicts_are_the_same_however_many_steps_are_looked_at_together(toy: Toy, toy_guard, debounce) -> None:
    flagged = alarm_for_some(toy, toy_guard)
    found = {}
    for every in (1, 2, 3, 5, 64):
        policy = Policy(rule="online", flagged="report", unmonitored="report", debounce=debounce, look_every=every)
        found[every] = driven(toy, toy_guard, policy).run
    assert flagged and any(v.first_alarm_step is not None for v in found[1].verdicts)
    for run in found.values():
        assert run.verdicts == found[1].verdicts and run.alarms == found[1].alarms


def test_prefixes_are_scored_in_one_call_per_k_steps(toy: Toy, toy_guard, monkeypatch) -> None:
    steps = int(driven(toy, toy_guard, Policy.observe()).run.traces[0].steps)
    seen = looks(monkeypatch, toy_guard)
    for every in (1, 3):
        driven(toy, toy_guard, Policy(rule="online", flagged="report", unmonitored="report", look_every=every))
        # One more call judges the cells of all finished rows, for the verdict.
        assert len(seen) == -(-steps // every)
        seen.clear()


def test_an_alarm_stops_a_generation_at_most_k_steps_later_and_names_the_same_step(toy: Toy, toy_guard) -> None:
    alarm_for_some(toy, toy_guard)
    ends = {}
    for every in (1, 3):
        policy = Policy(rule="online", flagged="abort", unmonitored="report", look_every=every)
        ends[every] = [v for v in driven(toy, toy_guard, policy).run.verdicts if v.status == "flagged"]
    assert len(ends[1]) == len(ends[3]) > 0
    for soon, late in zip(ends[1], ends[3], strict=True):
        assert late.first_alarm_step == soon.first_alarm_step
        assert soon.steps_seen <= late.steps_seen <= soon.steps_seen + 2


def test_looking_seldom_goes_with_the_rule_online_alone() -> None:
    with pytest.raises(ValueError, match="look_every: counts steps of the rule online, and the rule is final"):
        Policy(rule="final", flagged="report", unmonitored="report", look_every=2)


# -- accelerators, which tests have none of --------------------------------------------------------------------------


@pytest.fixture
def elsewhere(monkeypatch) -> list[str]:
    """Has the CPU pass for an accelerator; the list says when copies begin and when they are waited for."""
    for module in (states, recorder):
        monkeypatch.setattr(module, "on_host", lambda tensor: False)
    events, real = [], flight.start_copy

    def start_copy(numbers):
        arrives, name = real(numbers), len(events) - events.count("waited")
        events.append(f"began {name}")
        return lambda: events.append("waited") or arrives()

    monkeypatch.setattr(flight, "start_copy", start_copy)
    return events


def close(one: Recorder, other: Recorder) -> None:
    assert np.array_equal(one.steps, other.steps)
    assert np.array_equal(one.stream.lengths, other.stream.lengths)
    assert np.array_equal(one.stream.broken, other.stream.broken)
    np.testing.assert_allclose(one.stream.logit, other.stream.logit, atol=2e-3, rtol=1e-4)


@given(drawn=schedules, groups=st.lists(st.integers(1, 9), max_size=5), live=st.booleans())
def test_an_accelerator_gives_the_same_signals_within_the_stated_accuracy(drawn, groups, live) -> None:
    settings, steps, whole = made(drawn)
    settings = replace(settings, live=live)
    here = recorded(settings, steps, whole, groups)
    with pytest.MonkeyPatch.context() as patch:
        for module in (states, recorder):
            patch.setattr(module, "on_host", lambda tensor: False)
        close(recorded(settings, steps, whole, groups), here)


def test_no_step_waits_for_its_own_numbers_on_an_accelerator(toy: Toy, toy_guard, elsewhere) -> None:
    steps = int(driven(toy, toy_guard, Policy.observe("online")).run.traces[0].steps)
    order = [f"began {step}" for step in range(steps)]
    assert [event for event in elsewhere if event != "waited"] == order
    # Before the numbers of a step are waited for, the next step is on its way.
    assert elsewhere[:4] == ["began 0", "began 1", "waited", "began 2"] and elsewhere[-1] == "waited"


@pytest.mark.parametrize("every", [1, 2, 3])
def test_an_accelerator_changes_no_verdict_and_stops_within_the_steps_that_the_policy_says(
    toy: Toy, toy_guard, request, every
) -> None:
    alarm_for_some(toy, toy_guard)
    stops = [Policy(rule="online", flagged="abort", unmonitored="report", look_every=k) for k in (1, every)]
    seen = driven(toy, toy_guard, Policy.observe("online")).run.verdicts
    soon = driven(toy, toy_guard, stops[0]).run.verdicts
    request.getfixturevalue("elsewhere")
    for one, other in zip(seen, driven(toy, toy_guard, Policy.observe("online")).run.verdicts, strict=True):
        assert (one.status, one.first_alarm_step) == (other.status, other.first_alarm_step)
    flagged = 0
    for one, other in zip(soon, driven(toy, toy_guard, stops[1]).run.verdicts, strict=True):
        assert (one.status, one.first_alarm_step) == (other.status, other.first_alarm_step)
        flagged += one.status == "flagged"
        assert one.steps_seen <= other.steps_seen <= one.steps_seen + every - 1
    assert flagged


def test_a_horizon_is_decided_at_its_step_on_an_accelerator_too(toy: Toy, toy_guard, elsewhere) -> None:
    settings = sri_sdk.watch_settings(toy.hook, toy_guard, policy=Policy.observe("online"))
    short = Recorder(replace(settings, horizon=2), 2)
    for _ in range(2):
        short.take(Pooled(torch.ones(2, 1, toy_guard.anchors.harmless.shape[2]), None, None))
    assert short.full.all() and elsewhere[-1] == "waited"
