"""Guards for every portable detector, and many signals for each: what the readers are compared on.

Of the signals two in five look harmless and one in seven like an attack; a quarter lie within a few tolerances of a
threshold, where a rounding can decide; and a fifth hold what cannot be read, or end early.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sri_exporter_onnx.exporter import OnnxExporter

from sri_sdk import registry
from sri_sdk.bundle.bundle import Bundle
from sri_sdk.detector import Detector
from sri_sdk.fitting.build import calibrate_guard, export_guard
from sri_sdk.records import Rule, Signals
from sri_sdk.scoring.scorer import Scorer
from sri_sdk.signal import sigmoid
from tests.vectors.detectors import IsolationForestDetector, MahalanobisDetector
from tests.vectors.write import Guard, made_up_anchors, made_up_signals

Floats = NDArray[np.float32]

RULES: tuple[Rule, ...] = ("final", "online")
FOLDS = 300, 200, 400
LABELLED = 30
"""Attacks in the fit of a detector that needs labels."""
ATTACKS, NEAR, ODD = 0.15, 0.25, 0.20
"""Shares of the rows; the others look harmless."""
FARTHEST = 3.0
"""Tolerances from a threshold at which the near rows are aimed, at most."""
HALVINGS = 40
SHAPES: dict[str, tuple[int, int]] = {"isolation-forest": (8, 2), "toy": (16, 2)}
"""T, C of guards; 32 cells of one layer where nothing is said."""


def portable_detectors() -> dict[str, Callable[[], Detector]]:
    """Every installed detector of the tier `portable`, and two of the field that only tests have."""
    made: dict[str, Callable[[], Detector]] = {}
    for plugin in registry.installed("detectors"):
        if registry.load("detectors", plugin.name).tier == "portable":
            made[plugin.name] = partial(registry.build, "detectors", plugin.name)
    return {**made, "isolation-forest": IsolationForestDetector, "mahalanobis": MahalanobisDetector}


def write_guard(name: str, make: Callable[[], Detector], seed: int, folder: Path) -> tuple[Bundle, Guard]:
    """A bundle in `folder`, and what it was made of."""
    guard, detector = Guard(make, *SHAPES.get(name, (32, 1)), 8, OnnxExporter()), make()
    anchors = made_up_anchors(guard)
    train, reference, calibration = (
        made_up_signals(guard, anchors, count, 100 * seed + k) for k, count in enumerate(FOLDS)
    )
    learnt, labels = train.domain(detector.domain), None
    if detector.labels != "ignored":
        attacks = made_up_signals(guard, anchors, LABELLED, 100 * seed + len(FOLDS), dip=5.0).domain(detector.domain)
        labels = np.repeat([0, 1], [len(learnt), len(attacks)])
        learnt = np.concatenate([learnt, attacks])
    detector.fit(learnt, labels)
    parts = calibrate_guard(
        detector, name, reference, calibration, anchors=anchors, exporter=guard.exporter, alpha=0.05
    )
    return export_guard(parts, guard.exporter, folder), guard


def many_signals(scorer: Scorer, guard: Guard, count: int, seed: int) -> Signals:
    """`count` signals in the form the guard reads, shuffled, with lengths."""
    rng, anchors, domain = np.random.default_rng(seed), made_up_anchors(guard), scorer.manifest.signal.domain
    attacks, near, odd = (int(count * share) for share in (ATTACKS, NEAR, ODD))
    harmless = made_up_signals(guard, anchors, count, 100 * seed + 11).logit
    dips = made_up_signals(guard, anchors, count, 100 * seed + 12, dip=5.0).logit
    values = harmless.copy()
    values[:attacks] = dips[:attacks]
    for rule, rows in zip(RULES, np.array_split(np.arange(attacks, attacks + near), 2), strict=True):
        values[rows] = _near(scorer, rule, harmless[rows], dips[rows], rng)
    values = sigmoid(values) if domain == "sigma" else values
    lengths = np.full(count, guard.cells, np.int64)
    _spoil(scorer, values, lengths, range(attacks + near, attacks + near + odd), dips, rng)
    order = rng.permutation(count)
    ids = tuple(f"row {i}" for i in range(count))
    return Signals(ids, values[order], values[order], anchors.fingerprint.to_dict(), lengths[order])


def _near(scorer: Scorer, rule: Rule, harmless: Floats, dips: Floats, rng: np.random.Generator) -> Floats:
    """Logits [N, T, C] between the two scored within a few tolerances of the threshold, where there are such."""
    threshold, low, high = scorer.thresholds[rule], np.zeros(len(harmless)), np.ones(len(harmless))
    aim = threshold.value + threshold.tolerance * rng.uniform(-FARTHEST, FARTHEST, len(harmless))

    def mixed(share: NDArray[np.float64]) -> Floats:
        share = share[:, None, None]
        return ((1 - share) * harmless + share * dips).astype(np.float32)

    for _ in range(HALVINGS):
        middle = (low + high) / 2
        above = _scores(scorer, rule, mixed(middle)) > aim
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return mixed(np.where(rng.random(len(low)) < 0.5, low, high))


def _scores(scorer: Scorer, rule: Rule, logit: Floats) -> NDArray[np.float64]:
    values = sigmoid(logit) if scorer.manifest.signal.domain == "sigma" else logit
    signals = Signals(tuple(map(str, range(len(logit)))), values, values, None)
    found = scorer.score(signals, rule=rule, unverified=True)
    return np.array([np.inf if verdict.score is None else verdict.score for verdict in found])


def _spoil(
    scorer: Scorer, values: Floats, lengths: NDArray[np.int64], rows: range, dips: Floats, rng: np.random.Generator
) -> None:
    """Writes what cannot be read, what just can, and ends, into some rows."""
    cells, layers = values.shape[1:]
    low, high = np.float32(scorer.manifest.signal.low), np.float32(scorer.manifest.signal.high)
    attack = sigmoid(dips) if scorer.manifest.signal.domain == "sigma" else dips
    numbers = np.array(
        [
            np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, low, high, np.nextafter(low, np.float32(0)),
            np.nextafter(high, np.float32(0)), 2 * high, -2 * high, 1e30, -1e30,
        ],
        np.float32,
    )  # fmt: skip
    for row in rows:
        if rng.random() < 0.3:
            values[row] = attack[row]
        kind = rng.random()
        if kind < 0.7:  # One number somewhere, or in all cells of a layer.
            where = slice(None) if rng.random() < 0.1 else rng.integers(cells)
            values[row, where, rng.integers(layers)] = rng.choice(numbers)
        if kind > 0.5:  # Not finished; what lies beyond is never read.
            lengths[row] = rng.integers(cells + 1)
            values[row, lengths[row] :] = rng.choice(numbers)
