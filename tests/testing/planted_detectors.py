"""Detectors with one fault each. The docstring says what is wrong; the kit must say so too."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from sri_sdk.errors import ScoringError
from sri_sdk.testing.planted import CELLS, PlantedDetector


class CapsItsScore(PlantedDetector):
    """score() stops at a value that harmless signals and shallow attacks never reach; the graph goes on."""

    def score(self, signals):
        return np.minimum(super().score(signals), np.float32(14))


class SkipsExactZeros(PlantedDetector):
    """score() leaves out cells of exactly 0, as if they had not been seen; the graph counts them."""

    def score(self, signals):
        super().score(signals)
        return (((signals - self._mean) ** 2) * (signals != 0)).sum(axis=(1, 2), dtype=np.float32)


class SkipsExactOnes(PlantedDetector):
    """score() leaves out cells that are saturated at the other end."""

    def score(self, signals):
        super().score(signals)
        return (((signals - self._mean) ** 2) * (signals != 1)).sum(axis=(1, 2), dtype=np.float32)


class ClipsCellsInTheGraph(PlantedDetector):
    """The graph clips each cell at 0.1, near the refusing end; score() does not."""

    def export(self, graph, signals):
        return super().export(graph, graph.maximum(signals, 0.1))


class OverflowsAtTheEdge(PlantedDetector):
    """Takes a logit without a floor: infinite where sigma is exactly 0 or 1."""

    def score(self, signals):
        super().score(signals)
        with np.errstate(all="ignore"):
            apart = np.log(signals / (1 - signals)) - np.log(self._mean / (1 - self._mean))
            return (apart**2).sum(axis=(1, 2), dtype=np.float32)

    def export(self, graph, signals):
        apart = graph.log(signals) - graph.log(signals * -1.0 + 1.0) - np.log(self._mean / (1 - self._mean))
        return graph.reduce_sum(apart * apart, [1, 2])


class ExplodesInLogits(PlantedDetector):
    """Reads logits and exponentiates them: fine around 2, infinite at 100."""

    domain = "logit"

    def score(self, signals):
        super().score(signals)
        with np.errstate(over="ignore"):
            return (np.exp(-signals)).sum(axis=(1, 2), dtype=np.float32)

    def export(self, graph, signals):
        return graph.reduce_sum(graph.exp(signals * -1.0), [1, 2])


class TurnsAroundBelow(PlantedDetector):
    """Deep attacks score lower than harmless signals: only a shallow dip was ever tried."""

    def score(self, signals):
        plain = super().score(signals)
        return (plain * (signals > 0.02).all(axis=(1, 2))).astype(np.float32)

    def export(self, graph, signals):
        high = graph.cast(signals > 0.02, "float32")
        every = graph.cast(graph.reduce_sum(high, [1, 2]) > high_count(self), "float32")
        return super().export(graph, signals) * every


def high_count(detector) -> float:
    return detector._mean.size - 0.5


class DividesByTheSpread(PlantedDetector):
    """A cell that is saturated in every harmless signal has no spread, and 0 / 0 is not a score."""

    _spread = np.ones((1, 1), dtype=np.float32)

    def fit(self, signals, labels=None):
        super().fit(signals)
        self._spread = signals.std(axis=0, dtype=np.float64).astype(np.float32)
        return self

    def score(self, signals):
        super().score(signals)
        with np.errstate(all="ignore"):
            return (((signals - self._mean) / self._spread) ** 2).sum(axis=(1, 2), dtype=np.float32)

    def export(self, graph, signals):
        apart = (signals - self._mean) / self._spread
        return graph.reduce_sum(apart * apart, [1, 2])

    def state(self):
        return {**super().state(), "spread": self._spread}

    def restore(self, state):
        self._spread = state["spread"]
        return super().restore(state)


class LearnsWhileScoring(PlantedDetector):
    """score() moves the mean a little towards what it sees: the threshold was set on another detector."""

    def score(self, signals):
        scores = super().score(signals)
        self._mean = (self._mean + 1e-6 * (signals.mean(axis=0) - self._mean)).astype(np.float32)
        return scores


class ReusesItsBuffer(PlantedDetector):
    """score() returns a view of a buffer on the instance: the next call overwrites the scores of this one."""

    def score(self, signals):
        scores = super().score(signals)
        if not hasattr(self, "buffer") or len(self.buffer) < len(scores):
            self.buffer = np.empty(4096, dtype=np.float32)
        self.buffer[: len(scores)] = scores
        return self.buffer[: len(scores)]


class SharesItsFit(PlantedDetector):
    """What fit() learns is kept on the class: fitting one detector changes all others."""

    shared: ClassVar[dict] = {}

    @property
    def _mean(self):
        return self.shared.get("mean", np.empty((0, 0), dtype=np.float32))

    @_mean.setter
    def _mean(self, value):
        self.shared["mean"] = value

    def __init__(self, config=None):
        super().__init__(config)
        self.fitted = False

    def fit(self, signals, labels=None):
        self.fitted = True
        return super().fit(signals)

    def restore(self, state):
        self.fitted = True
        return super().restore(state)

    def score(self, signals):
        if not self.fitted:
            raise ScoringError("shared: not fitted.")
        return super().score(signals)


class SeedsTheProcess(PlantedDetector):
    """fit() sets numpy's global seed: whatever else of the process draws numbers draws others."""

    def fit(self, signals, labels=None):
        np.random.seed(0)
        return super().fit(signals)


