"""`sri fit --compare`: every detector on the folds of one config. Generations are made once, in the cache of the fit.

Nothing is chosen here, and the guard on disk stays as it is. One detector's failure is not its neighbours'.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sri_sdk import registry
from sri_sdk.bundle.part_graphs import DrawnPart, parts_signal_graph
from sri_sdk.calibrate.conformal import Threshold
from sri_sdk.config import columns
from sri_sdk.config.fit import CalibrateSection, FitConfig, PartSection
from sri_sdk.config.mix import PLAIN
from sri_sdk.detector import Detector
from sri_sdk.errors import ConfigError, SriError
from sri_sdk.executor import Executor
from sri_sdk.exporter import Exporter
from sri_sdk.fitting.checks import all_valid, check_fold, noise, same
from sri_sdk.fitting.collect import Collected, Progress
from sri_sdk.fitting.gather import Gathered, Stopwatch, gather
from sri_sdk.fitting.parts import Part, fit_parts
from sri_sdk.fitting.prompts import prompts_of
from sri_sdk.metrics.comparison import FLAGGED, HARMLESS, Compared, Comparison
from sri_sdk.metrics.guard_rates import GuardRates, guard_rates
from sri_sdk.metrics.rates import Rate, exact_rate
from sri_sdk.records import Verdict
from sri_sdk.scoring.runtime import RunGraph, load, score_once, score_rows
from sri_sdk.strict_json import parse

STAGE = "detectors"
RESULTS = "compare.json"
"""File of the comparison in the folder of the guard; `sri_sdk.report.comparison` writes it."""
LARGEST = 2**24
"""Most bytes of it that are read."""
SINGLE_CALLS = 200
"""Generations that each detector scores one by one, to time it."""


def compare(
    config: FitConfig, names: Sequence[str] = (), progress: Progress = lambda *_: None,
    executor: Executor | None = None,
) -> Comparison:  # fmt: skip
    """Fits and calibrates detectors one by one, and measures them on the test fold.

    Args:
        config: a checked config with a test fold. What it says of a detector that is compared (options, columns) holds;
            the others have their defaults.
        names: of the detectors; empty = all that are installed.
        progress: called as generations and detectors are done.

    Raises:
        ConfigError: there is no test fold, or none of the detectors can be fitted; and whatever stops a fit.
        PluginNotFound: no detector has that name.
    """
    if config.folds.test is None:
        raise ConfigError(
            "folds.test: required to compare detectors: prompts that nothing is fitted on, with the attacks that "
            "you are worried about. See docs/which-detector.md."
        )
    ready, missing = candidates(config, names)
    if not ready:
        whys = "; ".join(f"{name}: {why}" for name, why in missing.items())
        raise ConfigError(f"compare: no detector can be fitted: {whys}.")
    if executor is not None:
        executor.check([config.model.options])
    timed = Stopwatch()
    folds = prompts_of(config)
    exporter: Exporter = registry.build("exporters", config.export.name, config.export.options)
    Path(config.out).mkdir(parents=True, exist_ok=True)
    gathered = gather(config, folds, progress, timed, recalibrate=False, executor=executor)
    for name in ("train", "reference", "calibration", "test"):
        check_fold(gathered.collected[name].signals, name, gathered.anchors)
    harmless = [p for p in folds.test if p.label == "harmless"]
    mixed = folds.kinds.get("test", ())
    kinds = (*mixed, *(p.attack or PLAIN for p in harmless[len(mixed) :]))
    fitted: list[_Measured] = []
    for number, part in enumerate(ready):
        progress(STAGE, number, len(ready))
        try:
            fitted.append(_measure(part, gathered, exporter, config.calibrate, kinds))
        # A plugin may raise anything: its row says so, and the others have theirs.
        except Exception as err:
            missing[part.name] = f"{'' if isinstance(err, SriError) else f'{type(err).__name__}: '}{err}"
    progress(STAGE, len(ready), len(ready))
    spent = _time(fitted)
    found = [each.row(seconds) for each, seconds in zip(fitted, spent, strict=True)]
    return Comparison(
        detectors=tuple(found), missing=dict(sorted(missing.items())),
        counts={name: len(prompts) for name, prompts in folds.named().items() if prompts},
        alpha=config.calibrate.alpha, delta=config.calibrate.delta,
        labelled={} if gathered.attacks is None else gathered.attacks.counts(),
        test_digest=gathered.collector.key(folds.test)["prompts"],
    )  # fmt: skip


def compared_on(out: Path, test_digest: str) -> int:
    """How many detectors a comparison in `out` has tried on the test fold of this digest; 0 = none is known of."""
    try:
        with (out / RESULTS).open("rb") as stream:
            found = parse(stream.read(LARGEST + 1))
        return len(found["detectors"]) if found["test_digest"] == test_digest else 0
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def candidates(config: FitConfig, names: Sequence[str] = ()) -> tuple[list[Part], dict[str, str]]:
    """The detectors that can be fitted, as parts with the whole alpha; and why each of the others cannot be.

    Args:
        config: of the deployment.
        names: see `compare`.

    Raises:
        PluginNotFound: no detector has that name.
    """
    installed = [info.name for info in registry.installed("detectors")]
    for name in names:
        if name not in installed:
            registry.load("detectors", name)  # Says what is installed, and what may be meant.
    own = {part.detector: part for part in config.named_parts().values()}
    alone = not columns.needs_sri(columns.reads(config, {n: _class(p) for n, p in config.named_parts().items()}))
    columns_here = columns.names_of(() if alone else config.tap.layers, request=config.request is not None)
    ready: list[Part] = []
    missing: dict[str, str] = {}
    for name in sorted(dict.fromkeys(names or installed)):
        try:
            ready.append(_part(config, name, own.get(name, PartSection(detector=name)), columns_here))
        except SriError as err:
            missing[name] = str(err)
    return ready, missing


def _class(part: PartSection) -> type[Detector]:
    found: type[Detector] = registry.load("detectors", part.detector)
    return found


def _part(config: FitConfig, name: str, section: PartSection, here: Sequence[str]) -> Part:
    """One detector as a part.

    Raises:
        SriError: it cannot be loaded, or lacks something that the config does not give.
    """
    detector: Detector = registry.build("detectors", name, section.options)
    patterns = columns.patterns_of(section.columns, type(detector))
    reads = columns.chosen(patterns, here)
    if not reads:
        cure = "; a section `request` adds it" if patterns == ("request",) else ""
        raise ConfigError(f"it reads {', '.join(patterns)}, and the signals have {', '.join(here)}{cure}")
    train = config.folds.train
    if train is None:
        raise ConfigError("folds.train: required, but missing: there is nothing to learn from")
    observed = None if train.observed is None else train.observed.attacks
    if detector.labels == "required" and not train.attacks and observed is None:
        raise ConfigError(
            "it learns from labelled attacks, and folds.train.attacks names none. To name some, take a detector into "
            f"the config that learns from them, such as {name}"
        )
    if train.harmless < detector.fewest:
        raise ConfigError(f"folds.train.harmless: found {train.harmless}, it needs {detector.fewest}")
    return Part(name, detector.bind(reads), name, reads, columns.reason_of(section.reason, reads), 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    """A detector that was fitted, before it is timed."""

    part: Part
    results: GuardRates
    harmless: tuple[Rate, ...]
    """Rates of each kind of harmless prompt, where there are several."""
    threshold: Threshold
    unscored: int
    fit_s: float
    graph_bytes: int
    run: RunGraph
    single: NDArray[np.float32]
    """[N, T, C] float32 that it is timed on, one by one."""

    def row(self, seconds: float) -> Compared:
        return Compared(
            name=self.part.name, columns=self.part.columns, labels=self.part.detector.labels,
            rates=(*self.results.rates, *self.harmless), auroc=self.results.auroc, unscored=self.unscored,
            threshold=self.threshold.value, fit_s=self.fit_s, score_us=1e6 * seconds, graph_bytes=self.graph_bytes,
        )  # fmt: skip


def _measure(
    part: Part, gathered: Gathered, exporter: Exporter, limits: CalibrateSection, kinds: Sequence[str]
) -> _Measured:
    """Fits, calibrates under the rule `final` and measures one detector; `kinds` are those of harmless test prompts.

    Raises:
        SriError: it refuses the signals, its scores do not vary, or its graph computes other scores.
    """
    names, detector = [column.name for column in gathered.anchors.columns], part.detector
    folds = gathered.collected
    start = time.perf_counter()
    fit_parts([part], gathered.harmless, names, gathered.attacks)
    fit_s = time.perf_counter() - start
    values = part.of(folds["calibration"].signals, names)
    drawn = DrawnPart(detector, tuple(range(len(part.columns))))
    content = exporter.compile(parts_signal_graph([drawn], values.shape[1], len(part.columns)))
    run = load(content, f"detector {part.name}", tier=detector.tier)
    scores = all_valid(*score_rows(run, values, 1), folds["calibration"].signals)[:, 0]
    room = float(noise(lambda x: score_rows(run, x, 1), values)[0])
    threshold = Threshold.fit(scores, limits.alpha, limits.delta, noise=room, contamination=limits.contamination)
    same("signal", detector.score(values), scores, threshold)
    test, wanted = folds["test"], part.of(folds["test"].signals, names)
    found, fine = score_rows(run, wanted, 1)
    verdicts = [
        Verdict(p.id, "unmonitored" if not ok else "flagged" if score > threshold.value else "clear",
                score=score if ok else None)
        for p, score, ok in zip(test.prompts, found[:, 0].tolist(), fine[:, 0].tolist(), strict=True)
    ]  # fmt: skip
    return _Measured(
        part, guard_rates(test.prompts, test.outcomes, {"final": verdicts}), _harmless(test, verdicts, kinds),
        threshold, len(fine) - int(fine.sum()), fit_s, len(content), run, np.ascontiguousarray(wanted),
    )  # fmt: skip


def _harmless(test: Collected, verdicts: Sequence[Verdict], kinds: Sequence[str]) -> tuple[Rate, ...]:
    """False alarms by kind of harmless prompt: plain, wrapped or unusual; none where all are of one kind."""
    flags = [v.status == "flagged" for p, v in zip(test.prompts, verdicts, strict=True) if p.label == "harmless"]
    found = {kind: [flag for flag, own in zip(flags, kinds, strict=True) if own == kind] for kind in sorted(set(kinds))}
    if len(found) < 2:
        return ()
    return tuple(exact_rate(f"{FLAGGED}{HARMLESS}{kind}", sum(of), len(of)) for kind, of in found.items())


def _time(fitted: Sequence[_Measured]) -> list[float]:
    """Median seconds of one score, by detector; in turn, so that a busy moment of the machine hits all alike."""
    spent = np.empty((SINGLE_CALLS, len(fitted)))
    for call in range(-5, SINGLE_CALLS):  # The first few warm it up.
        for at, each in enumerate(fitted):
            row = each.single[call % len(each.single)][None]
            start = time.perf_counter()
            score_once(each.run, {"signals": row}, 1)
            spent[max(call, 0), at] = time.perf_counter() - start
    return [float(median) for median in np.median(spent, axis=0)]
