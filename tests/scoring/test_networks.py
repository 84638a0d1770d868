"""Guards of the tier `python`: what torch and scikit-learn made, from the fit to the verdict."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from sri_exporter_onnx.exporter import OnnxExporter

from sri_sdk.bundle.bundle import Bundle
from sri_sdk.cli import main
from sri_sdk.errors import BundleError
from sri_sdk.fitting.build import fit_guard
from sri_sdk.scoring import scorer as scorer_module
from sri_sdk.scoring import trial
from sri_sdk.scoring.scorer import Scorer
from sri_sdk.testing import detector_checks

from . import crafted, fuzz
from .networks import BoundaryDetector, ForesightDetector

MAKE = {
    "network": lambda: ForesightDetector(ForesightDetector.Config(width=4, epochs=40)),
    "boundary": BoundaryDetector,
}
EXPORTER = OnnxExporter(OnnxExporter.Config(full=True, step=True))


@pytest.fixture(scope="module")
def fit(anchors, make_signals):
    folds = make_signals(100, 1), make_signals(60, 2), make_signals(99, 3)

    def call(detector, target):
        return fit_guard(detector, "own", *folds, anchors=anchors, exporter=EXPORTER, alpha=0.05, target=target)

    return call


@pytest.fixture(scope="module", params=list(MAKE))
def made(request, fit, tmp_path_factory):
    """A detector and its bundle with all four graphs."""
    detector = MAKE[request.param]()
    return detector, fit(detector, tmp_path_factory.mktemp("guard") / "bundle")


def test_the_bundle_finds_planted_attacks_and_clears_the_harmless(made, make_signals):
    _, bundle = made
    scorer = Scorer.open(bundle.path)
    assert scorer.manifest.detector.tier == "python"
    for rule in ("final", "online"):
        attacks, harmless = (
            sum(v.status == "flagged" for v in scorer.score(signals, rule=rule))
            for signals in (make_signals(50, 7, dip=5.0), make_signals(50, 8))
        )
        assert attacks >= 45
        assert harmless <= 8


def test_every_graph_of_it_is_that_of_the_detector(made, make_signals):
    detector, bundle = made
    signals = make_signals(20, 9)
    scores, valid = Scorer.open(bundle.path).score_final(signals.domain(detector.domain))
    assert valid.all()
    assert scores == pytest.approx(detector.score(signals.domain(detector.domain)), rel=1e-4, abs=1e-5)
    done = CliRunner().invoke(main, ["bundle", "verify", str(bundle.path)])
    assert done.exit_code == 0, done.output
    assert bundle.manifest.graphs.keys() == bundle.manifest.golden.keys() == {"signal", "prefix", "full", "step"}


def test_scoring_it_loads_neither_torch_nor_scikit_learn(made):
    code = """
import sys
from sri_sdk import Scorer
Scorer.open(sys.argv[1])
assert not {"torch", "sklearn", "skl2onnx", "onnx"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code, str(made[1].path)], check=True)


def test_the_same_guard_gives_the_same_bytes_without_a_word_of_where_it_was_made(made, fit, tmp_path):
    detector, bundle = made
    assert fit(type(detector)(detector.config), tmp_path / "bundle").digest == bundle.digest
    for content in bundle.files.values():
        model = onnx.load_from_string(content)
        assert model.producer_name == "sri-sdk"
        assert not any(node.name or node.doc_string or node.metadata_props for node in model.graph.node)
        assert not any(word in content for word in (b"memory", b"networks", b"pytorch", b"skl2onnx"))


def test_a_portable_detector_must_not_embed(fit, tmp_path):
    class Portable(BoundaryDetector):
        tier = "portable"

    with pytest.raises(BundleError, match=r"graph signal: Portable.export embeds .* Write `tier = \"python\"`"):
        fit(Portable(), tmp_path / "bundle")
    assert not list(tmp_path.iterdir())


def test_one_that_scores_otherwise_than_the_network_it_embeds_is_refused(fit, tmp_path):
    class Double(ForesightDetector):
        def score(self, signals):
            return super().score(signals) * 2

    with pytest.raises(BundleError, match="graph signal: onnxruntime scores"):
        fit(Double(), tmp_path / "bundle")


