"""What detectors share that learn from harmless signals alone: promises, the same numbers in a graph, odd signals."""

import sys

import numpy as np
import pytest
from sri_exporter_onnx.exporter import OnnxExporter
from sri_plugin_detectors.gaussian_mixture import GaussianMixtureDetector
from sri_plugin_detectors.hesitation import HesitationDetector
from sri_plugin_detectors.isolation_forest import IsolationForestDetector
from sri_plugin_detectors.mahalanobis import MahalanobisDetector
from sri_plugin_detectors.nearest_neighbours import NearestNeighboursDetector
from sri_plugin_detectors.one_class_svm import OneClassSvmDetector

from sri_sdk.bundle.guard_graphs import signal_graph
from sri_sdk.calibrate.conformal import Threshold
from sri_sdk.errors import MissingExtra, ScoringError
from sri_sdk.scoring.runtime import load
from sri_sdk.testing import detector_checks

KINDS = [
    MahalanobisDetector,
    NearestNeighboursDetector,
    GaussianMixtureDetector,
    OneClassSvmDetector,
    IsolationForestDetector,
    HesitationDetector,
]
CHECKS = [pytest.param(check, id=f"{kind.called}-{check}") for kind in KINDS for check in detector_checks(kind)]


def signals(count, seed, *, dip=0.0, at=0.5, cells=12, layers=2):
    """Smooth harmless logits [count, cells, layers] around 5; `dip` digs a hole at `at`."""
    rng, t = np.random.default_rng(seed), np.linspace(0, 1, cells)[:, None]
    level = 5 + 0.6 * rng.normal(size=(count, 1, layers)) + 0.6 * rng.normal(size=(count, 1, 1)) * np.sin(5 * t)
    logit = level + 0.3 * rng.normal(size=(count, cells, layers)) - dip * np.exp(-(((t - at) / 0.1) ** 2))
    return logit.astype(np.float32)


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.called)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def fitted(kind):
    return kind().fit(signals(200, 0))


def drawn(detector, values):
    """Scores [N] of the exported graph, in onnxruntime."""
    score, valid = load(OnnxExporter().compile(signal_graph(detector, *values.shape[1:])), "signal")(
        ["score", "valid"], {"signals": values}
    )
    assert valid.all()
    return score


@pytest.mark.parametrize("check", CHECKS)
def test_a_benign_only_detector_keeps_its_promises(check):
    check()


@pytest.mark.parametrize("at", [0.2, 0.5, 0.8])
def test_a_dip_it_never_saw_scores_above_nearly_every_harmless_signal(fitted, at):
    harmless, attacks = fitted.score(signals(300, 1)), fitted.score(signals(100, 2, dip=6, at=at))
    if fitted.called == "isolation-forest":  # Few of its cuts look at the few cells of a dip.
        assert np.median(attacks) > np.quantile(harmless, 0.8)
    else:
        assert np.mean(attacks > np.quantile(harmless, 0.98)) > 0.9


def test_on_a_thousand_signals_the_graph_stays_within_the_tolerance_of_a_threshold(fitted):
    values = np.concatenate([signals(700, 3), signals(200, 4, dip=6), 8 * signals(100, 5)])
    scores, threshold = fitted.score(values), Threshold.fit(fitted.score(signals(300, 6)), alpha=0.01)
    assert (np.abs(drawn(fitted, values).astype(float) - scores) <= threshold.allowed(scores)).all()


@pytest.mark.parametrize(("cells", "layers"), [(32, 1), (7, 3), (2, 1), (1, 1)])
def test_other_grids_and_several_layers_are_learnt_and_drawn(kind, cells, layers):
    detector = kind().fit(signals(60, 0, cells=cells, layers=layers))
    values = signals(40, 1, cells=cells, layers=layers)
    assert drawn(detector, values) == pytest.approx(detector.score(values), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (MahalanobisDetector, {"shrinkage": "oas", "clip": 4.0}),
        (NearestNeighboursDetector, {"neighbours": 1, "most": 20, "clip": 4.0}),
        (GaussianMixtureDetector, {"covariance": "tied", "components": 30}),
        (GaussianMixtureDetector, {"mixtures": 1, "components": 1, "clip": 4.0}),
        (OneClassSvmDetector, {"nu": 0.9, "width": 0.1, "clip": 4.0}),
        (IsolationForestDetector, {"trees": 3, "samples": 64, "clip": 4.0}),
        (HesitationDetector, {"quantile": 0.3, "reach": 0.4, "softness": 0.01, "clip": 4.0}),
    ],
    ids=str,
)
def test_with_other_options_the_graph_computes_the_score_as_well(kind, options):
    detector = kind(kind.Config(**options)).fit(signals(60, 0))
    values = np.concatenate([signals(40, 1), signals(40, 2, dip=6), 8 * signals(20, 3)])
    assert drawn(detector, values) == pytest.approx(detector.score(values), rel=1e-4, abs=1e-4)
    assert detector.score(values).tolist() != kind().fit(signals(60, 0)).score(values).tolist()


