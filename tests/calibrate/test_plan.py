"""A promise's numbers against draws, and what follows for a day."""

import numpy as np
import pytest

from sri_sdk.calibrate.conformal import Threshold, conformal_rank, fewest
from sri_sdk.calibrate.plan import Promise, Traffic
from sri_sdk.errors import ConfigError


@pytest.mark.parametrize(("n", "alpha", "delta"), [(199, 0.05, None), (999, 0.01, None), (500, 0.02, 0.05)])
def test_the_realised_rate_of_many_calibration_sets_is_what_was_planned(n, alpha, delta):
    """Scores are uniform, so a threshold's own rate is what lies above it."""
    rng, planned = np.random.default_rng(0), Promise.of(n, alpha, delta)
    realised = np.array([1 - Threshold.fit(rng.random(n), alpha, delta).value for _ in range(4000)])
    assert realised.mean() == pytest.approx(planned.mean, rel=0.03)
    assert np.mean(realised < planned.low) == pytest.approx(0.05, abs=0.015)
    assert np.mean(realised > planned.high) == pytest.approx(0.05, abs=0.015)
    assert planned.mean <= alpha
    if delta is not None:
        # Ranks are whole numbers, so it is kept with room.
        assert 0 < np.mean(realised > alpha) < delta


@pytest.mark.parametrize("delta", [None, 0.1])
@pytest.mark.parametrize("alpha", [0.5, 0.05, 0.01, 0.001])
def test_the_fewest_are_enough_and_one_fewer_is_not(alpha, delta):
    n = fewest(alpha, delta)
    assert Promise.of(n, alpha, delta).rank <= n
    if n > 1:
        with pytest.raises(ConfigError, match="out of reach"):
            Promise.of(n - 1, alpha, delta)


@pytest.mark.parametrize("alpha", [0.1, 0.05, 0.03, 0.02, 0.01, 0.007, 0.002, 0.001, 0.0007])
def test_what_a_check_says_is_enough_for_a_share_is_enough_when_it_is_calibrated(alpha):
    """A third of 3 % is 0.009999999999999998 in floating point, and needs 99 scores all the same."""
    for share in (*(1 / parts for parts in range(1, 17)), *(tenths / 10 for tenths in range(1, 10))):
        n = fewest(alpha * share)
        assert conformal_rank(n, alpha * share) == n
        with pytest.raises(ConfigError, match=rf"at least {n} harmless"):
            conformal_rank(n - 1, alpha * share)
    assert fewest(0.03 / 3) == fewest(0.01) == 99 and fewest(1e-13) == 10**13 - 1


def test_a_day_is_counted_by_class():
    day = Traffic(100_000, 0.001, 0.8)
    found = day.alarms(0.01)
    assert (found.false, found.true, found.missed) == pytest.approx((999, 80, 20))
    assert found.precision == pytest.approx(80 / 1079)
    assert Traffic(10, 0, 0).alarms(0).precision is None


@pytest.mark.parametrize("values", [(0, 0.1, 0.5), (10, 1.0, 0.5), (10, -0.1, 0.5), (10, 0.1, 1.5)])
def test_what_is_no_share_is_refused(values):
    with pytest.raises(ConfigError, match="shares from 0 to 1"):
        Traffic(*values)
