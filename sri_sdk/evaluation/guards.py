"""Guards side by side: each scores the same generations, against a threshold of its own."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from sri_sdk import registry
from sri_sdk.anchors import Anchors
from sri_sdk.baseline import Baseline
from sri_sdk.calibrate.conformal import threshold_rank
from sri_sdk.calibrate.quantile import InterpolatedQuantile
from sri_sdk.config.evaluated_guards import DetectorSection, GuardEntry, Traffic
from sri_sdk.config.fit import CalibrateSection, PluginSection, smallest_calibration
from sri_sdk.detector import Detector
from sri_sdk.errors import ConfigError, MissingExtra
from sri_sdk.evaluation.generations import Generations
from sri_sdk.evaluation.groups import Groups
from sri_sdk.evaluation.layers import columns_of, narrow_anchors, narrow_signals
from sri_sdk.exporter import Exporter
from sri_sdk.fitting.build import calibrate
from sri_sdk.fitting.collect import Collector
from sri_sdk.fitting.store import Store
from sri_sdk.metrics.results import HIDDEN_STATES
from sri_sdk.records import Generation, Rule, Verdict
from sri_sdk.target import Target
from sri_sdk.thoughts import Thoughts

SINGLE_CALLS = 200
"""Generations scored one by one to time a detector."""
PAPERS_GUARD = "autoencoder"
"""The detector of arXiv 2602.02600."""
SRI = "arXiv 2602.02600"


@dataclass(frozen=True, slots=True)
class GuardScores:
    """One guard on one model."""

    name: str
    source: str
    reads: str
    """`HIDDEN_STATES`, or the text a baseline reads; see `GuardResult.reads`."""
    threshold: float
    """Flagged when a score is above it."""
    threshold_rule: str
    scores: Mapping[str, NDArray[np.float64]]
    """Group -> [N] float64, higher = more suspicious, NaN = could not be scored."""
    seconds: float
    """Wall-clock seconds of scoring one generation, without the tap."""
    verdicts: Mapping[Rule, Mapping[str, Sequence[Verdict]]] = field(default_factory=dict)
    """Rule -> group -> one verdict per generation; empty for baselines."""
    alarms: Mapping[str, NDArray[np.bool_]] | None = None
    """Group -> [N] bool: which generations it flags, where several thresholds decide; None = the one threshold does."""
    others: Mapping[Rule, GuardScores] = field(default_factory=dict)
    """The same guard under the other rules that it has. Scores and threshold above are those of the rule `final`."""

    @property
    def tapped(self) -> bool:
        """Whether it needs the tap, whose cost is then part of its own."""
        return self.reads == HIDDEN_STATES

    def flagged(self, group: str) -> NDArray[np.bool_]:
        """[N] bool: whether each generation of a group is flagged; what could not be scored is not."""
        if self.alarms is not None:
            return self.alarms[group]
        return np.nan_to_num(self.scores[group], nan=-np.inf) > self.threshold

    def rules(self) -> dict[Rule, GuardScores]:
        """The guard under each of its rules."""
        return {"final": self, **self.others}


@dataclass(frozen=True, slots=True)
class FittedDetector:
    """A detector on one model, with its verdicts on every group. Guards that share it differ in the threshold."""

    name: str
    threshold: float
    """Conformal, of the rule `final`."""
    verdicts: Mapping[Rule, Mapping[str, Sequence[Verdict]]]
    """Rule -> group -> one verdict per generation."""
    seconds: float
    """Wall-clock seconds of scoring one generation."""


def of_traffic(found: Mapping[str, Generations], groups: Groups, traffic: Traffic) -> dict[str, Generations]:
    """The generations that a guard is fitted, calibrated and measured on.

    Args:
        found: group -> generations.
        groups: the prompts, of which some are plain.
        traffic: of the guard; it decides which prompts of the folds it is given, not which test prompts.
    """
    if traffic == "mixed" or not groups.kinds:
        return dict(found)
    plain = {name: np.flatnonzero(groups.plain(name)).tolist() for name in groups.kinds if name in found}
    return {name: part.take(plain[name]) if name in plain else part for name, part in found.items()}


def fit_detector(
    section: DetectorSection, groups: Mapping[str, Generations], anchors: Anchors, limits: CalibrateSection
) -> FittedDetector:
    """Fits and calibrates as `sri fit` does with the layers the detector reads, and scores with the same graphs.

    Args:
        section: the detector, and the layers it reads.
        groups: by name; `train`, `reference` and `calibration` among them.
        anchors: what the signals were made with, [T, C, D].
        limits: alpha and delta.

    Raises:
        ScoringError, BundleError: see `sri_sdk.fitting.build`.
    """
    detector = build_detector(section)
    columns = columns_of(section.layers, anchors.fingerprint.hard["layers"])
    anchors = narrow_anchors(anchors, columns)
    signals = {group: narrow_signals(found.signals, columns, anchors) for group, found in groups.items()}
    detector.fit(signals["train"].domain(detector.domain))
    exporter: Exporter = registry.build("exporters", "onnx", {})
    scorer = calibrate(
        detector, section.name, signals["reference"], signals["calibration"], anchors=anchors, exporter=exporter,
        alpha=limits.alpha, delta=limits.delta, contamination=limits.contamination,
    ).scorer()  # fmt: skip
    verdicts: dict[Rule, dict[str, Sequence[Verdict]]] = {
        rule: {group: scorer.score(found, rule=rule, subject=group) for group, found in signals.items()}
        for rule in ("final", "online")
    }
    values = signals["calibration"].domain(detector.domain)
    single = [np.ascontiguousarray(values[i % len(values)][None]) for i in range(SINGLE_CALLS)]
    start = time.perf_counter()
    for one in single:
        scorer.score_final(one)
    seconds = (time.perf_counter() - start) / SINGLE_CALLS
    return FittedDetector(section.name, scorer.thresholds["final"].value, verdicts, seconds)


def detector_guard(name: str, entry: GuardEntry, fitted: FittedDetector, calibrate: CalibrateSection) -> GuardScores:
    """A fitted detector under the threshold that the config asks for.

    Args:
        name: of the guard in the config.
        entry: with the detector that was fitted.
        fitted: the detector.
        calibrate: alpha and delta.
    """
    scores, online = (_scores(fitted.verdicts[rule]) for rule in ("final", "online"))
    threshold, words, source = fitted.threshold, f"conformal, alpha {calibrate.alpha:g}", f"detector {fitted.name}"
    if entry.threshold == "quantile":
        threshold, words = _interpolated(scores["calibration"], calibrate)
        source += f", as {SRI}" if fitted.name == PAPERS_GUARD else ""
    made = GuardScores(name, source, HIDDEN_STATES, threshold, words, scores, fitted.seconds, fitted.verdicts)
    if entry.threshold == "quantile":
        return made  # Its rule at every step has the conformal threshold, which is another guard's.
    return replace(made, others={"online": replace(made, scores=online, alarms=flagged(fitted.verdicts["online"]))})


def open_baselines(guards: Mapping[str, GuardEntry], target: Target) -> tuple[dict[str, Baseline], dict[str, str]]:
    """Every baseline that is ready to score, and for each of the others the reason why it cannot run here.

    Done before anything is generated: weights that are not on this machine are noticed now, not after an hour.

    Args:
        guards: by name; detectors are passed over.
        target: the guarded model.
    """
    ready: dict[str, Baseline] = {}
    missing: dict[str, str] = {}
    for name, entry in guards.items():
        if entry.baseline is None:
            continue
        baseline: Baseline = registry.build("baselines", entry.baseline.name, entry.baseline.options)
        try:
            baseline.open(target)
        except (ConfigError, MissingExtra) as err:
            missing[name] = " ".join(str(err).split())
        else:
            ready[name] = baseline
    return ready, missing


def baseline_guard(
    name: str, entry: GuardEntry, baseline: Baseline, groups: Mapping[str, Generations], collector: Collector,
    calibrate: CalibrateSection,
) -> GuardScores:  # fmt: skip
    """A baseline under a threshold that promises what ours does, set on the same calibration generations.

    Args:
        name: of the guard in the config.
        entry: with a baseline.
        baseline: opened.
        groups: by name; `calibration` is one of them.
        collector: of the guarded model; scores are kept beside its generations.
        calibrate: alpha and delta.
    """
    assert entry.baseline is not None
    scores, spent, count = {}, 0.0, 0
    for group, found in groups.items():
        least = smallest_calibration(calibrate) if group == "calibration" else 1
        part = found if entry.count is None else found.first(max(entry.count, least))
        options = baseline.config.model_dump(mode="json")
        key = {**collector.key(part.prompts), "baseline": [entry.baseline.name, options]}
        store = Store(collector.cache, f"guard {name} {group}", key)
        if (saved := store.load("scores")) is None:
            start = time.perf_counter()
            made = np.asarray(baseline.score(_read(part, collector.hook.thoughts)), dtype=np.float64)
            saved = {"scores": made}, {"seconds": time.perf_counter() - start}
            store.save("scores", *saved)
        scores[group] = saved[0]["scores"]
        spent, count = spent + saved[1]["seconds"], count + len(part)
    benign = np.sort(np.nan_to_num(scores["calibration"], nan=-np.inf))
    if entry.threshold == "quantile":
        threshold, rule = _interpolated(benign, calibrate)
    else:
        rank = threshold_rank(len(benign), calibrate.alpha, calibrate.delta, calibrate.contamination)
        threshold, rule = float(benign[rank - 1]), f"conformal, alpha {calibrate.alpha:g}"
    source = f"baseline {entry.baseline.name}, {baseline.source}"
    return GuardScores(name, source, baseline.reads, threshold, rule, scores, spent / max(count, 1))


def flagged(verdicts: Mapping[str, Sequence[Verdict]]) -> dict[str, NDArray[np.bool_]]:
    """Group -> [N] bool: what is flagged by its N verdicts."""
    return {group: np.array([v.status == "flagged" for v in given], dtype=bool) for group, given in verdicts.items()}


def _scores(verdicts: Mapping[str, Sequence[Verdict]]) -> dict[str, NDArray[np.float64]]:
    """Group -> [N] float64 scores in its N verdicts; NaN = none."""
    return {
        group: np.array([np.nan if v.score is None else v.score for v in given], dtype=np.float64)
        for group, given in verdicts.items()
    }


def build_detector(section: PluginSection) -> Detector:
    """A detector that is not fitted yet."""
    detector: Detector = registry.build("detectors", section.name, section.options)
    return detector


def _interpolated(scores: NDArray[np.float64], calibrate: CalibrateSection) -> tuple[float, str]:
    """The papers' threshold over harmless scores [N] float64, and its name."""
    found = InterpolatedQuantile.fit(scores, calibrate.alpha)
    return found.value, found.words


def _read(found: Generations, thoughts: Thoughts) -> list[Generation]:
    """The generations as texts, without what the model only thought."""
    texts = [thoughts.answer(text) for text in found.responses or ("",) * len(found)]
    drafts = [tuple(map(thoughts.answer, row)) for row in found.draft_texts or ((),) * len(found)]
    rows = zip(found.prompts, texts, found.outcomes, drafts, strict=True)
    return [Generation(*row) for row in rows]
