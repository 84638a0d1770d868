"""Drift: found as seldom as stated where there is none, soon where there is some, and only on fresh canaries."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import binom, kstest

from sri_sdk.calibrate.drift import Canaries, bets
from sri_sdk.errors import ConfigError, ScoringError


def stream(seed, count, *, n=99, rate=0.1, window=20, shift=0.0, parts=("a",), draw=None):
    """Canaries with normal scores, and the p-values of the first part."""
    rng = np.random.default_rng(seed)
    draw = draw or (lambda size: rng.normal(size=size))
    made = Canaries({name: draw(n) for name in parts}, rate=rate, window=window, seed=str(seed))
    p = [
        made.add(str(k), {name: float(draw(1)[0]) + shift for name in parts})[parts[0]] for k in range(count)
    ]  # fmt: skip
    return made, p


def test_a_thousand_streams_without_drift_are_called_drifted_no_more_often_than_stated():
    rate, streams = 0.1, 1000
    found = sum(stream(seed, 30, rate=rate, window=30)[0].drift for seed in range(streams))
    assert 0 < found <= binom.ppf(0.999, streams, rate)


def test_p_values_are_uniform_and_independent_also_where_most_scores_are_equal():
    coarse = np.random.default_rng(0)
    pairs = []
    for seed in range(300):
        _, p = stream(seed, 12, draw=lambda size: np.round(coarse.normal(size=size)))
        pairs.append(p)
    p = np.array(pairs)
    assert kstest(p.ravel(), "uniform").pvalue > 0.01
    assert abs(np.corrcoef(p[:, :-1].ravel(), p[:, 1:].ravel())[0, 1]) < 0.05


def test_every_bet_is_fair():
    """Its density has integral 1, so capital neither grows nor shrinks where p-values are uniform."""
    for kind in range(len(bets(0.5))):
        assert np.isclose(quad(lambda p, kind=kind: bets(p)[kind], 0, 1)[0], 1, atol=1e-6)


@pytest.mark.parametrize(("shift", "soon"), [(4.0, 6), (2.0, 20), (-2.0, 20)])
def test_a_shift_is_found_soon_and_stays_found(shift, soon):
    made, _ = stream(1, 60, rate=0.01, shift=shift)
    (found,) = made.findings()
    assert made.drift and found.found_by_bets <= soon
    assert (found.higher > 0.5) == (shift > 0)


def test_drift_that_comes_late_is_found_almost_as_soon():
    rng = np.random.default_rng(3)
    made = Canaries({"a": rng.normal(size=199)}, rate=0.01, window=50)
    for k in range(600):
        made.add(str(k), {"a": float(rng.normal() + (3 if k >= 500 else 0))})
    (found,) = made.findings()
    assert 500 < found.found_by_bets < 520


def test_parts_share_the_rate_and_one_that_drifts_is_enough():
    rng = np.random.default_rng(4)
    made = Canaries({"calm": rng.normal(size=199), "moved": rng.normal(size=199)}, rate=0.01, window=50)
    for k in range(30):
        made.add(str(k), {"calm": float(rng.normal()), "moved": float(rng.normal() + 3)})
    calm, moved = made.findings()
    assert (calm.drift, moved.drift, made.drift) == (False, True, True)
    assert np.isclose(np.exp(calm.enough), 2 / 0.005)


def test_a_prompt_counts_once_and_a_score_that_is_none_not_at_all():
    made, _ = stream(5, 3)
    with pytest.raises(ConfigError, match="used before"):
        made.add("1", {"a": 0.0})
    for scores in ({}, {"a": float("nan")}, {"a": 1.0, "b": 1.0}):
        with pytest.raises(ScoringError, match="finite one for each of: a"):
            made.add("new", scores)
    assert len(made) == 3


def test_the_same_canaries_give_the_same_p_values_in_every_process():
    assert stream(6, 5)[1] == stream(6, 5)[1]


def test_a_rate_or_a_window_that_cannot_find_anything_is_refused():
    for rate, window in ((0, 50), (1, 50), (0.01, 5)):
        with pytest.raises(ConfigError, match="at least 10 canaries per window"):
            Canaries({"a": np.zeros(9)}, rate=rate, window=window)
