"""Bounds on expected losses: by hand where n is small, and against draws that break them if a term is left out."""

import math

import numpy as np
import pytest

from sri_sdk.calibrate import risk
from sri_sdk.calibrate.conformal import conformal_rank
from sri_sdk.calibrate.risk import RiskThreshold, shown_before_alarm, tail, upper_bound
from sri_sdk.errors import ConfigError

GRID = np.linspace(0, 1, 101)


def cut_off(scores):
    """[n] uniform scores -> [n, 101]: how far each lies above a threshold; the expected loss is (1 - t)^2 / 2."""
    return np.maximum(scores[..., None] - GRID, 0)


def test_by_hand_the_loss_that_was_not_seen_decides():
    losses = np.array([[0.5, 0.2, 0.0], [0.3, 0.1, 0.0], [0.1, 0.0, 0.0], [0.1, 0.0, 0.0]])
    # At the second candidate: 4/5 of 0.075 and 1/5 make 0.26; at the first 4/5 of 0.25 and 1/5 make 0.4.
    assert RiskThreshold.fit([1, 2, 3], losses, 0.26) == RiskThreshold(2.0, 0.26, None, 4, pytest.approx(0.075))
    assert RiskThreshold.fit([1, 2, 3], losses, 0.4).value == 1
    assert RiskThreshold.fit([1, 2, 3], losses, 0.25).value == 3
    with pytest.raises(ConfigError, match=r"out of reach with n = 4 .* no less than 0\.2"):
        RiskThreshold.fit([1, 2, 3], losses, 0.19)


def test_by_hand_losses_that_rise_take_the_highest_candidate():
    losses = np.array([[0, 0.2, 0.5], [0, 0.1, 0.3], [0, 0.0, 0.1], [0, 0.0, 0.1]])
    assert RiskThreshold.fit([1, 2, 3], losses, 0.26).value == 2
    assert RiskThreshold.fit([1, 2, 3], 5 * losses, 1.3, bound=5).value == 2
    assert RiskThreshold.fit([1, 2, 3], losses, 0.4).value == 3


@pytest.mark.parametrize(("n", "alpha"), [(19, 0.05), (199, 0.05), (99, 0.1)])
def test_of_a_loss_that_is_0_or_1_it_is_split_conformal(n, alpha):
    scores = np.random.default_rng(0).permutation(n) + 1
    grid = np.arange(n + 2)
    found = RiskThreshold.fit(grid, scores[:, None] > grid, alpha)
    assert found.value == conformal_rank(n, alpha)


def test_the_expected_loss_is_bounded_and_would_not_be_without_the_loss_not_seen():
    rng, n, alpha, draws = np.random.default_rng(1), 9, 0.125, 4000

    def expected(choose):
        values = np.array([choose(cut_off(rng.random(n))) for _ in range(draws)])
        rates = (1 - values) ** 2 / 2
        return rates.mean(), 4 * rates.std() / math.sqrt(draws)

    mean, error = expected(lambda losses: RiskThreshold.fit(GRID, losses, alpha).value)
    assert mean < alpha + error
    # The same without B / (n + 1), which is all that stands between the two.
    mean, error = expected(lambda losses: GRID[(losses.mean(axis=0) <= alpha).argmax()])
    assert mean > alpha + error


def test_alpha_is_met_almost_exactly_where_the_loss_is_0_or_1_and_nothing_is_given_away():
    rng, n, alpha = np.random.default_rng(2), 19, 0.25
    rates = []
    for _ in range(4000):
        rates.append(1 - RiskThreshold.fit(GRID, rng.random(n)[:, None] > GRID, alpha).value)
    error = 4 * np.std(rates) / math.sqrt(len(rates))
    assert alpha - 0.01 - error < np.mean(rates) < alpha + error


def test_delta_bounds_how_often_the_loss_of_this_threshold_exceeds_alpha():
    rng, n, alpha, delta = np.random.default_rng(3), 200, 0.05, 0.1
    sets = [cut_off(rng.random(n)) for _ in range(300)]
    true = (1 - np.array([RiskThreshold.fit(GRID, losses, alpha, delta).value for losses in sets])) ** 2 / 2
    assert np.mean(true > alpha) <= delta and true.mean() > alpha / 4
    # On average is not for this one.
    plain = (1 - np.array([RiskThreshold.fit(GRID, losses, alpha).value for losses in sets])) ** 2 / 2
    assert np.mean(plain > alpha) > 1.5 * delta


