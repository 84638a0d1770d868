"""A bound on missed attacks."""

import math

import numpy as np
import pytest

from sri_sdk.calibrate.misses import miss_threshold
from sri_sdk.calibrate.risk import RiskThreshold
from sri_sdk.errors import ConfigError


def test_by_hand_three_of_nineteen_may_be_missed_for_one_in_five():
    scores = np.random.default_rng(0).permutation(19) + 1.0
    found = miss_threshold(scores, 0.2)
    # (3 + 1) / (19 + 1); the fourth lies just above the threshold and is found.
    assert (scores <= found).sum() == 3
    assert found == np.nextafter(np.float32(4), np.float32(0))
    assert (scores <= miss_threshold(scores, 0.05)).sum() == 0
    with pytest.raises(ConfigError, match="out of reach with n = 18 attacks; at least 19 are needed"):
        miss_threshold(scores[1:], 0.05)


def test_it_is_risk_control_of_the_loss_missed():
    scores, grid = np.random.default_rng(1).permutation(99) + 1.0, np.arange(0.5, 100)
    controlled = RiskThreshold.fit(grid, scores[:, None] <= grid, 0.1).value
    assert (scores <= controlled).sum() == (scores <= miss_threshold(scores, 0.1)).sum() == 9


def test_the_next_attack_is_missed_as_often_as_allowed_and_one_rank_higher_would_be_too_often():
    rng, n, misses = np.random.default_rng(2), 19, 0.2
    draws = np.sort(rng.random((20_000, n)), axis=1)
    rates = np.array([miss_threshold(row, misses) for row in draws])
    error = 4 * rates.std() / math.sqrt(len(rates))
    assert misses - error < rates.mean() < misses + error
    # What leaving out the attack that is still to come would give: the share of the n alone.
    assert draws[:, math.floor(misses * n + 1)].mean() > misses + error


def test_delta_holds_for_the_set_at_hand():
    rng, misses, delta = np.random.default_rng(3), 0.2, 0.1
    sets = rng.random((2000, 60))
    assert 0.02 < np.mean([miss_threshold(row, misses, delta) > misses for row in sets]) <= delta + 0.02
    assert np.mean([miss_threshold(row, misses) > misses for row in sets]) > 0.3


def test_attacks_without_a_score_are_missed():
    scores = np.r_[np.full(3, np.nan), np.arange(16.0)]
    assert miss_threshold(scores, 0.2) == np.nextafter(np.float32(0), np.float32(-1))
    with pytest.raises(ConfigError, match=r"3 of 19 attacks have no score, and for 0\.15 at most 2"):
        miss_threshold(scores, 0.15)
    with pytest.raises(ConfigError, match="misses is 1; allowed"):
        miss_threshold(scores, 1)
