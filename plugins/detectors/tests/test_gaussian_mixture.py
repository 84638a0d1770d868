"""What the mixture's score is, and what it sees."""

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sri_plugin_detectors.gaussian_mixture import GaussianMixtureDetector


def made(**options):
    return GaussianMixtureDetector(GaussianMixtureDetector.Config(**options))


def two_kinds(count, seed, *, between=False):
    """Logits [count, 8, 1] around -4 or 4, or, `between` them, around 0."""
    rng = np.random.default_rng(seed)
    level = np.zeros(count) if between else rng.choice([-4.0, 4.0], count)
    return (level[:, None, None] + rng.normal(size=(count, 8, 1))).astype(np.float32)


@pytest.mark.parametrize("covariance", ["diag", "tied"])
@pytest.mark.parametrize("components", [2, 20])
def test_the_score_is_the_negative_log_likelihood_of_a_density_over_all_cells(covariance, components):
    detector = made(covariance=covariance, components=components, mixtures=2).fit(two_kinds(200, 0))
    s = {name: array.astype(float) for name, array in detector.state().items()}
    values, weights, logs = two_kinds(20, 1), [], []
    outside = (np.eye(8) - s["into"] @ s["back"]) / (2 * s["noise"])
    for mean, inverse, cost in zip(s["means"], s["inverse"], s["cost"], strict=True):
        full = multivariate_normal(s["centre"] + mean @ s["back"], (s["back"].T / inverse**2) @ s["back"] + outside)
        # At a mean, the score is that of the Gaussian's weight and of its density there.
        weights.append(np.exp(-cost - full.logpdf(full.mean)))
        logs.append(np.log(weights[-1]) + full.logpdf(values[..., 0]))
    assert sum(weights) == pytest.approx(1, rel=1e-3)
    assert detector.score(values) == pytest.approx(-logsumexp(logs, axis=0), rel=1e-4)


@pytest.mark.parametrize("covariance", ["diag", "tied"])
def test_between_two_kinds_of_harmless_traffic_a_signal_is_suspicious(covariance):
    detector = made(covariance=covariance, mixtures=2).fit(two_kinds(300, 0))
    usual = detector.score(two_kinds(300, 1))
    assert np.median(detector.score(two_kinds(100, 2, between=True))) > np.quantile(usual, 0.99)


def test_a_change_outside_the_principal_components_is_seen():
    rng = np.random.default_rng(0)
    values = (rng.normal(size=(200, 1, 1)) * np.ones((1, 8, 1)) + 0.05 * rng.normal(size=(200, 8, 1))).astype(
        np.float32
    )
    detector = made(components=1).fit(values)
    odd = values + np.tile(np.float32([1, -1]), 4)[:, None]
    assert detector.state()["into"].shape == (8, 1)
    assert detector.score(odd).min() > detector.score(values).max()
