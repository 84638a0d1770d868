import numpy as np
import pytest
from sri_exporter_onnx.exporter import OnnxExporter
from sri_plugin_detectors.autoencoder import AutoencoderDetector

from sri_sdk.bundle.guard_graphs import signal_graph
from sri_sdk.errors import ScoringError
from sri_sdk.scoring.runtime import load


def signals(count, seed, *, dip=0.0, layers=1):
    """Smooth signals near 1, some cells saturated; `dip` digs a hole in the middle."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, 32)[:, None]
    shape = 4 + rng.normal(size=(count, 1, layers)) + rng.normal(size=(count, 1, layers)) * np.sin(5 * t)
    logit = shape + 8 * t - dip * np.exp(-(((t - 0.5) / 0.08) ** 2))
    return (1 / (1 + np.exp(-logit))).astype(np.float32)


@pytest.fixture(scope="module")
def fitted():
    return AutoencoderDetector().fit(signals(300, 0))


def test_a_dip_it_never_saw_scores_above_nearly_every_harmless_signal(fitted):
    harmless, attacks = fitted.score(signals(300, 1)), fitted.score(signals(100, 2, dip=8))
    assert np.mean(attacks > np.quantile(harmless, 0.99)) > 0.9


def test_the_same_seed_learns_the_same_and_another_does_not(fitted):
    again = AutoencoderDetector().fit(signals(300, 0))
    other = AutoencoderDetector(AutoencoderDetector.Config(seed=1)).fit(signals(300, 0))
    test = signals(20, 3)
    assert again.score(test).tobytes() == fitted.score(test).tobytes() != other.score(test).tobytes()


def test_the_state_is_plain_arrays_and_restores_bit_for_bit(fitted, tmp_path):
    np.savez(tmp_path / "state.npz", allow_pickle=False, **fitted.state())
    with np.load(tmp_path / "state.npz", allow_pickle=False) as state:
        restored = AutoencoderDetector().restore(dict(state))
    test = signals(20, 3)
    assert restored.score(test).tobytes() == fitted.score(test).tobytes()


@pytest.mark.parametrize("layers", [1, 3])
def test_the_graph_computes_the_score(layers):
    detector = AutoencoderDetector(AutoencoderDetector.Config(hidden=(16, 4), epochs=20)).fit(
        signals(50, 0, layers=layers)
    )
    test = signals(40, 3, layers=layers)
    score, valid = load(OnnxExporter().compile(signal_graph(detector, 32, layers)), "signal")(
        ["score", "valid"], {"signals": test}
    )
    assert valid.all()
    assert score == pytest.approx(detector.score(test), rel=1e-4)


def test_scoring_leaves_the_input_and_the_neighbours_alone(fitted):
    test = signals(20, 3)
    kept = test.copy()
    together = fitted.score(test)
    assert test.tobytes() == kept.tobytes()
    assert together == pytest.approx([fitted.score(test[i : i + 1])[0] for i in range(20)], rel=1e-5)


def test_what_it_cannot_learn_from_is_refused():
    with pytest.raises(ScoringError, match="15 signals, at least 16"):
        AutoencoderDetector().fit(signals(15, 0))
    bad = signals(20, 0)
    bad[4, 2] = np.nan
    with pytest.raises(ScoringError, match="signal 4 holds NaN"):
        AutoencoderDetector().fit(bad)
    with pytest.raises(ScoringError, match="same score"):
        AutoencoderDetector().fit(np.ones((20, 32, 1), np.float32))


def test_what_it_cannot_score_is_refused(fitted):
    with pytest.raises(ScoringError, match="not fitted"):
        AutoencoderDetector().score(signals(2, 0))
    with pytest.raises(ScoringError, match=r"fitted on \[N, 32, 1\]"):
        fitted.score(signals(2, 0)[:, :31])
    with pytest.raises(ScoringError, match="signal 0 holds NaN"):
        fitted.score(np.full((2, 32, 1), np.nan, np.float32))


def test_a_fit_that_failed_leaves_a_detector_that_is_not_fitted():
    detector = AutoencoderDetector()
    with pytest.raises(ScoringError, match="same score"):
        detector.fit(np.ones((20, 4, 1), np.float32))
    with pytest.raises(ScoringError, match="not fitted"):
        detector.score(np.ones((2, 4, 1), np.float32))
    with pytest.raises(ScoringError, match="nothing to save"):
        detector.state()
