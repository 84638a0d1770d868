"""One redraw: detector, reference and calibration from the pool, and the alarms on fresh generations.

Scores come from the exported graphs and thresholds from `Threshold.fit`, step by step as in `calibrate_parts`. Left
out are the golden vectors and the graphs that take activations, which say nothing of thresholds and take most of the
time. `whole` runs `calibrate_parts` itself: tests compare.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sri_sdk import registry
from sri_sdk.anchors import Anchors
from sri_sdk.bundle.manifest_v2 import ALL
from sri_sdk.bundle.multi_part_guard import MultiPartGuard
from sri_sdk.bundle.part_graphs import DrawnPart, domain_of, parts_prefix_graph, parts_signal_graph
from sri_sdk.calibrate.conformal import Threshold
from sri_sdk.calibrate.prefix import PrefixScale
from sri_sdk.errors import ConfigError
from sri_sdk.exporter import Exporter
from sri_sdk.fitting.build import Calibrated
from sri_sdk.fitting.build_parts import calibrate_parts
from sri_sdk.fitting.checks import noise
from sri_sdk.fitting.parts import Part, fit_parts
from sri_sdk.records import REQUEST, Rule, Signals
from sri_sdk.scoring.runtime import RunGraph, load_own, score_prefixes, score_rows

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]

PROMISES: tuple[tuple[float, float | None], ...] = ((0.01, None), (0.001, None), (0.01, 0.05), (0.001, 0.05))
"""(alpha, delta), as under `calibrate` in YAML."""
NOISE_ROWS = 200
"""Calibration rows on which the effect of rounding is looked at; `calibrate_parts` looks at all of them."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Generations per fold."""

    train: int
    reference: int
    calibration: int
    fresh: int


@dataclass(frozen=True, slots=True)
class Case:
    """A guard whose promise is tried."""

    name: str
    detectors: Mapping[str, str]
    """Part -> detector; equal shares of alpha."""
    sizes: Mapping[str, Sizes]
    """Group -> folds; one entry `ALL` = the guard has no groups, and its folds are drawn from mixed traffic."""

    def parts(self) -> tuple[Part, ...]:
        """None of them fitted."""
        return tuple(self._part(name, detector) for name, detector in self.detectors.items())

    def _part(self, name: str, detector: str) -> Part:
        built = detector_class(detector)()
        columns = (REQUEST,) if detector == "request" else ("sri@final",)
        reason = "request_harmful" if detector == "request" else "score_above_threshold"
        return Part(name, built.bind(columns), detector, columns, reason, 1 / len(self.detectors))


@functools.cache
def detector_class(name: str) -> Any:
    """The class behind an entry point. Looked up once: that takes as long as a small fit."""
    return registry.load("detectors", name)


@dataclass(frozen=True, slots=True, eq=False)
class Folds:
    """Rows of the pool, [M] int64 each; no row is in two of them."""

    train: Rows
    reference: Rows
    calibration: Rows
    fresh: Rows


