"""The checks of a detector: first-party ones pass, and each broken one is caught by exactly its check."""

import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from sri_plugin_detectors.autoencoder import AutoencoderDetector
from sri_plugin_toy.detector import ToyDetector

from sri_sdk.errors import ConformanceError, ScoringError
from sri_sdk.graph.builder import Value
from sri_sdk.testing import detector_checks, run_checks
from sri_sdk.testing.planted import CELLS, LAYERS, NotChecked, PlantedDetector, planted_signals
from tests.testing.planted_detectors import FAULTS


@pytest.mark.parametrize("check", detector_checks(ToyDetector), ids=str)
def test_toy(check):
    check()


@pytest.mark.parametrize("check", detector_checks(AutoencoderDetector), ids=str)
def test_autoencoder(check):
    check()


@pytest.mark.parametrize("check", detector_checks(PlantedDetector), ids=str)
def test_the_kits_own(check):
    check()


# -- one broken detector per check -----------------------------------------------------------------------------


def wide_score():
    class Broken(PlantedDetector):
        def score(self, signals):
            return super().score(signals).astype(np.float64)

    return Broken


def constant():
    class Broken(PlantedDetector):
        def score(self, signals):
            return 0 * super().score(signals)

        def export(self, graph, signals):
            return super().export(graph, signals) * 0

    return Broken


def upside_down():
    class Broken(PlantedDetector):
        def score(self, signals):
            return -super().score(signals)

        def export(self, graph, signals):
            return super().export(graph, signals) * -1

    return Broken


def scaled_by_the_batch():
    class Broken(PlantedDetector):
        def score(self, signals):
            scores = super().score(signals)
            return scores * np.float32(1 + 1e-5 * len(scores))

    return Broken


def writes_into_its_input():
    class Broken(PlantedDetector):
        def score(self, signals):
            scores = super().score(signals)
            signals -= self._mean
            return scores

    return Broken


def broadcasts_a_short_signal():
    class Broken(PlantedDetector):
        def score(self, signals):
            if signals.shape[1] == 1:
                signals = np.repeat(signals, CELLS, axis=1)
            return super().score(signals)

    return Broken


def calls_nan_harmless():
    class Broken(PlantedDetector):
        def score(self, signals):
            return super().score(np.nan_to_num(signals, posinf=0, neginf=0))

    return Broken


def scores_unfitted():
    class Broken(PlantedDetector):
        def score(self, signals):
            return super().score(signals) if self._mean.size else np.zeros(len(signals), dtype=np.float32)

    return Broken


def remembers_earlier_fits():
    class Broken(PlantedDetector):
        def fit(self, signals, labels=None):
            before = self._mean
            super().fit(signals)
            if before.size:
                self._mean = (self._mean + before) / 2
            return self

    return Broken


def state_of_bytes():
    class Broken(PlantedDetector):
        def state(self):
            return {**super().state(), "extra": np.frombuffer(b"\x80\x04]\x94.", dtype=np.uint8)}

    return Broken


def forgets_half():
    class Broken(PlantedDetector):
        _scale = np.float32(1)

        def fit(self, signals, labels=None):
            super().fit(signals)
            self._scale = np.float32(3)
            return self

        def score(self, signals):
            return super().score(signals) * self._scale

        def export(self, graph, signals):
            return super().export(graph, signals) * self._scale

    return Broken


def draws_something_else():
    class Broken(PlantedDetector):
        def score(self, signals):
            return super().score(signals) / (CELLS * LAYERS)

    return Broken


def draws_a_batch_of_one():
    class Broken(PlantedDetector):
        def export(self, graph, signals):
            return super().export(graph, graph.reshape(signals, [1, CELLS, LAYERS]))

    return Broken


def draws_from_the_input():
    class Broken(PlantedDetector):
        def export(self, graph, signals):
            return super().export(graph, Value(graph, "signals", "float32"))

    return Broken


BROKEN = {
    "one-score-per-row": (wide_score, r"Broken\.score\(\) of 1 signals: float64 \[1\], must be float32 \[1\]"),
    "not-constant": (constant, "1 different values for 48 harmless signals"),
    "direction": (upside_down, r"AUROC 0\.00 on planted attacks of depth 3, at least 0\.8"),
    "row-order-and-company-irrelevant": (scaled_by_the_batch, "scored one at a time, a score moves by up to 0"),
    "input-untouched": (writes_into_its_input, r"score\(\) changes its input: 3072 of 3072 cells, by up to"),
    "wrong-length-refused": (broadcasts_a_short_signal, r"score\(\) of \[4, 1, 2\], another T .* returns"),
    "nan-refused": (
        calls_nan_harmless,
        r"score\(\) of a signal with nan in cell 0, layer 0 returns .* must raise ScoringError",
    ),
    "unfitted-refused": (scores_unfitted, r"score\(\) before fit\(\) returns 0, must raise ScoringError"),
    "refit-equals-fit": (remembers_earlier_fits, "a detector fitted before, .* scores 96 of 96 signals differently"),
    "state-is-plain": (state_of_bytes, "'extra' holds 5 bytes that look like a pickle"),
    "restored-equals": (forgets_half, "by a fresh instance, the detector scores 96 of 96 signals differently"),
    "graph-parity": (draws_something_else, r"export\(\): drawn, a score moves by up to"),
    "graph-scores-batches": (draws_a_batch_of_one, "does not fit its inputs"),
    "prefix-at-full-length-equals-signal": (draws_from_the_input, "signals give scores .*, 0 of them valid"),
}


