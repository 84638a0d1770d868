"""The machine's own order, without its saturation."""

import numpy as np
import pytest
from sklearn.svm import OneClassSVM
from sri_exporter_onnx.exporter import OnnxExporter
from sri_plugin_detectors.one_class_svm import OneClassSvmDetector

from sri_sdk.bundle.guard_graphs import prefix_graph
from sri_sdk.scoring.inspect.inspector import inspect


def made(**options):
    return OneClassSvmDetector(OneClassSvmDetector.Config(**options))


def noise(count, seed, *, cells=8, layers=1):
    return np.random.default_rng(seed).normal(3, 1, (count, cells, layers)).astype(np.float32)


@pytest.mark.parametrize(("nu", "width"), [(0.05, 1.0), (0.5, 3.0)])
def test_the_score_is_the_logarithm_of_the_bound_over_the_sum_of_kernels(nu, width):
    values, odd = noise(100, 0), 2 * noise(20, 1) - 3
    centre, spread = values.mean(axis=0), np.sqrt(values.var(axis=0) + 0.1**2)
    machine = OneClassSVM(nu=nu, gamma=1 / (8 * width)).fit(((values - centre) / spread)[..., 0])
    expected = np.log(machine.offset_ / machine.score_samples(((odd - centre) / spread)[..., 0]))
    assert made(nu=nu, width=width).fit(values).score(odd) == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_about_nu_of_the_training_signals_are_outside():
    values = noise(400, 0)
    assert 0.15 < np.mean(made(nu=0.2).fit(values).score(values) > 0) < 0.25


def test_far_out_signals_are_told_apart_where_every_kernel_is_zero():
    detector = made().fit(noise(100, 0))
    far = detector.score(np.float32([-8, -12, -20, -29])[:, None, None] + np.zeros((8, 1), np.float32))
    assert np.isfinite(far).all() and (np.diff(far) > 10).all()


def test_of_many_signals_some_are_learnt_and_a_seed_says_which():
    values, odd = noise(200, 0), noise(5, 1)
    few = made(most=30, nu=0.9).fit(values)
    assert len(few.state()["points"]) <= 30
    assert few.score(odd).tolist() == made(most=30, nu=0.9).fit(values).score(odd).tolist()
    assert few.score(odd).tolist() != made(most=30, nu=0.9, seed=1).fit(values).score(odd).tolist()


def test_the_graph_stays_within_the_limits_of_a_bundle_where_every_signal_is_a_support_vector():
    detector = made(nu=0.999, most=10**6).fit(noise(300, 0, cells=32, layers=32))
    assert len(detector.state()["points"]) > 250
    inspect(OnnxExporter().compile(prefix_graph(detector, 32, 32, None)), "prefix")
