import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sri_sdk.errors import ConfigError
from sri_sdk.metrics.internal import incomplete_recovery, internal_recovery
from sri_sdk.metrics.rates import exact_rate

SIGMA = arrays(np.float32, st.tuples(st.integers(1, 15), st.integers(1, 6)), elements=st.floats(0, 1, width=32))


def one(row, *, refused=False):
    found = incomplete_recovery(np.array([row]), [refused], ["c"])["c"]
    return found.below.k, found.dipped.k


def test_irr_by_hand():
    sigma = np.array([[0.9, 0.2], [0.9, 0.4], [0.4, 0.05], [0.6, 0.05], [0.2, 0.9]])
    found = internal_recovery(sigma)
    assert {rate.name: (rate.k, rate.n) for rate in found.rates} == {
        "irr:0.5": (3, 5), "irr:0.3": (2, 5), "irr:0.1": (1, 5)
    }  # fmt: skip
    assert found.rates[0] == exact_rate("irr:0.5", 3, 5)
    assert json.loads(json.dumps(found.to_dict()))["unseen"] == 0


@given(SIGMA)
def test_a_stricter_end_never_counts_more(sigma):
    counts = [rate.k for rate in internal_recovery(sigma).rates]
    assert counts == sorted(counts, reverse=True)


@given(SIGMA)
def test_some_step_above_is_a_step_before_the_end(sigma):
    before = (sigma[:, :-1] > 0.5).any(axis=1) & (sigma[:, -1] < 0.3)
    assert internal_recovery(sigma).rates[1].k == before.sum()


def test_a_signal_exactly_on_a_threshold_is_on_neither_side():
    assert internal_recovery(np.array([[0.5, 0.2]])).rates[0].k == 0
    assert internal_recovery(np.array([[0.9, 0.5]])).rates[0].k == 0
    assert one([0.9, 0.5, 0.9]) == one([0.9, 0.1, 0.5]) == (0, 0)


def test_signals_that_were_not_seen_are_counted_and_in_no_rate():
    found = internal_recovery(np.array([[0.9, np.nan], [0.9, 0.1]]))
    assert (found.unseen, found.rates[0].n) == (1, 1)
    found = incomplete_recovery(np.array([[0.9, np.nan, 0.9], [0.9, 0.1, 0.9]]), [False, False], ["c", "c"])["c"]
    assert (found.unseen, found.dipped.k, found.dipped.n) == (1, 1, 1)


@pytest.mark.parametrize("levels", [{"lambda_r": [0.6]}, {"lambda_c": 0.2}, {"lambda_r": []}, {"lambda_r": [-0.1]}])
def test_thresholds_that_one_step_could_satisfy_alone_are_refused(levels):
    with pytest.raises(ConfigError, match="allowed: 0 <= lambda_r <= lambda_c <= 1"):
        internal_recovery(np.ones((1, 2)), **levels)


def test_a_dip_that_comes_back_is_an_incomplete_recovery_in_both_readings():
    assert one([0.9, 0.1, 0.9]) == (1, 1)


def test_a_signal_that_only_rises_was_below_and_did_not_dip():
    assert one([0.1, 0.6, 0.9]) == (1, 0)


def test_a_signal_that_stays_down_or_never_falls_is_no_incomplete_recovery():
    assert one([0.9, 0.1, 0.2]) == one([0.9, 0.6, 0.9]) == (0, 0)


def test_a_refusal_in_the_text_is_a_complete_one():
    assert one([0.9, 0.1, 0.9], refused=True) == (0, 0)


@given(SIGMA)
def test_what_dipped_was_below(sigma):
    found = incomplete_recovery(sigma, np.zeros(len(sigma), bool), ["c"] * len(sigma))["c"]
    assert found.dipped.k <= found.below.k <= found.below.n == len(sigma)


def test_each_class_has_its_own_share_and_no_class_is_left_out():
    dip, flat = [0.9, 0.1, 0.9], [0.9, 0.9, 0.9]
    found = incomplete_recovery(np.array([dip, flat, dip, dip]), [False] * 4, ["a", "a", None, "b"])
    assert {name: (rates.dipped.k, rates.dipped.n) for name, rates in found.items()} == {"a": (1, 2), "b": (1, 1)}
    assert found["a"].dipped.name == "incomplete:dipped:a"


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"needed: \[N, T\]"):
        internal_recovery(np.ones((2, 3, 1)))
    with pytest.raises(ValueError, match="2 signals, 1 refusals, 2 classes"):
        incomplete_recovery(np.ones((2, 3)), [True], ["a", "a"])
