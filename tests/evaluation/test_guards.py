"""Guards on planted generations: thresholds, what could not be scored, and surrogates."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from sri_sdk.anchors import Anchors
from sri_sdk.baseline import Baseline
from sri_sdk.config.evaluation import DetectorSection, GuardEntry, SurrogateEntry
from sri_sdk.config.fit import CalibrateSection, PluginSection
from sri_sdk.evaluation.guards import GuardScores, baseline_guard, detector_guard, fit_detector, open_baselines
from sri_sdk.evaluation.surrogate import surrogate_result
from sri_sdk.fingerprint import Fingerprint
from sri_sdk.metrics.results import our_guard
from sri_sdk.thoughts import KNOWN
from tests.evaluation.conftest import generations

CELLS = 8
ALPHA = CalibrateSection(alpha=0.05)


def high(seed, n):
    return 0.9 + 0.03 * np.random.default_rng(seed).standard_normal((n, CELLS, 1)).clip(-2, 2)


@pytest.fixture
def anchors():
    hard = {
        "architecture": "X", "hidden_size": 4, "layers": ["final"], "pooling": "response", "sampler": {},
        "grid": {"cells": CELLS, "mapping": "step", "budget": CELLS}, "config_digest": "c", "weights_digest": "w",
    }  # fmt: skip
    states = np.random.default_rng(0).standard_normal((2, CELLS, 1, 4)).astype(np.float32)
    provenance = {"prompts_digest": "p", "judge": {"name": "j", "version": "1"}, "seed": 0,
                  "counts": {k: {"used": 1, "seen": 1} for k in ("harmless", "harmful")}}  # fmt: skip
    return Anchors(states[0], states[1], Fingerprint(hard, {"dtype": "float32"}), provenance)


@pytest.fixture
def groups(anchors):
    dipped = high(9, 20)
    dipped[:, 4:6] = 0.2
    made = {
        "train": generations(high(1, 100), label="harmless", prefix="t"),
        "reference": generations(high(2, 40), label="harmless", prefix="r"),
        "calibration": generations(high(3, 99), label="harmless", prefix="c"),
        "harmless": generations(high(4, 60), label="harmless", outcome="harmless", prefix="h"),
        "attack x": generations(dipped, attack="x", prefix="a"),
    }
    printed = {**anchors.fingerprint.to_dict(), "anchors": anchors.digest, "tau": 0.1, "eps": 1e-8}
    for part in made.values():
        object.__setattr__(part.signals, "fingerprint", printed)
    return made


AUTOENCODER = DetectorSection(name="autoencoder", options={"epochs": 40})


@pytest.fixture
def fitted(groups, anchors):
    return fit_detector(AUTOENCODER, groups, anchors, ALPHA)


def guard(fitted, **entry):
    return detector_guard("g", GuardEntry(detector=AUTOENCODER, **entry), fitted, ALPHA)


def test_a_detector_flags_the_dip_and_says_when(fitted):
    made = guard(fitted)
    assert made.flagged("attack x").all() and made.flagged("harmless").mean() < 0.2
    steps = {v.first_alarm_step for v in made.verdicts["online"]["attack x"]}
    assert steps <= {4, 5}


def test_a_dip_on_any_tapped_layer_is_flagged(anchors):
    """A detector sees every tapped layer, as the guard of `sri fit` does, and not the last one alone."""
    both = replace(
        anchors,
        harmless=np.repeat(anchors.harmless, 2, axis=1),
        harmful=np.repeat(anchors.harmful, 2, axis=1),
        fingerprint=Fingerprint({**anchors.fingerprint.hard, "layers": [0, "final"]}, anchors.fingerprint.soft),
    )
    sizes = {"train": 100, "reference": 40, "calibration": 99, "x": 20}
    wide = {name: np.concatenate([high(n, n), high(n + 1, n)], axis=2) for name, n in sizes.items()}
    wide["x"][:, 4:6, 0] = 0.2
    groups = {name: generations(sigma, label="harmless", prefix=name) for name, sigma in wide.items()}
    for part in groups.values():
        object.__setattr__(part.signals, "fingerprint", both.fingerprint.to_dict())
    assert guard(fit_detector(AUTOENCODER, groups, both, ALPHA)).flagged("x").all()


def test_a_guard_that_names_a_layer_is_the_guard_of_that_layer_alone(anchors, groups, fitted):
    both = replace(
        anchors,
        harmless=np.repeat(anchors.harmless, 2, axis=1),
        harmful=np.repeat(anchors.harmful, 2, axis=1),
        fingerprint=Fingerprint({**anchors.fingerprint.hard, "layers": [0, *anchors.fingerprint.hard["layers"]]}, {}),
    )
    (alone,) = anchors.fingerprint.hard["layers"]
    wide = {}
    for name, part in groups.items():
        noise = np.random.default_rng(5).random(part.signals.sigma.shape, dtype=np.float32)
        sigma, logit = (np.concatenate([noise, x], axis=2) for x in (part.signals.sigma, part.signals.logit))
        wide[name] = replace(part, signals=replace(part.signals, sigma=sigma, logit=logit, fingerprint=None))
    narrow = fit_detector(AUTOENCODER.model_copy(update={"layers": (alone,)}), wide, both, ALPHA)
    assert narrow.threshold == fitted.threshold
    for name in groups:
        scores = [[v.score for v in guard(each).verdicts["final"][name]] for each in (narrow, fitted)]
        assert scores[0] == scores[1]


def test_ours_is_the_first_guard_that_reads_hidden_states(fitted):
    texts = GuardScores("texts", "s", "response", 0.5, "r", {}, 0.0)
    first, second = guard(fitted), guard(fitted, threshold="quantile")
    assert our_guard([texts, first, second]) is first
    assert our_guard([texts]) is None


def test_the_papers_threshold_lies_below_ours(fitted):
    """Interpolation between order statistics promises less than the conformal one."""
    ours, papers = guard(fitted), guard(fitted, threshold="quantile")
    assert papers.threshold < ours.threshold
    assert papers.scores["harmless"].tolist() == ours.scores["harmless"].tolist()


class LengthBaseline(Baseline):
    """Longer prompts are more suspicious; it cannot score what ends in 3."""

    source, reads = "nobody", "prompt"
    calls = 0

    def score(self, generations):
        LengthBaseline.calls += 1
        return np.array([np.nan if g.prompt.id.endswith("3") else len(g.prompt.text) for g in generations], dtype=float)


@pytest.fixture
def collector(tmp_path):
    LengthBaseline.calls = 0
    key = lambda prompts: {"prompts": [p.id for p in prompts]}  # noqa: E731
    return SimpleNamespace(cache=tmp_path, key=key, hook=SimpleNamespace(scheme="masked", thoughts=KNOWN))


def baseline(**entry):
    return GuardEntry(baseline=PluginSection(name="length"), **entry)


def test_what_a_baseline_cannot_score_is_not_flagged(groups, collector):
    made = baseline_guard("b", baseline(), LengthBaseline(), groups, collector, ALPHA)
    unscored = [p.id.endswith("3") for p in groups["harmless"].prompts]
    assert np.isnan(made.scores["harmless"]).tolist() == unscored
    assert not made.flagged("harmless")[unscored].any()


def test_a_costly_baseline_scores_the_first_of_each_group_and_enough_to_calibrate(groups, collector):
    made = baseline_guard("b", baseline(count=5), LengthBaseline(), groups, collector, ALPHA)
    assert len(made.scores["harmless"]) == 5 and len(made.scores["calibration"]) == 19


def test_scores_of_a_baseline_are_kept(groups, collector):
    first = baseline_guard("b", baseline(), LengthBaseline(), groups, collector, ALPHA)
    calls = LengthBaseline.calls
    again = baseline_guard("b", baseline(), LengthBaseline(), groups, collector, ALPHA)
    assert LengthBaseline.calls == calls and again.threshold == first.threshold and again.seconds == first.seconds


def test_a_baseline_that_cannot_run_here_is_left_out_with_its_reason(tmp_path):
    options = {"source": str(tmp_path / "nowhere")}
    here = {
        "llama-guard": GuardEntry(baseline=PluginSection(name="safety-classifier", options=options)),
        "dictionary": GuardEntry(baseline=PluginSection(name="refusal-dictionary")),
        "sri": GuardEntry(detector=DetectorSection(name="autoencoder")),
    }
    ready, missing = open_baselines(here, None)
    assert list(ready) == ["dictionary"]
    assert "nowhere" in missing["llama-guard"]


def scores(values, threshold=0.5):
    given = {group: np.asarray(v, dtype=float) for group, v in values.items()}
    return GuardScores("g", "s", "hidden states", threshold, "r", given, 0.0)


def test_a_surrogate_is_scored_on_what_the_other_model_did():
    """Of three attacks the black box fell for two; the surrogate's score is high on one of these and on the third."""
    sigma = np.ones((3, CELLS))
    harmless = generations(sigma, label="harmless", outcome="harmless", prefix="h")
    fell = generations(sigma, attack="x", outcome=["harmful", "harmful", "refusal"], prefix="a")
    stood = generations(sigma, attack="x", outcome="refusal", prefix="a")
    ours = scores({"harmless": [0, 0, 0.9], "attack x": [1, 0.2, 1]})
    done = {
        "black": SimpleNamespace(found={"harmless": harmless, "attack x": fell}, guards=()),
        "white": SimpleNamespace(found={"harmless": harmless, "attack x": stood}, guards=(ours,)),
    }
    made = surrogate_result(SurrogateEntry(guarded="black", by="white"), done)
    assert (made.removed.k, made.removed.n) == (1, 2)
    assert (made.false_alarm.k, made.false_alarm.n) == (1, 3)
    assert made.auroc.value == pytest.approx((3 + 2) / 6)


def test_a_surrogate_without_a_guard_says_so():
    done = {name: SimpleNamespace(found={}, guards=()) for name in ("black", "white")}
    made = surrogate_result(SurrogateEntry(guarded="black", by="white"), done)
    assert made.auroc is None and "no guard" in made.note