class SortsTheLabels(PlantedDetector):
    """fit() writes into the labels it is given."""

    labels = "required"

    def fit(self, signals, labels=None):
        if labels is None:
            raise ScoringError("labelled: needs labels.")
        super().fit(signals[labels == 0])
        labels.sort()
        labels[:] = 0
        return self


class AsksForLabelsInFit(PlantedDetector):
    """fit() refuses to learn without labels, and the class does not say so: a config cannot be checked."""

    def fit(self, signals, labels=None):
        if labels is None:
            raise ScoringError("labelled: needs labels.")
        return super().fit(signals[labels == 0])


class DoesWithoutTheLabelsItRequires(PlantedDetector):
    """The class says that labels are required, and fit() learns without."""

    labels = "required"


class SqueezesOneLayer(PlantedDetector):
    """A signal of one layer loses an axis too many, and its cells are averaged away."""

    def score(self, signals):
        scores = super().score(signals)
        return scores if self._mean.shape[1] > 1 else scores / len(self._mean)


class KnowsOneLength(PlantedDetector):
    """The graph is drawn for 16 cells, whatever was fitted."""

    def export(self, graph, signals):
        gap = graph.reshape(signals, [-1, CELLS, self._mean.shape[1]]) - self._mean[:CELLS]
        return graph.reduce_sum(gap * gap, [1, 2])


class NeedsMoreThanItSays(PlantedDetector):
    """`fewest` says 4, and fit() refuses less than 30: the train fold is generated before anybody knows."""

    fewest = 4

    def fit(self, signals, labels=None):
        if len(signals) < 30:
            raise ScoringError("needy: fewer than 30 signals.")
        return super().fit(signals)


class TakesFewerThanItSays(PlantedDetector):
    """`fewest` says 20, and fit() learns from 3 without a word."""

    fewest = 20


class LooksAtTheLastCellOnly(PlantedDetector):
    """NaN is noticed in the last cell alone."""

    def score(self, signals):
        if not np.isfinite(signals[:, -1]).all():
            raise ScoringError("planted: not finite.")
        return super().score(np.nan_to_num(signals, posinf=0, neginf=0))


class WritesIntoReadOnly(PlantedDetector):
    """score() borrows its input as working memory and puts it back: arrays read from a file cannot be written."""

    def score(self, signals):
        kept = signals.copy()
        signals -= 0
        signals[:] = kept
        return super().score(signals)


class ChangesWithItsHistory(PlantedDetector):
    """fit() continues from the class's last generator: the second fit of a process differs from the first."""

    source: ClassVar = np.random.default_rng(0)

    def fit(self, signals, labels=None):
        super().fit(signals)
        self._mean = self._mean + self.source.normal(size=self._mean.shape).astype(np.float32) * np.float32(1e-4)
        return self


FAULTS = {
    CapsItsScore: ("graph-parity", r"21 of 292 signals, most for row \d+, with all cells 0: 24.9755, expected 14"),
    SkipsExactZeros: ("graph-parity", "with all cells 0: 24.9755, expected 0 within"),
    SkipsExactOnes: ("graph-parity", "with all cells 1: 0.445187, expected 0 within"),
    ClipsCellsInTheGraph: ("graph-parity", r"with some cells exactly 0: 1\.18\d+, expected 1\.50"),
    OverflowsAtTheEdge: ("every-signal-can-be-scored", "not finite, such as inf of a signal with all cells 0; limit"),
    ExplodesInLogits: ("every-signal-can-be-scored", "not finite, such as inf of a signal with all cells -90; limit"),
    TurnsAroundBelow: ("direction", "on planted attacks of depth 6, at least 0.8"),
    DividesByTheSpread: (
        "saturated-cells-are-learnt",
        "128 scores of such signals are not finite. Give each cell a least",
    ),
    LearnsWhileScoring: ("scoring-changes-nothing", "asked again after other signals, it scores 96 of 96"),
    ReusesItsBuffer: ("scoring-changes-nothing", "after the next call, scores returned before differ"),
    SharesItsFit: ("detectors-share-nothing", "after another detector was fitted, this one scores 96 of 96"),
    SeedsTheProcess: ("process-untouched", r"fit\(\) changes numpy's global random numbers; draw from"),
    SortsTheLabels: ("input-untouched", r"fit\(\) changes its labels: 16 of 32. Copy them first"),
    AsksForLabelsInFit: ("labels-are-true", r"says 'ignored', and fit\(\) refuses signals without labels; say"),
    DoesWithoutTheLabelsItRequires: ("labels-are-true", r"fit\(\) without labels, .* passes, must raise"),
    WritesIntoReadOnly: ("input-untouched", r"score\(\) fails on a read-only array"),
    SqueezesOneLayer: ("other-shapes", r"SqueezesOneLayer, fitted on \[N, 5, 1\]: export\(\): drawn, a score moves"),
    KnowsOneLength: ("other-shapes", r"KnowsOneLength, fitted on \[N, 5, 1\]: export\(\): drawing"),
    NeedsMoreThanItSays: ("fewest-is-true", r"fewest: says 4, and fit\(\) refuses 4 signals"),
    TakesFewerThanItSays: ("fewest-is-true", r"fit\(\) on 19 signals, where `fewest` says 20, passes"),
    LooksAtTheLastCellOnly: ("nan-refused", "a signal with nan in cell 0, layer 0 returns"),
    ChangesWithItsHistory: ("refit-equals-fit", "a second detector, fitted on the same signals, scores 96 of 96"),
}
"""Detector -> the check that catches it, and what its message says of the cause."""
