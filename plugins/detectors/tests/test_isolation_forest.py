"""The forest is scikit-learn's own, and fits into a bundle."""

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest
from sri_exporter_onnx.exporter import OnnxExporter
from sri_plugin_detectors.isolation_forest import IsolationForestDetector

from sri_sdk.bundle.guard_graphs import prefix_graph
from sri_sdk.scoring.inspect.inspector import inspect


def noise(count, seed, *, level=0.0):
    return np.random.default_rng(seed).normal(level, 1, (count, 8, 1)).astype(np.float32)


@pytest.mark.parametrize("count", [20, 300])
def test_the_score_is_that_of_scikit_learn_turned_round(count):
    values, odd = noise(count, 0), noise(50, 1, level=1)
    forest = IsolationForest(n_estimators=100, max_samples=min(128, count), random_state=0).fit(values[..., 0])
    assert IsolationForestDetector().fit(values).score(odd) == pytest.approx(
        -forest.score_samples(odd[..., 0]), rel=1e-5
    )


def test_the_further_from_the_harmless_signals_the_higher_and_beyond_their_range_no_more():
    detector = IsolationForestDetector().fit(noise(300, 0))
    medians = [np.median(detector.score(noise(100, 1, level=level))) for level in (0, 1, 2, 4)]
    assert (np.diff(medians) > 0).all()
    far = np.float32([10, 20])[:, None, None] * np.ones((8, 1), np.float32)
    assert np.ptp(detector.score(far)) == 0


def test_another_seed_grows_another_forest():
    values = noise(100, 0)
    other = IsolationForestDetector(IsolationForestDetector.Config(seed=1)).fit(values)
    assert other.score(values).tolist() != IsolationForestDetector().fit(values).score(values).tolist()


def test_a_large_forest_is_within_the_limits_of_a_bundle():
    config = IsolationForestDetector.Config(trees=200, samples=256)
    detector = IsolationForestDetector(config).fit(noise(300, 0))
    inspect(OnnxExporter().compile(prefix_graph(detector, 8, 1, None)), "prefix")
