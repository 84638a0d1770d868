import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sri_sdk.metrics.bootstrap import Clusters, clustered_rate, rate_interval
from sri_sdk.metrics.rates import exact_rate

BASES = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=30)


@given(BASES, st.integers(0, 99))
def test_a_draw_takes_whole_clusters_and_as_many_as_there_are(bases, seed):
    clusters = Clusters.of(bases, len(bases))
    weights = clusters.weights(np.random.default_rng(seed))
    per_cluster = {base: set(weights[[b == base for b in bases]].tolist()) for base in bases}
    assert all(len(found) == 1 for found in per_cluster.values())
    assert sum(found.pop() for found in per_cluster.values()) == clusters.count == len(set(bases))


def test_with_one_row_per_base_prompt_the_interval_is_the_plain_bootstrap():
    from scipy.stats import bootstrap

    successes = np.arange(400) % 4 == 0
    found = clustered_rate("x", successes, [str(i) for i in range(400)])
    plain = bootstrap((successes,), np.mean, n_resamples=2000, method="percentile", random_state=0, vectorized=True)
    assert (found.low, found.high) == pytest.approx(plain.confidence_interval, abs=0.006)


def test_rows_that_repeat_their_base_prompt_do_not_shorten_the_interval():
    successes = np.arange(100) % 2 == 0
    once = clustered_rate("x", successes, [str(i) for i in range(100)])
    nine_times = clustered_rate("x", np.tile(successes, 9), [str(i) for i in range(100)] * 9)
    assert (nine_times.low, nine_times.high) == (once.low, once.high)
    assert nine_times.rate.high - nine_times.rate.low < 0.4 * (once.rate.high - once.rate.low)
    assert (nine_times.rate.k, nine_times.rate.n, nine_times.clusters) == (450, 900, 100)


def test_the_interval_holds_the_true_rate_about_as_often_as_it_says():
    from scipy.stats import norm

    rng = np.random.default_rng(0)
    held = []
    for seed in range(60):
        chance = norm.cdf(rng.normal(size=150))  # True rate 0.5; four rows of a base prompt share its own chance.
        rows = rng.random((150, 4)) < chance[:, None]
        found = clustered_rate("x", rows.ravel(), np.repeat(np.arange(150).astype(str), 4).tolist(), seed=seed)
        held.append(found.low <= 0.5 <= found.high)
    assert 0.87 <= np.mean(held) <= 1


def test_where_all_agree_the_interval_is_exact_with_one_trial_per_base_prompt():
    found = clustered_rate("x", np.zeros(60, bool), [str(i // 3) for i in range(60)])
    assert (found.low, found.high) == (0.0, exact_rate("", 0, 20).high)
    found = clustered_rate("x", np.ones(60, bool), [str(i // 3) for i in range(60)])
    assert (found.low, found.high) == (exact_rate("", 20, 20).low, 1.0)


@pytest.mark.parametrize("rows", [0, 5])
def test_with_fewer_than_two_base_prompts_nothing_is_known(rows):
    found = clustered_rate("x", np.arange(rows) > 1, ["same"] * rows)
    assert (found.low, found.high) == (0, 1)


def test_draws_without_anything_to_measure_do_not_count():
    assert rate_interval(iter([np.nan, 0.5, np.nan, 0.5]), 0.5, 2) == (0.5, 0.5)


def test_the_same_seed_gives_the_same_interval_and_another_one_does_not():
    successes, bases = np.random.default_rng(1).random(90) < 0.3, [str(i // 2) for i in range(90)]
    assert clustered_rate("x", successes, bases, seed=1) == clustered_rate("x", successes, bases, seed=1)
    assert clustered_rate("x", successes, bases, seed=1) != clustered_rate("x", successes, bases, seed=2)


def test_one_base_prompt_per_row_is_asked_for():
    with pytest.raises(ValueError, match="2 base prompts for 3 rows"):
        clustered_rate("x", np.ones(3, bool), ["a", "b"])
