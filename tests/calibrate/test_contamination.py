"""Calibration sets with attacks among them: what is still promised, and what breaks it."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sri_sdk.calibrate.conformal import Threshold, conformal_rank, exact_rank, fewest, most_attacks, threshold_rank
from sri_sdk.calibrate.plan import Promise
from sri_sdk.errors import ConfigError


def realised(n, alpha, attacks, rank, place, draws=20_000, seed=0):
    """Average false-alarm rate of the threshold of that rank, among uniform harmless scores, and its standard error."""
    rng = np.random.default_rng(seed)
    scores = np.sort(np.concatenate([np.full((draws, attacks), place), rng.random((draws, n - attacks))], axis=1))
    rates = 1 - np.clip(scores[:, rank - 1], 0, 1)
    return rates.mean(), rates.std() / math.sqrt(draws)


def test_by_hand_ten_attacks_below_ninety_nine_others_take_ten_ranks():
    # Rank 90 of 99 harmless scores promises 10 %, and ten attacks lie below them: rank 100 of 109.
    assert (most_attacks(109, 0.0918), conformal_rank(99, 0.1)) == (10, 90)
    # One more, because a share of 9.18 % may also mean each of the 109, and then there may be eleven.
    assert threshold_rank(109, 0.1, contamination=0.0918) == 101
    # Unadjusted, rank 99 of 109 is rank 89 of the 99, and 11 of 100 harmless scores exceed it.
    assert conformal_rank(109, 0.1) == 99


@given(st.integers(1, 5000), st.sampled_from([0.001, 0.01, 0.05, 0.2]), st.sampled_from([0.0003, 0.001, 0.01, 0.3]))
def test_the_rank_keeps_alpha_for_any_number_of_attacks_up_to_the_bound(n, alpha, share):
    try:
        rank = threshold_rank(n, alpha, contamination=share)
    except ConfigError:
        assert n < fewest(alpha, contamination=share)
        return
    exact = Fraction(str(alpha))
    for attacks in {0, 1, most_attacks(n, share) // 2, most_attacks(n, share)} - {n}:
        if attacks <= most_attacks(n, share):
            assert Fraction(n + 1 - rank, n + 1 - attacks) <= exact


def test_attacks_below_all_others_break_alpha_without_the_adjustment_and_keep_it_with():
    n, alpha, share = 199, 0.05, 0.2
    attacks = most_attacks(n, share)
    plain, error = realised(n, alpha, attacks, conformal_rank(n, alpha), place=-1.0)
    assert plain > alpha + 4 * error
    adjusted, error = realised(n, alpha, attacks, threshold_rank(n, alpha, contamination=share), place=-1.0)
    assert alpha - 1 / (n - attacks) - 4 * error < adjusted < alpha + 4 * error


def test_a_random_number_of_attacks_keeps_alpha_too():
    """Each generation is one with probability e, so there may be more than floor(e n) of them."""
    rng, n, alpha, share = np.random.default_rng(1), 199, 0.05, 0.2
    scores = np.where(rng.random((20_000, n)) < share, -1.0, rng.random((20_000, n)))
    rates = 1 - np.clip(np.sort(scores)[:, threshold_rank(n, alpha, contamination=share) - 1], 0, 1)
    assert alpha - 0.006 < rates.mean() < alpha + 4 * rates.std() / math.sqrt(len(rates))


@pytest.mark.parametrize("by_chance", [False, True])
def test_delta_holds_for_the_set_at_hand_whatever_attacks_are_in_it(by_chance):
    rng, n, alpha, delta, share = np.random.default_rng(2), 400, 0.05, 0.1, 0.1
    rank = threshold_rank(n, alpha, delta, share)
    low = rng.random((10_000, n)) < share if by_chance else np.arange(n)[None] < most_attacks(n, share)
    scores = np.sort(np.where(low, -1.0, rng.random((10_000, n))))
    broken = np.mean(scores[:, rank - 1] < 1 - alpha)
    assert 0.02 < broken < delta + 4 * math.sqrt(delta / 10_000)
    assert np.mean(scores[:, exact_rank(n, alpha, delta) - 1] < 1 - alpha) > 1.5 * delta


@given(
    st.sampled_from([0.3, 0.05, 0.01]), st.sampled_from([None, 0.05]), st.sampled_from([0.0, 0.001, 0.013, 0.2, 0.77])
)  # fmt: skip
def test_the_fewest_are_enough_and_one_fewer_is_refused_with_their_number(alpha, delta, share):
    n = fewest(alpha, delta, share)
    assert threshold_rank(n, alpha, delta, share) <= n
    with pytest.raises(ConfigError, match=f"at least {n} "):
        threshold_rank(n - 1, alpha, delta, share)


def test_nothing_stated_changes_nothing():
    assert threshold_rank(199, 0.05) == conformal_rank(199, 0.05)
    assert threshold_rank(999, 0.01, 0.05) == exact_rank(999, 0.01, 0.05)
    with pytest.raises(ConfigError, match="contamination is -0"):
        threshold_rank(199, 0.05, contamination=-0.1)


def test_a_threshold_is_taken_from_the_adjusted_rank():
    scores = np.random.default_rng(3).gamma(2, size=999)
    plain, adjusted = Threshold.fit(scores, 0.01), Threshold.fit(scores, 0.01, contamination=0.01)
    assert (plain.rank, adjusted.rank) == (990, 991)
    assert adjusted.value > plain.value and adjusted.alpha == plain.alpha == 0.01


def test_the_plan_gives_the_rates_of_the_worst_and_of_the_highest_attacks():
    planned = Promise.of(199, 0.05, contamination=0.02)
    assert planned.attacks == 3
    worst, error = realised(199, 0.05, 3, planned.rank, place=-1.0)
    assert abs(worst - planned.mean) < 4 * error and planned.mean <= 0.05
    highest, error = realised(199, 0.05, 3, planned.rank, place=2.0)
    assert abs(highest - planned.least) < 4 * error
    assert Promise.of(199, 0.05).least is None
