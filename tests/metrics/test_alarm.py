import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sri_sdk.metrics import alarm
from sri_sdk.metrics.alarm import alarm_times
from sri_sdk.metrics.rates import exact_rate


def times(steps, budget=4, bases=None, **options):
    return alarm_times("c", steps, budget, bases or [f"b{i}" for i in range(len(steps))], **options)


def test_the_curve_by_hand():
    found = times([0, 2, None, 2, None])
    assert [(rate.k, rate.n) for rate in found.by_step] == [(1, 5), (1, 5), (3, 5), (3, 5)]
    assert found.by_step[2] == exact_rate("alarmed_by:2:c", 3, 5)
    assert found.alarmed == exact_rate("alarmed:c", 3, 5) and found.median.value == 2


@given(st.lists(st.none() | st.integers(0, 9), max_size=30))
def test_the_curve_never_falls_and_ends_at_the_share_that_alarmed(steps):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alarm, "RESAMPLES", 3)
        found = times(steps, budget=10)
    counts = [rate.k for rate in found.by_step]
    assert counts == sorted(counts) and counts[-1] == found.alarmed.k == sum(s is not None for s in steps)


def test_an_alarm_beyond_the_budget_is_an_alarm_and_not_on_the_curve():
    found = times([1, 4, 9])
    assert (found.by_step[-1].k, found.alarmed.k, found.beyond, found.median.value) == (1, 3, 2, 4)


def test_where_nobody_alarmed_there_is_no_median():
    found = times([None, None])
    assert found.median is None and found.by_step[-1].high < 1
    assert times([]).by_step[0].n == 0


def test_the_interval_of_the_median_equals_the_one_that_copies_rows(monkeypatch):
    monkeypatch.setattr(alarm, "RESAMPLES", 50)
    steps = np.random.default_rng(0).integers(0, 20, 31)
    random = np.random.default_rng(4)
    draws = [np.median(steps[random.integers(31, size=31)]) for _ in range(50)]
    found = times([*steps.tolist(), None], budget=20, seed=4).median
    assert (found.low, found.high) == pytest.approx(np.quantile(draws, [0.025, 0.975]))
    assert found.low <= found.value <= found.high


def test_attacks_of_one_request_do_not_shorten_the_interval_of_the_median():
    steps = np.random.default_rng(1).integers(0, 20, 40).tolist()
    bases = [f"b{i}" for i in range(40)]
    once, repeated = times(steps, 20, bases).median, times(steps * 5, 20, bases * 5).median
    assert (repeated.low, repeated.high, repeated.clusters) == (once.low, once.high, 40)


def test_impossible_steps_and_lengths_are_named():
    with pytest.raises(ValueError, match="earliest step -1"):
        times([-1])
    with pytest.raises(ValueError, match="budget 0"):
        times([0], budget=0)
    with pytest.raises(ValueError, match="1 first alarms and 2 base prompts"):
        times([0], bases=["a", "b"])