def test_scores_that_mix_rows_are_refused(fit, tmp_path):
    class Mixed(BoundaryDetector):
        """Forgets to drop the column, so that rows and columns are broadcast into a square."""

        def export(self, graph, signals):
            rows = graph.reshape(signals, [-1, int(np.prod(self._state["shape"]))])
            return graph.embed(self._state["model"].tobytes(), rows, output="scores") * -1.0

    with pytest.raises(BundleError, match=r"one number per generation|no valid ONNX model"):
        fit(Mixed(), tmp_path / "bundle")


@pytest.mark.parametrize("check", detector_checks(MAKE["network"]), ids=str)
def test_it_passes_the_checks_of_detectors(check):
    check()


def test_a_bundle_of_strangers_is_tried_in_a_process_with_limits_before_it_is_loaded(made, monkeypatch):
    bundle = made[1]
    monkeypatch.setattr(scorer_module, "load", lambda *_: pytest.fail("loaded here"))
    monkeypatch.setattr(trial.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], -9, b"", b""))
    with pytest.raises(BundleError, match=r"tier python, and its trial ended with -9.*digest or the public key"):
        Scorer.open(bundle.path)
    monkeypatch.undo()
    monkeypatch.setattr(scorer_module, "trial", lambda *_: pytest.fail("tried, although somebody vouches for it"))
    assert Scorer.open(bundle.path, digest=bundle.digest)


@pytest.fixture
def stranger(tmp_path):
    """stranger(proto): a bundle of the tier `python` whose graph `signal` was replaced, with hashes that fit."""

    def call(proto):
        members = Bundle.read(fuzz.SOURCES / fuzz.FLIPPED / "bundle").members
        members["signal.onnx"] = crafted.dressed(proto, crafted.CELLS).SerializeToString()
        members.pop("manifest.sig")
        (tmp_path / "bundle").mkdir()
        for name, content in fuzz.hashed(members, json.loads(members["manifest.json"])).items():
            (tmp_path / "bundle" / name).write_bytes(content)
        return tmp_path / "bundle"

    return call


def test_what_the_trial_refuses_says_why(stranger):
    with pytest.raises(BundleError, match=r"signal\.onnx: .*'Loop' is not allowed"):
        Scorer.open(stranger(crafted.endless_loop()))


@pytest.mark.parametrize("how", ["one square", "many tensors", "many products"])
def test_a_graph_that_exhausts_the_trial_never_reaches_this_process(stranger, monkeypatch, how):
    monkeypatch.setattr(trial, "SECONDS", 5)
    monkeypatch.setattr(scorer_module, "load", lambda *_: pytest.fail("loaded here"))
    with pytest.raises(BundleError, match=r"onnxruntime fails on|its trial (ended|did not)"):
        Scorer.open(stranger(crafted.exhausting(how)))


def test_verify_uses_the_trial_too_and_inspect_runs_nothing(stranger, monkeypatch):
    folder = str(stranger(crafted.exhausting("one square")))
    monkeypatch.setattr(scorer_module, "load", lambda *_: pytest.fail("loaded here"))
    verified = CliRunner().invoke(main, ["bundle", "verify", folder])
    assert verified.exit_code == 1
    assert "onnxruntime fails on" in verified.stderr
    assert CliRunner().invoke(main, ["bundle", "inspect", folder]).exit_code == 0


def test_a_trial_that_ends_early_without_an_error_is_no_success(made, monkeypatch):
    monkeypatch.setattr(trial.sys, "executable", "/bin/true")
    with pytest.raises(BundleError, match="its trial ended with 0"):
        Scorer.open(made[1].path)


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_a_graph_starts_no_threads(made):
    before = len(list(Path("/proc/self/task").iterdir()))
    scorer = Scorer.open(made[1].path)
    scorer.score_final(np.full((64, *scorer._shape), 0.5, np.float32))
    assert len(list(Path("/proc/self/task").iterdir())) <= before
