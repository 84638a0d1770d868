"""`sri fit`: from a config to a guard on disk; see `artefacts.py` for what lies there.

<out>/cache/          what an interrupted fit continues from; may be deleted, see `store.py`
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from sri_sdk import registry
from sri_sdk.bundle.bundle import GuardParts
from sri_sdk.bundle.golden import Coverage
from sri_sdk.bundle.manifest import Rate
from sri_sdk.config.columns import names_of, reads
from sri_sdk.config.fit import FitConfig, PartSection
from sri_sdk.detector import Detector
from sri_sdk.errors import ConfigError
from sri_sdk.exporter import Exporter
from sri_sdk.fitting.artefacts import restore_detector, write_guard
from sri_sdk.fitting.build import calibrate
from sri_sdk.fitting.collect import Collected, Progress
from sri_sdk.fitting.counters import Counters
from sri_sdk.fitting.deployment import Deployment
from sri_sdk.fitting.folds import draw_folds
from sri_sdk.fitting.gather import Stopwatch, gather
from sri_sdk.metrics.guard_rates import GuardRates, guard_rates
from sri_sdk.records import Rule, Verdict
from sri_sdk.scoring.guard import Guard
from sri_sdk.scoring.scorer import Scorer


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fit that succeeded."""

    guard: Guard
    deployment: Deployment
    collected: Mapping[str, Collected]
    """Per fold: train, reference, calibration, test. Without `train` where only thresholds were set anew."""
    results: GuardRates | None
    """On the test fold; None without one."""
    parity: float
    """Largest difference between detector and exported graph on the calibration fold, as a share of what is allowed."""
    seconds: Mapping[str, float]
    """Wall-clock seconds per stage of this run; generations an earlier run had made took almost none."""
    counters: Counters
    """What could have made it worthless: answers of the judge that name no outcome, responses without an answer."""
    noticed: Mapping[str, Coverage] = field(default_factory=dict)
    """What the golden vectors notice, per graph: `signal`, `prefix`."""


def fit(config: FitConfig, progress: Progress = lambda *_: None, *, recalibrate: bool = False) -> Fitted:
    """Fits, calibrates, exports and measures a guard.

    Args:
        config: a checked config.
        progress: called as generations are done.
        recalibrate: keep the anchors and the detector under `config.out`, and set new thresholds only.

    Raises:
        ConfigError: prompts overlap, are too few, or gave nothing to average; or too many responses cannot be judged.
        CaptureError: a generation could not be watched whole.
        ScoringError, BundleError: see `sri_sdk.fitting.build`.
    """
    timed = Stopwatch()
    out = Path(config.out)
    with timed("prompts"):
        dataset = registry.build("datasets", config.prompts.dataset, config.prompts.options)
        folds = draw_folds(dataset, config.folds)
    # What a plugin refuses, and a folder that cannot be written, is found now, not after an hour of generating.
    (section,) = _one_part(config)
    detector: Detector = registry.build("detectors", section.detector, section.options)
    exporter: Exporter = registry.build("exporters", config.export.name, config.export.options)
    out.mkdir(parents=True, exist_ok=True)
    gathered = gather(config, folds, progress, timed, recalibrate=recalibrate)
    deployment, collector, anchors, collected = (
        gathered.deployment, gathered.collector, gathered.anchors, gathered.collected
    )  # fmt: skip
    with timed("detector"):
        if recalibrate:
            restore_detector(out, detector, section.detector, anchors)
        else:
            detector.fit(collected["train"].signals.domain(detector.domain))
    with timed("calibrate"):
        calibrated = calibrate(
            detector, section.detector, collected["reference"].signals, collected["calibration"].signals,
            anchors=anchors, exporter=exporter, alpha=config.calibrate.alpha, delta=config.calibrate.delta,
        )  # fmt: skip
    results, parts = None, calibrated.parts
    if "test" in collected:
        with timed("evaluate"):
            # Thresholds are final by now, and these are the very graphs they were set on.
            results = _measure(calibrated.scorer(), collected["test"])
            parts = replace(parts, rates=_stated(results))
    with timed("export"):
        guard = write_guard(out, parts, exporter)
    parity = _parity(parts, guard.scorer, collected["calibration"])
    return Fitted(guard, deployment, collected, results, parity, timed.seconds, collector.counters, parts.noticed)


def _one_part(config: FitConfig) -> tuple[PartSection, ...]:
    """The part of a guard whose bundle this release can write.

    Raises:
        ConfigError: it has several, or reads anything but the signal of every tapped layer.
    """
    if config.request is not None or config.parts is not None:
        raise ConfigError(
            "request, parts: no bundle of this release can hold a guard that reads requests or has several parts; "
            "leave the sections out."
        )
    parts = config.named_parts()
    detectors = {name: registry.load("detectors", part.detector) for name, part in parts.items()}
    names = names_of(config.tap.layers, request=False)
    if any(found != names for found in reads(config, detectors).values()):
        raise ConfigError(
            f"detector.columns: in this release a detector reads every tapped layer ({', '.join(names)}). "
            "Leave columns out, and tap only the layers it should read (tap.layers)."
        )
    return tuple(parts.values())


def _measure(scorer: Scorer, test: Collected) -> GuardRates:
    verdicts: dict[Rule, list[Verdict]] = {
        rule: scorer.score(test.signals, rule=rule, subject="test fold") for rule in ("final", "online")
    }
    return guard_rates(test.prompts, test.outcomes, dict(verdicts))


def _stated(results: GuardRates) -> tuple[Rate, ...]:
    """Rates as the manifest states them; a class without a case has no rate."""
    return tuple(Rate(**rate.to_dict()) for rate in results.rates if rate.n)


def _parity(parts: GuardParts, scorer: Scorer, calibration: Collected) -> float:
    """Largest |detector - graph| on the calibration fold, as a share of the tolerance the bundle allows."""
    values = calibration.signals.domain(parts.detector.domain)
    exported, _ = scorer.score_final(np.ascontiguousarray(values))
    gap = np.abs(parts.detector.score(values).astype(np.float64) - exported)
    return float((gap / parts.final.allowed(exported)).max())