def draw(case: Case, groups: NDArray[np.str_], rng: np.random.Generator) -> Folds:
    """Folds for a pool whose generations have these groups, [N]."""
    taken: dict[str, list[Rows]] = {"train": [], "reference": [], "calibration": [], "fresh": []}
    for group, sizes in case.sizes.items():
        rows = np.arange(len(groups)) if group == ALL else np.flatnonzero(groups == group)
        shuffled, at = rng.permutation(rows), 0
        for fold, found in taken.items():
            count = getattr(sizes, fold)
            if at + count > len(shuffled):
                raise ConfigError(f"case {case.name!r}: group {group!r} has {len(shuffled)} generations, too few.")
            found.append(shuffled[at : at + count])
            at += count
    return Folds(**{fold: np.concatenate(found) for fold, found in taken.items()})


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What each rule compares with its threshold: [N, K], parts in order."""

    final: Floats
    online: Floats
    running: Floats
    """[N, T, K]: the standardised scores, of which `online` is the maximum."""

    def of(self, rule: Rule) -> Floats:
        """[N, K]; the rule `request` decides on the final score of its parts."""
        return self.online if rule == "online" else self.final


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """Fitted parts as graphs."""

    parts: tuple[Part, ...]
    domain: str
    signal: RunGraph
    prefix: RunGraph

    def score(self, signals: Signals) -> Scores:
        """Scores of N generations."""
        values, count = signals.domain(self.domain), len(self.parts)
        final, valid = score_rows(self.signal, values, count)
        running, seen = score_prefixes(self.prefix, values, count)
        assert valid.all() and seen.all()
        return Scores(final, running.max(axis=1), running)

    def noise(self, signals: Signals) -> dict[Rule, Floats]:
        """Per rule [K]: how far rounding moves a score."""
        values, count = signals.domain(self.domain)[:NOISE_ROWS], len(self.parts)
        finished = noise(lambda x: score_rows(self.signal, x, count), values)
        running = noise(lambda x: score_prefixes(self.prefix, x, count), values).max(axis=0)
        return {"final": finished, "online": running, "request": finished}


def fit(case: Case, train: Signals, reference: Signals, exporter: Exporter) -> Fitted:
    """Fits the parts on one fold, and the scale of the online rule on another."""
    parts, names = case.parts(), train.columns
    assert names is not None
    fit_parts(parts, train, names)
    domain = domain_of([part.detector for part in parts])
    values = reference.domain(domain)
    shape, count = (values.shape[1], len(names)), len(parts)
    plain = [DrawnPart(part.detector, tuple(map(names.index, part.columns))) for part in parts]

    def ready(graph: Any) -> RunGraph:
        return load_own(exporter.compile(graph), f"graph {graph.name}")

    raw, _ = score_prefixes(ready(parts_prefix_graph(plain, *shape)), values, count)
    scales = [PrefixScale.fit(np.ascontiguousarray(raw[:, :, k])) for k in range(count)]
    drawn = [replace(part, scale=scale) for part, scale in zip(plain, scales, strict=True)]
    return Fitted(parts, domain, ready(parts_signal_graph(plain, *shape)), ready(parts_prefix_graph(drawn, *shape)))


@dataclass(frozen=True, slots=True)
class Line:
    """What is promised to one group by one part under one rule."""

    rule: Rule
    part: str
    group: str
    alpha: float
    """Of the whole guard; `share` of it is the part's."""
    share: float
    delta: float | None


def lines(case: Case) -> Iterator[Line]:
    """Every line of a guard, whether or not its calibration is large enough."""
    parts = case.parts()
    reading = sum(part.share for part in parts if part.columns == (REQUEST,))
    for alpha, delta in PROMISES:
        for part in parts:
            for group in case.sizes:
                yield Line("final", part.name, group, alpha, part.share, delta)
                yield Line("online", part.name, group, alpha, part.share, delta)
                if part.columns == (REQUEST,):
                    yield Line("request", part.name, group, alpha, part.share / reading, delta)


def threshold(line: Line, calibration: Floats, room: float) -> Threshold | None:
    """Of calibration scores [n]; None where n cannot support the promise, which a fit refuses."""
    try:
        return Threshold.fit(calibration, line.alpha * line.share, line.delta, noise=room)
    except ConfigError:
        return None


def whole(case: Case, signals: Signals, folds: Folds, anchors: Anchors, exporter: Exporter, alpha: float,
          delta: float | None = None) -> Calibrated[MultiPartGuard]:  # fmt: skip
    """The same redraw through everything that `sri fit` runs after it has generated."""
    parts, calibration = case.parts(), signals.take(folds.calibration)
    names = [column.name for column in anchors.columns]
    fit_parts(parts, signals.take(folds.train), names)
    if ALL in case.sizes:
        calibration = replace(calibration, groups=None)
    return calibrate_parts(
        parts, signals.take(folds.reference), calibration, anchors=anchors, exporter=exporter, alpha=alpha, delta=delta
    )  # fmt: skip
