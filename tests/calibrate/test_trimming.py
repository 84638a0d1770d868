"""Trimming keeps alpha where attacks score highest, and only there."""

import math

import numpy as np
import pytest

from sri_sdk.calibrate.conformal import threshold_rank
from sri_sdk.calibrate.trimming import Trimming
from sri_sdk.errors import ConfigError


def rate(rank, attacks, place, n=199, draws=20_000):
    rng = np.random.default_rng(0)
    scores = np.sort(np.concatenate([np.full((draws, attacks), place), rng.random((draws, n - attacks))], axis=1))
    rates = 1 - np.clip(scores[:, rank - 1], 0, 1)
    return rates.mean(), 4 * rates.std() / math.sqrt(draws)


def test_by_hand_ten_of_a_hundred_and_nine_are_left_out_and_the_rest_is_judged_as_clean():
    assert Trimming.of(109, 0.1, 0.0918) == Trimming(
        trimmed=10, rank=90, if_highest=10 / 100, if_none=20 / 110, worst=20 / 100
    )
    with pytest.raises(ConfigError, match="out of reach with n = 4"):
        Trimming.of(9, 0.1, 0.6)


@pytest.mark.parametrize(
    ("belief", "attacks", "place"), [("if_highest", 19, 2.0), ("if_none", 0, 0.0), ("worst", 19, -1.0)]
)
def test_the_rate_is_what_was_said_for_each_state_of_the_world(belief, attacks, place):
    found = Trimming.of(199, 0.05, 0.1)
    measured, error = rate(found.rank, attacks, place)
    assert abs(measured - getattr(found, belief)) < error
    assert (measured > 0.05 + error) == (belief != "if_highest")


def test_the_adjusted_rank_keeps_alpha_in_all_of_them():
    rank = threshold_rank(199, 0.05, contamination=0.1)
    for attacks, place in ((19, 2.0), (0, 0.0), (19, -1.0)):
        measured, error = rate(rank, attacks, place)
        assert measured < 0.05 + error