ALSO = {
    "one-score-per-row": {"other-shapes"},
    "not-constant": {"saturated-cells-are-learnt"},
    "row-order-and-company-irrelevant": {"graph-parity", "prefix-at-full-length-equals-signal", "other-shapes"},
    "graph-parity": {"prefix-at-full-length-equals-signal", "other-shapes"},
    "graph-scores-batches": {"graph-parity", "prefix-at-full-length-equals-signal", "other-shapes"},
}
"""Checks that compare with the very score that is broken, or need a graph that the inspector lets pass."""


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.filterwarnings("ignore::sri_sdk.testing.planted.NotChecked")
def test_a_broken_detector_is_caught_by_its_check_and_no_other(name):
    broken, message = BROKEN[name]
    results = {result.name: result for result in run_checks(detector_checks(broken()))}
    wrong = {each for each, result in results.items() if result.state != "passed"}
    # A graph is also wrong where the scores it must reproduce are.
    assert name in wrong and results[name].state == "failed"
    assert wrong <= {name, *ALSO.get(name, set())}
    assert re.search(message, results[name].message), results[name].message


@pytest.mark.parametrize("detector", FAULTS, ids=lambda detector: detector.__name__)
def test_a_planted_fault_is_caught_and_its_cause_named(detector):
    name, message = FAULTS[detector]
    (result,) = run_checks(check for check in detector_checks(detector) if check.name == name)
    assert result.state == "failed" and re.search(message, result.message), result.message


def test_every_check_has_its_broken_detector():
    caught = {*BROKEN, *(name for name, _ in FAULTS.values()), "options-are-kept", "no-pickle"}
    assert {check.name for check in detector_checks(PlantedDetector)} == caught
    assert all(len(check.promise) > 40 for check in detector_checks(PlantedDetector))


@pytest.fixture
def vendored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes a module and imports its class `Vendored`."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(name: str, source: str):
        (tmp_path / f"{name}.py").write_text(source)
        importlib.invalidate_caches()
        return importlib.import_module(name).Vendored

    yield write
    for name in [name for name in sys.modules if name.startswith("vendored_")]:
        del sys.modules[name]


SOURCE = "from sri_sdk.testing.planted import PlantedDetector\nclass Vendored(PlantedDetector): pass\n"


def failed(detector):
    return {x.name: x.message for x in run_checks(detector_checks(detector)) if x.state != "passed"}


@pytest.mark.parametrize("line", ["if 0: import joblib", "from pickle import loads", "x = dict(allow_pickle=True)"])
def test_a_module_that_may_unpickle_is_caught(vendored, line):
    name = f"vendored_{len(line)}"
    found = failed(vendored(name, f"{line}\n{SOURCE}"))
    assert list(found) == ["no-pickle"]
    assert f"{name}.py, line 1, uses" in found["no-pickle"]


def test_a_fresh_process_knows_only_the_state(vendored):
    # The cache is filled by fit() and shared by all instances: only another process shows that it is not in state().
    source = SOURCE.replace("pass", "\n    cache = {}") + (
        "    def fit(self, signals, labels=None):\n"
        "        self.cache['scale'] = signals.dtype.type(2)\n"
        "        return super().fit(signals)\n"
        "    def score(self, signals): return super().score(signals) * self.cache.get('scale', 1)\n"
        "    def export(self, graph, signals): return super().export(graph, signals) * 2\n"
    )
    found = failed(vendored("vendored_cache", source))
    assert list(found) == ["restored-equals"]
    assert "restored in a fresh process, the detector scores 96 of 96 signals differently" in found["restored-equals"]


def test_a_class_no_other_process_can_import_is_restored_here_and_says_so():
    class Local(PlantedDetector):
        pass

    (check,) = [check for check in detector_checks(Local) if check.name == "restored-equals"]
    with pytest.warns(NotChecked, match="no fresh process: .*<locals>.Local is defined in"):
        check()


def test_a_detector_that_needs_labels_gets_them():
    class Labelled(PlantedDetector):
        def fit(self, signals, labels=None):
            if labels is None or set(labels.tolist()) != {0, 1}:
                raise ScoringError("labelled: fit() needs labels of both kinds.")
            return super().fit(signals[labels == 0])

    detector_checks(Labelled)[0]()


def test_a_detector_that_takes_no_signals_at_all_fails_with_both_reasons():
    class Picky(PlantedDetector):
        def fit(self, signals, labels=None):
            raise ScoringError(f"picky: {len(signals)} signals are too few.")

    with pytest.raises(ConformanceError, match=r"Picky.fit\(\): refuses 128 .*too few.* and 256 labelled ones"):
        detector_checks(Picky)[0]()


def test_a_known_failure_is_strict():
    checks = detector_checks(PlantedDetector, known={"direction": "to be seen"})
    (check,) = [check for check in checks if check.name == "direction"]
    assert run_checks([check])[0].state == "failed"


def test_planted_signals_are_the_same_everywhere_and_in_both_domains():
    signals = planted_signals(3, 7, dip=2)
    assert signals.sigma.shape == signals.logit.shape == (3, CELLS, LAYERS)
    assert np.array_equal(signals.logit, planted_signals(3, 7, dip=2).logit)
