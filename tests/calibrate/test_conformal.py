import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sri_sdk.calibrate.conformal import Threshold, conformal_rank, exact_rank, p_values
from sri_sdk.errors import ConfigError, ScoringError


@pytest.mark.parametrize(
    ("n", "alpha", "rank"), [(99, 0.01, 99), (199, 0.05, 190), (200, 0.01, 199), (999, 0.001, 999)]
)
def test_the_rank_is_exact_where_rounding_would_add_one(n, alpha, rank):
    assert conformal_rank(n, alpha) == rank


def test_an_alpha_out_of_reach_names_n_and_what_is_reachable():
    with pytest.raises(ConfigError, match=r"n = 500.*1/\(n\+1\) = 0.002.*at least 999"):
        conformal_rank(500, 0.001)


def test_one_per_mille_with_95_percent_confidence_needs_2995_scores():
    assert exact_rank(2995, 0.001, 0.05) == 2995
    with pytest.raises(ConfigError, match="at least 2995"):
        exact_rank(2994, 0.001, 0.05)


@given(st.integers(400, 5000))
def test_the_exact_rank_is_the_smallest_that_keeps_its_word(n):
    from scipy.stats import beta

    rank = exact_rank(n, 0.01, 0.05)
    assert beta.sf(0.01, n - rank + 1, rank) <= 0.05 < beta.sf(0.01, n - rank + 2, rank - 1)


@pytest.mark.parametrize("alpha", [0, 1, -0.1, float("nan")])
def test_alpha_must_be_a_share(alpha):
    with pytest.raises(ConfigError, match="alpha"):
        conformal_rank(100, alpha)


def test_the_realised_rate_over_many_calibrations_is_alpha_and_spreads_as_the_beta_law_says():
    from scipy.stats import betabinom

    rng = np.random.default_rng(0)
    n, m, alpha = 199, 100, 0.05
    counts = []
    for _ in range(1000):
        threshold = Threshold.fit(rng.exponential(size=n), alpha)
        counts.append(int((rng.exponential(size=m).astype(np.float32) > threshold.value).sum()))
    law = betabinom(m, n - threshold.rank + 1, threshold.rank)
    # The rank divides evenly here, so the average rate is alpha itself and not only bounded by it.
    assert abs(np.mean(counts) - m * alpha) < 4 * law.std() / np.sqrt(len(counts))
    assert abs(np.std(counts) / law.std() - 1) < 0.1


def test_delta_bounds_the_share_of_calibrations_that_break_alpha():
    rng = np.random.default_rng(1)
    values = [Threshold.fit(rng.exponential(size=400), 0.02, 0.1).value for _ in range(500)]
    broken = np.mean(np.exp(-np.array(values)) > 0.02)
    assert 0.02 < broken < 0.1 + 4 * np.sqrt(0.09 / 500)


def test_the_score_the_threshold_was_taken_from_is_not_flagged_by_any_runtime():
    scores = np.random.default_rng(2).gamma(2, size=199).astype(np.float32)
    threshold = Threshold.fit(scores, 0.05)
    taken = threshold.scores[threshold.rank - 1]
    assert float(taken) + threshold.tolerance <= threshold.value == float(np.float32(threshold.value))
    assert (scores > threshold.value).sum() == 9


@given(st.floats(-20, 20).map(np.exp), st.floats(-1e4, 1e4))
def test_the_tolerance_follows_unit_and_offset_of_the_scores(scale, offset):
    scores = np.random.default_rng(3).normal(size=99) * scale + offset
    if np.ptp(scores.astype(np.float32)) == 0:
        return
    threshold = Threshold.fit(scores, 0.05)
    assert threshold.tolerance >= 16 * np.spacing(np.float32(np.abs(scores).max()))
    assert threshold.value > threshold.scores[threshold.rank - 1]


def test_equal_scores_are_a_bug_and_so_is_nan():
    with pytest.raises(ScoringError, match="scores must vary"):
        Threshold.fit(np.ones(200), 0.05)
    with pytest.raises(ScoringError, match="1 of 200 scores are not finite"):
        Threshold.fit(np.r_[np.arange(199.0), np.nan], 0.05)


def test_p_values_count_the_scores_at_least_as_high():
    calibration = np.array([1, 2, 2, 3], dtype=np.float32)
    assert p_values(np.array([0, 2, 3, 4]), calibration).tolist() == [1.0, 0.8, 0.4, 0.2]
