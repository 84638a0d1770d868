"""What a fit says of its thresholds."""

import numpy as np
import pytest

from sri_sdk.calibrate.conformal import Threshold
from sri_sdk.fitting.checks import warn_of_ties


def scores(n=999, seed=0):
    return np.random.default_rng(seed).normal(size=n).astype(np.float32)


def test_a_threshold_among_tied_scores_is_said_to_flag_less_than_it_may(caplog):
    threshold = Threshold.fit(np.minimum(scores(), 2.0), 0.01)
    assert threshold.tied > 10
    warn_of_ties("part asked, rule final", threshold)
    (said,) = caplog.messages
    assert said.startswith(f"part asked, rule final: {threshold.tied} of 999 calibration scores are equal")


def test_two_scores_that_happen_to_be_equal_are_no_warning(caplog):
    equal = np.sort(scores(4_000))
    equal[-41] = equal[-40]
    threshold = Threshold.fit(equal, 0.01)
    assert threshold.tied == 2
    warn_of_ties("rule final", threshold)
    assert not caplog.messages


@pytest.mark.parametrize("seed", range(3))
def test_scores_that_differ_are_no_warning(seed, caplog):
    warn_of_ties("rule final", Threshold.fit(scores(seed=seed), 0.001))
    assert not caplog.messages
