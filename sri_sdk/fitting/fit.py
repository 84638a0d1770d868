"""`sri fit`: from a config to a guard on disk; see `artefacts.py` for what lies there.

<out>/cache/          what an interrupted fit continues from; may be deleted, see `store.py`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from sri_sdk import registry
from sri_sdk.bundle.golden import Coverage
from sri_sdk.bundle.guard_parts import GuardParts
from sri_sdk.bundle.manifest import Rate
from sri_sdk.bundle.manifest_v2 import thresholds_of
from sri_sdk.bundle.multi_part_guard import MultiPartGuard
from sri_sdk.config.columns import needs_format_2
from sri_sdk.config.fit import FitConfig
from sri_sdk.errors import ConfigError
from sri_sdk.executor import Executor
from sri_sdk.exporter import Exporter
from sri_sdk.files import writable_folder
from sri_sdk.fitting.artefacts import restore_parts, write_guard
from sri_sdk.fitting.build import Calibrated, calibrate
from sri_sdk.fitting.build_parts import calibrate_parts
from sri_sdk.fitting.collect import Collected, Progress
from sri_sdk.fitting.compare import RESULTS, compared_on
from sri_sdk.fitting.counters import Counters
from sri_sdk.fitting.deployment import Deployment
from sri_sdk.fitting.gather import KEPT, Stopwatch, gather
from sri_sdk.fitting.groups import grouped
from sri_sdk.fitting.labelled import LabelledAttacks
from sri_sdk.fitting.parts import Part, fit_parts, parts_of
from sri_sdk.fitting.prompts import prompts_of, with_mixes
from sri_sdk.fitting.tally import log
from sri_sdk.metrics.guard_rates import GuardRates, guard_rates
from sri_sdk.records import Rule, Signals, Verdict
from sri_sdk.scoring.guard import Guard
from sri_sdk.scoring.scorer import Scorer


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fit that succeeded."""

    guard: Guard
    deployment: Deployment
    collected: Mapping[str, Collected]
    """Per fold, see `Gathered.collected`."""
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
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Fold -> prompts of which kind; see `sri_sdk.fitting.folds.count_prompts`."""
    attacks: LabelledAttacks | None = None
    """That detectors learnt from; None = none, or only thresholds were set anew."""


def fit(
    config: FitConfig, progress: Progress = lambda *_: None, *, recalibrate: bool = False,
    executor: Executor | None = None,
) -> Fitted:  # fmt: skip
    """Fits, calibrates, exports and measures a guard.

    Args:
        config: a checked config.
        progress: called as generations are done.
        recalibrate: keep the anchors and the detector under `config.out`, and set new thresholds only.
        executor: starts the workers that generate; None = this process does. The guard is the same.

    Raises:
        ConfigError: prompts overlap, are too few, or gave nothing to average; or too many responses cannot be judged.
        CaptureError: a generation could not be watched whole.
        MissingExtra: the executor needs a package that is not installed.
        WorkerLost: workers ended over one batch more often than is allowed.
        ScoringError, BundleError: see `sri_sdk.fitting.build`.
    """
    if not (recalibrate or config.folds.learn):
        raise ConfigError(
            "folds: no prompts to learn from (anchors, train, request), so this file sets new thresholds for a guard "
            "that is there, and no more: sri fit --recalibrate. To fit one, add the folds."
        )
    if executor is not None:
        executor.check([config.model.options])
    timed = Stopwatch()
    out = Path(config.out)
    with timed("prompts"):
        folds = prompts_of(config)
    # What a plugin refuses, and a folder that cannot be written, is found now, not after an hour of generating.
    wanted = parts_of(config)
    exporter: Exporter = registry.build("exporters", config.export.name, config.export.options)
    several = needs_format_2(config, {part.name: part.columns for part in wanted})
    writable_folder(out)
    gathered = gather(config, folds, progress, timed, recalibrate=recalibrate, executor=executor)
    deployment, collector, anchors, collected = (
        gathered.deployment, gathered.collector, gathered.anchors, gathered.collected
    )  # fmt: skip
    anchors = with_mixes(anchors, config, folds, kept=KEPT if recalibrate else ())
    if config.folds.calibration.groups != "none":
        collected |= {name: grouped(collected[name]) for name in ("calibration", "test") if name in collected}
    names, limits = [column.name for column in anchors.columns], config.calibrate
    with timed("detector"):
        if recalibrate:
            restore_parts(out, wanted, anchors, several=several)
        else:
            fit_parts(wanted, gathered.harmless, names, gathered.attacks)
    with timed("calibrate"):
        reference, calibration = collected["reference"].signals, collected["calibration"].signals
        calibrated: Calibrated[GuardParts] | Calibrated[MultiPartGuard]
        if several:
            calibrated = calibrate_parts(
                wanted, reference, calibration, anchors=anchors, exporter=exporter, alpha=limits.alpha,
                delta=limits.delta, contamination=limits.contamination,
            )  # fmt: skip
        else:
            (only,) = wanted
            calibrated = calibrate(
                only.detector, only.detector_name, reference, calibration, anchors=anchors, exporter=exporter,
                alpha=limits.alpha, delta=limits.delta, contamination=limits.contamination,
            )  # fmt: skip
    results, parts = None, calibrated.parts
    if "test" in collected:
        with timed("evaluate"):
            # Thresholds are final by now, and these are the very graphs they were set on.
            tried = compared_on(out, gathered.collector.key(folds.test)["prompts"])
            if tried > 1:
                log.warning(
                    "test: %d detectors were compared on these prompts (%s). If this one was picked by that table, its "
                    "rates are too good: give folds.test other prompts.", tried, out / RESULTS,
                )  # fmt: skip
            results = _measure(calibrated.scorer(), collected["test"])
            parts = replace(parts, rates=_stated(results))
    with timed("export"):
        guard = write_guard(out, parts, exporter)
    parity = _parity(wanted, guard.scorer, collected["calibration"].signals, names)
    return Fitted(
        guard, deployment, collected, results, parity, timed.seconds, collector.counters, parts.noticed,
        folds.counts(), gathered.attacks,
    )  # fmt: skip


def _measure(scorer: Scorer, test: Collected) -> GuardRates:
    verdicts: dict[Rule, Sequence[Verdict]] = {
        rule: scorer.score(test.signals, rule=rule, subject="test fold") for rule in scorer.rules
    }
    return guard_rates(test.prompts, test.outcomes, dict(verdicts))


def _stated(results: GuardRates) -> tuple[Rate, ...]:
    """Rates as the manifest states them; a class without a case has no rate."""
    return tuple(Rate(**rate.to_dict()) for rate in results.rates if rate.n)


def _parity(parts: Sequence[Part], scorer: Scorer, calibration: Signals, names: Sequence[str]) -> float:
    """Largest |detector - graph| on the calibration fold, as a share of the tolerance the bundle allows."""
    exported, _ = scorer.score_final(np.ascontiguousarray(calibration.domain(scorer.manifest.signal.domain)))
    columns = exported.reshape(len(exported), -1)
    thresholds = [each for each in thresholds_of(scorer.manifest) if each.rule == "final"]
    worst = 0.0
    for k, part in enumerate(parts):
        gap = np.abs(part.detector.score(part.of(calibration, names)).astype(np.float64) - columns[:, k])
        mine = [each.threshold for each in thresholds if each.part in ("", part.name)]
        worst = max(worst, *(float((gap / threshold.allowed(columns[:, k])).max()) for threshold in mine))
    return worst
