"""The papers' threshold, and what may be expected of it."""

import math

import numpy as np
import pytest

from sri_sdk.calibrate.conformal import Threshold
from sri_sdk.calibrate.quantile import InterpolatedQuantile
from sri_sdk.errors import ConfigError


def test_of_two_hundred_scores_the_99_percent_quantile_lies_just_above_the_198th():
    found = InterpolatedQuantile.fit(np.arange(1, 201), 0.01)
    assert found.value == pytest.approx(198.01)
    assert (found.least, found.most) == (2 / 201, 3 / 201)
    assert found.words == "interpolated 99.0% quantile, which promises nothing: 0.995 to 1.49 % expected"


def test_it_breaks_the_alpha_that_the_order_statistic_keeps():
    rng, alpha = np.random.default_rng(0), 0.01
    draws = rng.random((20_000, 200))
    rates = np.array([1 - InterpolatedQuantile.fit(row, alpha).value for row in draws])
    error = 4 * rates.std() / math.sqrt(len(rates))
    assert rates.mean() > alpha + error
    assert 2 / 201 - error < rates.mean() < 3 / 201 + error
    kept = np.array([1 - Threshold.fit(row, alpha).value for row in draws[:4000]])
    assert kept.mean() < alpha + 4 * kept.std() / math.sqrt(len(kept))


def test_what_is_no_share_of_nothing_is_refused():
    for scores, alpha in ((np.arange(9), 0.0), (np.empty(0), 0.1)):
        with pytest.raises(ConfigError, match="allowed: a share"):
            InterpolatedQuantile.fit(scores, alpha)