def test_a_score_is_the_same_bit_for_bit_alone_and_in_any_order(fitted):
    values = np.concatenate([signals(40, 1), signals(40, 2, dip=6), 100 * signals(4, 3)])
    together, order = fitted.score(values), np.random.default_rng(0).permutation(len(values))
    assert fitted.score(values[order]).tobytes() == together[order].tobytes()
    assert np.concatenate([fitted.score(values[i : i + 1]) for i in range(len(values))]).tobytes() == together.tobytes()


def test_labels_are_ignored(kind):
    values = signals(60, 0)
    labelled = kind().fit(values, np.arange(60) % 2)
    assert labelled.score(values).tobytes() == kind().fit(values).score(values).tobytes()


def test_saturated_signals_have_finite_scores_above_the_usual_ones(fitted):
    usual = np.quantile(fitted.score(signals(300, 1)), 0.99)
    ends = np.stack([np.full((12, 2), end, np.float32) for end in (-1e4, -300, 300, 1e4)])
    scores = fitted.score(ends)
    assert np.isfinite(scores).all() and (scores[:2] > usual).all()
    # What is wholly on the harmless side is unusual, but no hesitation.
    assert ((scores[2:] < usual) if fitted.called == "hesitation" else (scores[2:] > usual)).all()
    assert drawn(fitted, ends[1:3]) == pytest.approx(scores[1:3], rel=1e-4, abs=1e-4)


def test_a_cell_that_never_varied_does_not_decide_alone(kind):
    values = signals(200, 0)
    values[:, -1] = 300
    detector = kind().fit(values)
    harmless, odd = signals(200, 1), signals(200, 1)
    harmless[:, -1], odd[:, -1] = 300, 29.99
    assert np.mean(detector.score(odd) > np.quantile(detector.score(harmless), 0.99)) < 0.1


def test_equal_signals_are_refused_and_leave_nothing_fitted(kind):
    detector = kind().fit(signals(60, 0))
    with pytest.raises(ScoringError, match="signals are equal"):
        detector.fit(np.full((60, 12, 2), 200, np.float32))
    with pytest.raises(ScoringError, match="not fitted"):
        detector.score(signals(2, 0))
    with pytest.raises(ScoringError, match="nothing to save"):
        detector.state()


def test_the_state_restores_bit_for_bit(kind, fitted, tmp_path):
    np.savez(tmp_path / "state.npz", allow_pickle=False, **fitted.state())
    with np.load(tmp_path / "state.npz", allow_pickle=False) as state:
        restored = kind().restore(dict(state))
    values = signals(20, 3)
    assert restored.score(values).tobytes() == fitted.score(values).tobytes()


def test_a_fit_without_scikit_learn_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.covariance", None)
    with pytest.raises(MissingExtra, match="train"):
        MahalanobisDetector().fit(signals(20, 0))


def test_mahalanobis_sees_cells_that_do_not_go_together():
    """All cells of a harmless signal have one level, far from the mean or near it; these have two, near it."""
    values = 3 * np.random.default_rng(0).normal(size=(300, 1, 1)).astype(np.float32) + signals(300, 1) / 10
    odd = signals(50, 2) / 10 + np.tile(np.float32([-1.5, 1.5]), 12).reshape(12, 2)
    detector, gap = MahalanobisDetector().fit(values), np.abs(odd - values.mean(axis=0)).max()
    assert np.mean(np.abs(values - values.mean(axis=0)).max(axis=(1, 2)) > gap) > 0.4
    assert detector.score(odd).min() > detector.score(values).max()


def test_mahalanobis_shrinks_by_either_estimate():
    config = MahalanobisDetector.Config
    by = [MahalanobisDetector(config(shrinkage=x)).fit(signals(30, 0)) for x in ("ledoit-wolf", "oas")]
    assert by[0].score(signals(5, 1)).tolist() != by[1].score(signals(5, 1)).tolist()
    with pytest.raises(ScoringError, match="allowed: up to 1536"):
        MahalanobisDetector().fit(signals(4, 0, cells=32, layers=49))
