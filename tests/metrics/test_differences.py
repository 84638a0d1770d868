import numpy as np
import pytest

from sri_sdk.metrics.differences import difference, paired
from sri_sdk.metrics.rates import exact_rate


def test_a_difference_of_prompts_apart_has_the_interval_of_both_shares():
    made = difference(exact_rate("a", 56, 70), exact_rate("b", 48, 80))
    one, other = exact_rate("a", 56, 70), exact_rate("b", 48, 80)
    assert made.value == pytest.approx(0.2)
    assert made.low == pytest.approx(0.2 - np.hypot(0.8 - one.low, other.high - 0.6))
    assert made.high == pytest.approx(0.2 + np.hypot(one.high - 0.8, 0.6 - other.low))
    # Newcombe's Wilson intervals give 0.0524 to 0.3339 for these counts; exact ones are a little longer.
    assert made.low == pytest.approx(0.0524, abs=0.02) and made.high == pytest.approx(0.3339, abs=0.02)


def test_shares_of_all_and_of_none_still_leave_room():
    made = difference(exact_rate("a", 20, 20), exact_rate("b", 0, 20))
    assert made.value == 1 and made.high == 1 and 0.7 < made.low < 0.8


def test_without_a_case_there_is_no_difference():
    assert difference(exact_rate("a", 0, 0), exact_rate("b", 1, 2)) is None
    assert paired(np.zeros(0, bool), np.zeros(0, bool), []) is None


def test_its_interval_covers_the_truth_as_often_as_it_says():
    rng, hits = np.random.default_rng(0), 0
    for _ in range(400):
        one, other = rng.binomial(60, 0.9), rng.binomial(90, 0.3)
        made = difference(exact_rate("a", one, 60), exact_rate("b", other, 90))
        hits += made.low <= 0.6 <= made.high
    assert hits >= 370


def test_a_paired_difference_counts_what_only_one_of_both_flags():
    own, other = np.array([1, 1, 1, 0, 0], dtype=bool), np.array([1, 0, 0, 1, 0], dtype=bool)
    made = paired(own, other, list("abcde"))
    assert made.value == pytest.approx(1 / 5)
    assert (made.n, made.only_own, made.only_other, made.clusters) == (5, 2, 1, 5)
    back = paired(other, own, list("abcde"))
    assert (back.value, back.low, back.high) == pytest.approx((-made.value, -made.high, -made.low), abs=1e-12)


def test_what_both_flag_alike_narrows_the_paired_interval():
    rng = np.random.default_rng(0)
    other = rng.random(400) < 0.5
    alike = other.copy()
    alike[:20] = True
    apart = rng.random(400) < alike.mean()
    names = [f"b{i}" for i in range(400)]
    narrow, wide = paired(alike, other, names), paired(apart, other, names)
    assert narrow.high - narrow.low < 0.5 * (wide.high - wide.low)


def test_attacks_of_one_request_do_not_shorten_the_paired_interval():
    own = np.repeat(np.arange(40) % 2 == 0, 4)
    other = np.repeat(np.arange(40) % 3 == 0, 4)
    bases = [f"b{i}" for i in np.repeat(np.arange(40), 4)]
    pooled, single = paired(own, other, bases), paired(own[::4], other[::4], bases[::4])
    assert (pooled.low, pooled.high) == pytest.approx((single.low, single.high))


def test_agreement_on_few_requests_claims_no_certainty():
    same = paired(np.ones(5, bool), np.ones(5, bool), list("abcde"))
    assert same.value == 0 and same.low == -same.high and same.high > 0.4
