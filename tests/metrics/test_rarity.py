import numpy as np
import pytest

from sri_sdk.calibrate.conformal import Threshold
from sri_sdk.metrics.rarity import rarity

CALIBRATION = np.random.default_rng(0).exponential(size=999)


def test_it_rises_with_the_score_also_beyond_what_calibration_has_seen():
    scores = np.linspace(-1, CALIBRATION.max() + 5, 500)
    assert (np.diff(rarity(scores, CALIBRATION, 0.01)) > 0).all()


def test_it_is_about_zero_at_the_threshold_of_a_part():
    threshold = Threshold.fit(CALIBRATION, 0.01)
    at = threshold.scores[threshold.rank - 1]
    assert abs(rarity(np.array([at]), CALIBRATION, 0.01)[0]) < 0.15
    assert rarity(np.array([CALIBRATION.max() + 1]), CALIBRATION, 0.01)[0] > 1


def test_parts_with_other_units_and_shares_are_compared_by_how_rare_their_scores_are():
    scores = np.quantile(CALIBRATION, [0.5, 0.99, 0.999])
    wide = rarity(1000 * scores - 7, 1000 * CALIBRATION - 7, 0.01)
    np.testing.assert_allclose(wide, rarity(scores, CALIBRATION, 0.01), atol=1e-9)
    np.testing.assert_allclose(rarity(scores, CALIBRATION, 0.005) - wide, np.log(0.5), atol=1e-9)


def test_what_was_not_scored_stays_unknown():
    assert np.isnan(rarity(np.array([np.nan]), CALIBRATION, 0.01)[0])


def test_scores_that_mostly_coincide_still_rise():
    coarse = np.r_[np.zeros(98), 1.0]
    found = rarity(np.array([-1.0, 0, 0.5, 1, 2]), coarse, 0.05)
    assert np.isfinite(found).all() and (np.diff(found) > 0).all()
    assert found[1] == pytest.approx(np.log(0.05))