def test_the_delta_bound_is_tight_enough_to_fail_when_it_is_loosened():
    """Of 0/1 losses Hoeffding's and Bentkus' tails leave some room, and not ten times as much."""
    rng, n, alpha, delta = np.random.default_rng(4), 200, 0.1, 0.1
    grid = np.linspace(0.8, 1, 201)
    sets = [rng.random(n)[:, None] > grid for _ in range(400)]

    def broken(delta):
        return np.mean([1 - RiskThreshold.fit(grid, losses, alpha, delta).value > alpha + 1e-9 for losses in sets])

    assert 0 < broken(delta) <= delta < broken(0.9)


def test_the_tails_are_those_of_the_papers():
    # No loss at all: (1 - risk)^n, which is Hoeffding's; Bentkus' has e more.
    assert tail(0.0, 50, 0.1) == pytest.approx(0.9**50)
    # e P(Bin(10, 1/2) <= 2) = e 56 / 1024 against exp(-10 h(0.2, 0.5)) with h = 0.2 ln 0.4 + 0.8 ln 1.6.
    hoeffding = math.exp(-10 * (0.2 * math.log(0.4) + 0.8 * math.log(1.6)))
    assert tail(0.2, 10, 0.5) == pytest.approx(min(hoeffding, math.e * 56 / 1024))
    assert tail(0.3, 10, 0.3) == 1.0 and tail(0.5, 10, 0.3) == 1.0
    # At most 6 of 10 at 0.9 are at least 4 failures; here Bentkus' bound is the smaller: 0.035 against 0.044.
    at_most_six = 1 - sum(math.comb(10, j) * 0.1**j * 0.9 ** (10 - j) for j in range(4))
    assert tail(0.6, 10, 0.9) == pytest.approx(math.e * at_most_six)


@pytest.mark.parametrize(("mean", "n", "delta"), [(0.0, 30, 0.05), (0.07, 200, 0.1), (0.5, 20, 0.01), (0.99, 10, 0.5)])
def test_the_upper_bound_is_where_the_tail_is_delta(mean, n, delta):
    found = upper_bound(mean, n, delta)
    assert mean < found < 1 and tail(mean, n, found) == pytest.approx(delta)
    assert upper_bound(5 * mean, n, delta, bound=5) == pytest.approx(5 * found)
    assert upper_bound(1.0, n, delta) == 1


def test_it_is_above_the_expectation_as_often_as_said():
    rng, n, delta = np.random.default_rng(5), 60, 0.1
    losses = rng.beta(0.5, 4.5, size=(300, n))
    covered = np.mean([upper_bound(mean, n, delta) >= 0.1 for mean in losses.mean(axis=1)])
    assert covered >= 1 - delta
    assert np.mean(losses.mean(axis=1) >= 0.1) < 1 - delta


@pytest.mark.parametrize(
    ("losses", "problem"),
    [
        (np.array([[0.1, 0.2, 0.1]]), "generation 0 does not"),
        (np.array([[0.1, 0.2], [0.1, 0.2], [0.2, 0.1]]), "generation 2 does not"),
        (np.array([[0.1, 1.5]]), "0.1 to 1.5; allowed: 0 to 1"),
        (np.array([[0.1, math.nan]]), "allowed: 0 to 1"),
        (np.empty((0, 2)), r"losses \[0, 2\]"),
    ],
)
def test_losses_that_it_cannot_bound_are_refused(losses, problem):
    with pytest.raises(ConfigError, match=problem):
        RiskThreshold.fit(np.arange(losses.shape[1]), losses, 0.2)


@pytest.mark.parametrize(
    "options", [{"alpha": 0}, {"alpha": 1}, {"alpha": 2, "bound": 2}, {"alpha": 0.1, "delta": 1.0}]
)
def test_shares_that_are_none_are_refused(options):
    with pytest.raises(ConfigError, match="allowed: alpha between"):
        RiskThreshold.fit([0, 1], np.zeros((9, 2)), **options)
    with pytest.raises(ConfigError, match="must rise"):
        RiskThreshold.fit([1, 1], np.zeros((9, 2)), 0.5)


def test_without_scipy_the_error_names_the_extra(monkeypatch):
    import sys

    assert RiskThreshold.fit([0, 1], np.zeros((9, 2)), 0.5).n == 9
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    with pytest.raises(risk.MissingExtra, match=r"sri-sdk\[train\]"):
        RiskThreshold.fit([0, 1], np.zeros((9, 2)), 0.5, 0.1)


def test_what_is_shown_ends_with_the_cell_of_the_alarm():
    scores = np.array([[0, 3, 1, 5], [0, 0, 0, 0]])
    assert shown_before_alarm(scores, np.array([-1, 0, 2, 3, 5])).tolist() == [
        [0.25, 0.5, 0.5, 1, 1], [0.25, 1, 1, 1, 1]
    ]  # fmt: skip
