"""The law of false alarms, and whether the test of it finds what it should, and nothing else. Made-up scores."""

from collections import Counter
from itertools import combinations
from math import comb

import numpy as np
import pytest

from sri_sdk.calibrate.conformal import Threshold, conformal_rank, exact_rank
from tests.promise.law import Law, agreement, holm

N, M, ALPHA, REDRAWS = 399, 1_000, 0.01, 200


def redraws(seed, *, rank=0, shift=0.0, quantile=False):
    """Alarms in 200 redraws of calibration and fresh scores from one pool of 3,000."""
    rng = np.random.default_rng(seed)
    pool = rng.gamma(2, size=3_000)
    counts = []
    for _ in range(REDRAWS):
        shuffled = rng.permutation(pool)
        calibration, fresh = shuffled[:N], shuffled[N : N + M] + shift
        threshold = Threshold.fit(calibration, ALPHA)
        limit = np.quantile(calibration, 1 - ALPHA) if quantile else threshold.scores[threshold.rank - 1 + rank]
        counts.append(int((fresh.astype(np.float32) > np.float32(limit)).sum()))
    return counts


def law(n=N, m=M, alpha=ALPHA):
    return Law.of(m, n, conformal_rank(n, alpha))


def test_the_law_is_what_counting_all_orders_gives():
    n, m, rank = 5, 4, 4
    seen = Counter()
    for calibration in combinations(range(n + m), n):
        fresh = set(range(n + m)) - set(calibration)
        seen[sum(score > calibration[rank - 1] for score in fresh)] += 1
    assert Law.of(m, n, rank).chance == pytest.approx([seen[k] / comb(n + m, n) for k in range(m + 1)])


def test_redraws_from_one_pool_follow_the_law_and_are_independent():
    found = np.array([redraws(seed) for seed in range(5)])
    assert all(agreement(counts, law()).p_value > 0.01 for counts in found)
    # The pool is the same for all redraws of a row: if that tied them together, rows would differ by more.
    assert found.mean(axis=1).std() < 3 * found.std() / np.sqrt(REDRAWS)


def test_the_test_errs_as_rarely_as_it_says():
    from scipy.stats import betabinom

    rng = np.random.default_rng(1)
    kept = betabinom(M, N + 1 - conformal_rank(N, ALPHA), conformal_rank(N, ALPHA))
    found = [agreement(kept.rvs(size=REDRAWS, random_state=rng), law()) for _ in range(400)]
    for share in (0.01, 0.1, 0.5):
        for name in ("p_mean", "p_shape"):
            said = np.mean([getattr(each, name) <= share for each in found])
            assert said < share + 4 * np.sqrt(share * (1 - share) / len(found)), name


@pytest.mark.parametrize(
    "fault", [{"rank": -1}, {"quantile": True}, {"shift": 0.3}, {"shift": -0.3}], ids=["rank", "quantile", "up", "down"]
)
def test_a_threshold_that_is_set_wrongly_and_traffic_that_moved_are_found(fault):
    assert agreement(redraws(2, **fault), law()).p_value < 0.001


def test_alarms_of_two_groups_with_their_own_thresholds_add_up():
    both = law() + law(n=199, m=300)
    assert both.mean == pytest.approx(law().mean + law(n=199, m=300).mean)
    assert both.chance[:40] == pytest.approx(np.convolve(law().chance, law(n=199, m=300).chance)[:40])
    assert both.above(both.quantile(0.975)) <= 0.025 < both.above(both.quantile(0.975) - 1)


def test_with_delta_the_thresholds_own_rate_breaks_alpha_as_rarely_as_delta_says():
    from scipy.stats import beta

    n, alpha, delta = 999, 0.01, 0.05
    rank = exact_rank(n, alpha, delta)
    # The share of a million fresh prompts is the threshold's own rate, but for its last digits.
    own = Law.of(100_000, n, rank)
    assert own.above(alpha * 100_000) == pytest.approx(beta.sf(alpha, n + 1 - rank, rank), abs=0.002)
    assert own.above(alpha * 100_000) < delta


def test_of_many_tests_one_fails_only_if_its_p_value_is_small_enough_for_all_of_them():
    assert holm([0.004, 0.9, 0.0001, 0.0049], 0.01) == [False, False, True, False]
    assert holm([0.004, 0.0001, 0.0002], 0.01) == [True, True, True]
    assert holm([], 0.01) == []
