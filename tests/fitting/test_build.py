from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sri_exporter_onnx.exporter import OnnxExporter
from sri_plugin_detectors.autoencoder import AutoencoderDetector
from sri_plugin_toy.detector import ToyDetector

from sri_sdk.bundle.manifest import Rate
from sri_sdk.errors import BundleError, ConfigError, ModelMismatch, ScoringError
from sri_sdk.files import claimed
from sri_sdk.fitting.artefacts import write_guard
from sri_sdk.fitting.build import calibrate_guard, export_guard, fit_guard
from sri_sdk.scoring.scorer import Scorer


class Liar(ToyDetector):
    """Draws something else than it scores."""

    def export(self, graph, signals):
        return super().export(graph, signals) * 1.001


class Constant(ToyDetector):
    def export(self, graph, signals):
        return super().export(graph, signals) * 0


@pytest.fixture
def folds(make_signals):
    return make_signals(50, 1), make_signals(50, 2), make_signals(99, 3)


@pytest.fixture
def fit(anchors, folds, tmp_path):
    def call(detector=None, folds=folds, **options):
        options = {"alpha": 0.05, "exporter": OnnxExporter(), "target": tmp_path / "bundle", **options}
        return fit_guard(detector or ToyDetector(), "toy", *folds, anchors=anchors, **options)

    return call


def test_thresholds_are_order_statistics_of_onnxruntimes_own_scores(fit, folds):
    bundle = fit()
    scorer = Scorer.open(bundle.path)
    scores = np.sort(scorer.score_final(folds[2].sigma)[0])
    threshold = scorer.thresholds["final"]
    assert threshold.scores.tobytes() == scores.tobytes()
    assert threshold.value == pytest.approx(scores[94], abs=2 * threshold.tolerance)
    assert sum(v.status == "flagged" for v in scorer.score(folds[2])) == 4
    assert sum(v.status == "flagged" for v in scorer.score(folds[2], rule="online")) == 4


def test_a_detector_that_draws_something_else_is_refused_and_leaves_nothing(fit, tmp_path):
    with pytest.raises(BundleError, match="graph signal: onnxruntime scores"):
        fit(Liar())
    assert list(tmp_path.iterdir()) == []


def test_a_constant_score_is_a_bug(fit):
    with pytest.raises(ScoringError, match="scores must vary"):
        fit(Constant())


def test_bad_signals_raise_at_fit_time_and_name_the_prompt(fit, folds):
    sigma = folds[2].sigma.copy()
    sigma[7, 3] = np.nan
    with pytest.raises(ScoringError, match="'g3-7' cannot be scored"):
        fit(folds=(*folds[:2], replace(folds[2], sigma=sigma)))


def test_alpha_out_of_reach_is_said_before_anything_is_written(fit, tmp_path):
    with pytest.raises(ConfigError, match="n = 99"):
        fit(alpha=0.001)
    assert list(tmp_path.iterdir()) == []


def test_folds_of_another_model_are_refused(fit, folds):
    print_ = folds[1].fingerprint
    foreign = replace(folds[1], fingerprint={**print_, "hard": {**print_["hard"], "architecture": "Other"}})
    with pytest.raises(ModelMismatch, match="reference signals: architecture"):
        fit(folds=(folds[0], foreign, folds[2]))


def test_a_refit_replaces_the_bundle_and_a_failed_one_keeps_it(fit):
    first = fit()
    assert fit(alpha=0.1).digest != first.digest
    second = fit(alpha=0.2)
    with pytest.raises(BundleError):
        fit(Liar())
    assert Scorer.open(second.path).bundle.digest == second.digest


def test_rates_measured_later_are_stated_in_the_manifest(anchors, folds, tmp_path):
    detector = ToyDetector().fit(folds[0].sigma)
    parts = calibrate_guard(detector, "toy", *folds[1:], anchors=anchors, exporter=OnnxExporter(), alpha=0.05)
    rate = Rate(name="harmless_flagged", k=3, n=100, low=0.01, high=0.08)
    bundle = export_guard(replace(parts, rates=(rate,)), OnnxExporter(), tmp_path / "bundle")
    assert bundle.manifest.rates == (rate,)


