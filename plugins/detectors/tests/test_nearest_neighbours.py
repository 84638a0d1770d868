"""What nearest neighbours are good for, and how many a bundle can carry."""

import numpy as np
import pytest
from sri_exporter_onnx.exporter import OnnxExporter
from sri_plugin_detectors.nearest_neighbours import NearestNeighboursDetector

from sri_sdk.bundle.guard_graphs import prefix_graph
from sri_sdk.errors import ScoringError
from sri_sdk.scoring.inspect.inspector import inspect


def made(**options):
    return NearestNeighboursDetector(NearestNeighboursDetector.Config(**options))


def noise(count, seed, *, cells=8, layers=1, level=0.0):
    return np.random.default_rng(seed).normal(level, 1, (count, cells, layers)).astype(np.float32)


def test_between_two_kinds_of_harmless_traffic_a_signal_is_suspicious():
    detector = made().fit(np.concatenate([noise(100, 0, level=-5), noise(100, 1, level=5)]))
    kinds = np.concatenate([noise(50, 2, level=-5), noise(50, 3, level=5)])
    assert detector.score(noise(50, 4)).min() > detector.score(kinds).max()


def test_the_score_is_the_mean_distance_to_the_nearest():
    values, odd = noise(50, 0), noise(3, 1)
    spread = np.sqrt(values.var(axis=0) + 0.1**2)
    distances = np.sqrt((((odd[:, None] - values) / spread) ** 2).mean(axis=(2, 3)))
    for neighbours in (1, 3, 50):
        nearest = np.sort(distances, axis=1)[:, :neighbours].mean(axis=1)
        assert made(neighbours=neighbours).fit(values).score(odd) == pytest.approx(nearest, rel=1e-5)


def test_a_saturated_signal_that_was_seen_is_at_distance_zero_and_one_close_by_is_told_apart():
    values = noise(200, 0)
    values[:3] = 29 + 0.01 * noise(3, 1)
    detector = made(neighbours=1).fit(values)
    close = values[:3] + np.float32(0.001)
    assert detector.score(values[:3]).tolist() == [0, 0, 0]
    assert detector.score(close) == pytest.approx((0.001 / np.sqrt(values.var(axis=0).mean())).repeat(3), rel=0.2)


def test_of_many_signals_some_are_kept_and_a_seed_says_which():
    values, odd = noise(100, 0), noise(5, 1)
    few = made(most=20).fit(values)
    assert few.state()["points"].shape == (20, 8)
    assert few.score(odd).tolist() == made(most=20).fit(values).score(odd).tolist()
    assert few.score(odd).tolist() != made(most=20, seed=1).fit(values).score(odd).tolist()


@pytest.mark.parametrize(("cells", "layers"), [(32, 1), (64, 64)])
def test_the_graph_of_the_largest_fit_is_within_the_limits_of_a_bundle(cells, layers):
    detector = made(most=10**6).fit(noise(2**18 // (cells * layers) + 9, 0, cells=cells, layers=layers))
    inspect(OnnxExporter().compile(prefix_graph(detector, cells, layers, None)), "prefix")


@pytest.mark.parametrize("options", [{"neighbours": 11}, {"neighbours": 8, "most": 7}])
def test_fewer_signals_than_neighbours_are_refused(options):
    with pytest.raises(ScoringError, match="of 10 signals"):
        made(**options).fit(noise(10, 0))