@pytest.mark.parametrize("value", [2**53, float("nan")])
def test_a_guard_whose_manifest_readers_would_refuse_is_not_exported(anchors, folds, tmp_path, value):
    detector = ToyDetector().fit(folds[0].sigma)
    parts = calibrate_guard(detector, "toy", *folds[1:], anchors=anchors, exporter=OnnxExporter(), alpha=0.05)
    odd = replace(parts, anchors=replace(anchors, provenance={"seed": value}))
    with pytest.raises(BundleError, match=r"manifest: anchors\.provenance\.seed: "):
        export_guard(odd, OnnxExporter(), tmp_path / "bundle")
    with pytest.raises(BundleError, match=r"provenance\.seed: "):
        write_guard(tmp_path / "guard", odd, OnnxExporter())
    assert list(tmp_path.rglob("*.*")) == []


def test_two_fits_of_one_folder_replace_the_guard_one_after_the_other(anchors, folds, tmp_path, monkeypatch):
    detector, out = ToyDetector().fit(folds[0].sigma), tmp_path / "guard"
    parts = calibrate_guard(detector, "toy", *folds[1:], anchors=anchors, exporter=OnnxExporter(), alpha=0.05)
    moved, replace_one, rename = [], Path.replace, Path.rename

    def seen(move):
        def moves(self, target):
            with claimed(out / "bundle") as free:
                moved.append((Path(target), free))
            return move(self, target)

        return moves

    monkeypatch.setattr(Path, "replace", seen(replace_one))
    monkeypatch.setattr(Path, "rename", seen(rename))
    for _ in range(2):
        write_guard(out, parts, OnnxExporter())
    into = [free for target, free in moved if target.parent == out]
    assert len(into) == 6 and not any(into)
    assert not list(out.glob(".*"))


def test_delta_is_recorded_and_raises_the_threshold(fit, folds, make_signals):
    folds = (*folds[:2], make_signals(400, 3))
    plain, sure = (fit(folds=folds, alpha=0.02, delta=delta).manifest.rules["final"] for delta in (None, 0.1))
    assert sure.delta == 0.1
    assert sure.rank > plain.rank
    assert sure.value > plain.value


def test_stated_attacks_among_the_calibration_generations_raise_the_rank_and_stand_in_the_manifest(fit):
    plain, stated = (fit(contamination=share).manifest for share in (0, 0.03))
    assert "calibration" not in plain.producer
    assert stated.producer["calibration"].startswith("up to 3 % of the generations may be attacks")
    assert [m.rules[rule].rank for m in (plain, stated) for rule in ("final", "online")] == [95, 95, 96, 96]


def test_the_full_graph_is_self_tested_too(fit):
    bundle = fit(exporter=OnnxExporter(OnnxExporter.Config(full=True)))
    golden = bundle.manifest.golden["full"]
    assert golden.valid.unpack().tolist() == [True, True, False, False]
    assert golden.inputs == {}


def test_the_step_graph_is_self_tested_at_steps_that_exist_and_at_others(fit):
    bundle = fit(exporter=OnnxExporter(OnnxExporter.Config(step=True)))
    assert bundle.manifest.sensitive
    golden = bundle.manifest.golden["step"]
    assert golden.inputs.keys() == {"step", "state"}
    assert golden.inputs["step"].unpack().tolist()[-6:] == [-2, 32, -1, 2**62, 0, 0]
    valid = golden.valid.unpack().tolist()
    assert valid == [True] * (len(valid) - 10) + [False] * 10


def test_signals_that_saturate_are_fitted_with_room_for_rounding(anchors, make_signals, tmp_path):
    """Harmless cells differ from 1 by a few last bits: scores differ by rounding more than from each other."""
    folds = [make_signals(100, seed) for seed in (1, 2, 3)]
    folds = [replace(f, sigma=(1 - 1e-5 * np.abs(np.tanh(f.logit))).astype(np.float32)) for f in folds]
    bundle = fit_guard(
        AutoencoderDetector(), "autoencoder", *folds, anchors=anchors, exporter=OnnxExporter(), alpha=0.05,
        target=tmp_path / "bundle",
    )  # fmt: skip
    rule = bundle.manifest.rules["final"].threshold()
    assert rule.tolerance > 1e-4 * (np.quantile(rule.scores, 0.99) - np.median(rule.scores))
    verdicts = Scorer.open(tmp_path / "bundle").score(folds[2])
    assert sum(v.status == "flagged" for v in verdicts) <= 5


def test_a_zip_replaces_a_folder_and_a_folder_a_zip(fit):
    zipped = OnnxExporter(OnnxExporter.Config(zip=True))
    digest = fit().digest
    for exporter, is_file in [(zipped, True), (OnnxExporter(), False)]:
        bundle = fit(exporter=exporter)
        assert (bundle.digest, bundle.path.is_file()) == (digest, is_file)
        assert [x.name for x in bundle.path.parent.iterdir()] == ["bundle"]
