"""Detectors of a mistaken vendor, one fault each: `detector_checks(fault)`; every option has a default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from sri_plugin_detectors.logistic import LogisticDetector
from sri_plugin_toy.detector import ToyDetector

import sri_sdk
from sri_sdk.errors import ScoringError

SRI_PLUGIN_API = 1

Floats = NDArray[np.float32]


class Shortfall(sri_sdk.Detector):
    """Correct; mean squared shortfall below the harmless mean, in standard deviations."""

    domain: ClassVar = "sigma"
    fewest: ClassVar = 2

    class Config(sri_sdk.Config):
        floor: float = Field(0.02, gt=0, description="Smallest standard deviation to divide by.")

    _mean: Floats = np.empty((0, 0), dtype=np.float32)
    _scale: Floats = np.empty((0, 0), dtype=np.float32)

    def fit(self, signals: Floats, labels: NDArray[np.int64] | None = None) -> Self:
        if len(signals) < self.fewest or not np.isfinite(signals).all():
            raise ScoringError("shortfall: fit() needs at least two signals, all finite. Leave out what is not.")
        self._mean = signals.mean(axis=0, dtype=np.float64).astype(np.float32)
        self._scale = np.maximum(signals.std(axis=0, dtype=np.float64), self.config.floor).astype(np.float32)
        return self

    def score(self, signals: Floats) -> Floats:
        self._refuse(signals)
        scores: Floats = (self._below(signals) ** 2).mean(axis=(1, 2), dtype=np.float32)
        return scores

    def _refuse(self, signals: Floats) -> None:
        if not self._mean.size:
            raise ScoringError("shortfall: not fitted. Call fit(), or restore() a state.")
        if signals.shape[1:] != self._mean.shape or not np.isfinite(signals).all():
            raise ScoringError(
                f"shortfall: signals {list(signals.shape)}, finite [N, *{list(self._mean.shape)}] needed."
            )

    def _below(self, signals: Floats) -> Floats:
        below: Floats = np.maximum((self._mean - signals) / self._scale, 0)
        return below

    def export(self, graph: sri_sdk.Graph, signals: sri_sdk.Value) -> sri_sdk.Value:
        below = graph.relu((signals - self._mean) * (-1.0 / self._scale))
        return graph.reduce_sum(below * below, [1, 2]) * (1.0 / self._mean.size)

    def state(self) -> Mapping[str, NDArray[Any]]:
        return {"mean": self._mean, "scale": self._scale}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> Self:
        self._mean, self._scale = state["mean"], state["scale"]
        return self


CORRECT: list[type[sri_sdk.Detector]] = [Shortfall, ToyDetector, LogisticDetector]
FAULTS: list[type[sri_sdk.Detector]] = []
Kind = TypeVar("Kind", bound=type[sri_sdk.Detector])


def planted(fault: Kind) -> Kind:
    FAULTS.append(fault)
    return fault


# -- the graph computes something else ---------------------------------------------------------------------------


@planted
class GraphClipsSooner(Shortfall):
    """The graph cuts shortfalls at 20 deviations, the score does not: they part only for the deepest dips."""

    def export(self, graph: sri_sdk.Graph, signals: sri_sdk.Value) -> sri_sdk.Value:
        over = graph.maximum((signals - self._mean) * (1.0 / self._scale), -20.0)
        below = graph.relu(over * -1.0)
        return graph.reduce_sum(below * below, [1, 2]) * (1.0 / self._mean.size)


@planted
class GraphOfUnclippedLogits(LogisticDetector):
    """The graph leaves the clipping of logits out: they part only beyond 30."""

    def export(self, graph: sri_sdk.Graph, signals: sri_sdk.Value) -> sri_sdk.Value:
        flat = graph.reshape(signals, [-1, len(self._weights)])
        return graph.reduce_sum(flat * self._weights, [1]) + self._bias


@planted
class GraphCountsRises(Shortfall):
    """The graph squares without cutting at the mean: a signal above it is suspicious to the bundle alone."""

    def export(self, graph: sri_sdk.Graph, signals: sri_sdk.Value) -> sri_sdk.Value:
        gap = (signals - self._mean) * (1.0 / self._scale)
        return graph.reduce_sum(gap * gap, [1, 2]) * (1.0 / self._mean.size)


@planted
class GraphSkipsZeros(Shortfall):
    """The graph takes an exact zero for a missing cell and passes over it; the score counts it."""

    def export(self, graph: sri_sdk.Graph, signals: sri_sdk.Value) -> sri_sdk.Value:
        gap = (signals - self._mean) * (-1.0 / self._scale)
        below = graph.relu(graph.where(graph.equal(signals, 0.0), 0.0, gap))
        return graph.reduce_sum(below * below, [1, 2]) * (1.0 / self._mean.size)


@planted
class GraphOfOneSignal(Shortfall):
    """The graph sums over the whole batch: right for one signal at a time."""

    def export(self, graph: sri_sdk.Graph, signals: sri_sdk.Value) -> sri_sdk.Value:
        below = graph.relu((signals - self._mean) * (-1.0 / self._scale))
        whole = graph.reduce_sum(below * below, [0, 1, 2], keepdims=True) * (1.0 / self._mean.size)
        return graph.reduce_sum(signals * 0.0, [1, 2]) + graph.squeeze(whole, [1, 2])


@planted
class ExportTurnsTheMean(ToyDetector):
    """Turns the fitted mean's sign while it draws: the detector scores wrong once it was exported."""

    def export(self, graph: sri_sdk.Graph, signals: sri_sdk.Value) -> sri_sdk.Value:
        self._mean = -self._mean
        gap = signals + self._mean
        return graph.reduce_sum(gap * gap, [1, 2]) * (1.0 / self._mean.size)


@planted
class ScoreOfFirstLayer(ToyDetector):
    """Scores the first tapped layer, and draws all of them: right for one layer."""

    def score(self, signals: Floats) -> Floats:
        super().score(signals)
        first: Floats = ((signals - self._mean)[..., 0] ** 2).mean(axis=1, dtype=np.float32)
        return first


@planted
class ScoreInHalf(Shortfall):
    """Scores in float16, which is off by a thousandth and infinite for a deep dip; the graph is float32."""

    def _below(self, signals: Floats) -> Floats:
        return super()._below(signals).astype(np.float16)


# -- what a score depends on -------------------------------------------------------------------------------------


@planted
class IgnoresLaterCells(ToyDetector):
    """Looks at the first half of the cells, in score and graph: a late dip is never seen."""

    def score(self, signals: Floats) -> Floats:
        half = signals.shape[1] // 2
        super().score(signals)
        early: Floats = ((signals - self._mean)[:, :half] ** 2).mean(axis=(1, 2), dtype=np.float32)
        return early

    def export(self, graph: sri_sdk.Graph, signals: sri_sdk.Value) -> sri_sdk.Value:
        half = self._mean.shape[0] // 2
        weight = np.zeros_like(self._mean)
        weight[:half] = 1 / weight[:half].size
        gap = signals - self._mean
        return graph.reduce_sum(gap * gap * weight, [1, 2])


@planted
class MixesRows(ToyDetector):
    """Takes the batch's own mean off every row where there are several: a row scores differently alone."""

    def score(self, signals: Floats) -> Floats:
        shared = (signals - self._mean).mean(axis=0, keepdims=True) if len(signals) > 1 else 0
        return super().score((signals - shared).astype(np.float32))


@planted
class ScoresInBlocks(ToyDetector):
    """Scores in blocks of 16 and leaves the last incomplete one at zero: attacks there score lowest."""

    def score(self, signals: Floats) -> Floats:
        scores = np.zeros(len(signals), dtype=np.float32)
        for start in range(0, len(signals) - 15, 16) if len(signals) > 16 else [0]:
            scores[start : start + 16] = super().score(signals[start : start + 16])
        return scores


@planted
class RemembersBatch(ToyDetector):
    """Keeps the last scores by the shape of the signals: another batch of that shape gets them too."""

    def fit(self, signals: Floats, labels: NDArray[np.int64] | None = None) -> Self:
        self._last: dict[tuple[int, ...], Floats] = {}
        return super().fit(signals, labels)

    def restore(self, state: Mapping[str, NDArray[Any]]) -> Self:
        self._last = {}
        return super().restore(state)

    def score(self, signals: Floats) -> Floats:
        if not self._mean.size:
            return super().score(signals)
        if signals.shape not in self._last or not np.isfinite(signals).all():
            self._last[signals.shape] = super().score(signals)
        return self._last[signals.shape].copy()


@planted
class LearnsWhileScoring(ToyDetector):
    """Moves its mean towards what it scores: the same signal scores lower each time, and the threshold is void."""

    def score(self, signals: Floats) -> Floats:
        scores = super().score(signals)
        self._mean = (
            (0.99 * self._mean + 0.01 * signals.mean(axis=0)).astype(np.float32) if len(signals) else self._mean
        )
        return scores


@planted
class SharedByAll(ToyDetector):
    """Keeps the mean in a table of the class: the detector fitted last decides for all of them."""

    table: ClassVar[dict[str, Floats]] = {}

    def fit(self, signals: Floats, labels: NDArray[np.int64] | None = None) -> Self:
        self.table["mean"] = super().fit(signals, labels)._mean
        return self

    def restore(self, state: Mapping[str, NDArray[Any]]) -> Self:
        self.table["mean"] = super().restore(state)._mean
        return self

    def score(self, signals: Floats) -> Floats:
        self._mean = self.table["mean"] if self._mean.size else self._mean
        return super().score(signals)


@planted
class AddsUpFits(ToyDetector):
    """Averages each fit with the one before: a refit is another detector."""

    def fit(self, signals: Floats, labels: NDArray[np.int64] | None = None) -> Self:
        before = self._mean
        super().fit(signals, labels)
        self._mean = (before + self._mean) / np.float32(2) if before.size else self._mean
        return self


@planted
class FitsByChance(ToyDetector):
    """Learns from a random half without a seed: no two fits agree."""

    def fit(self, signals: Floats, labels: NDArray[np.int64] | None = None) -> Self:
        chosen = np.random.default_rng().permutation(len(signals))[: -(-len(signals) // 2)]
        super().fit(signals)
        return super().fit(signals[chosen])


@planted
class RisesAreSuspicious(Shortfall):
    """Has the sign the wrong way round: what rises above the harmless mean scores, and a dip does not."""

    def _below(self, signals: Floats) -> Floats:
        above: Floats = np.maximum((signals - self._mean) / self._scale, 0)
        return above

    def export(self, graph: sri_sdk.Graph, signals: sri_sdk.Value) -> sri_sdk.Value:
        above = graph.relu((signals - self._mean) * (1.0 / self._scale))
        return graph.reduce_sum(above * above, [1, 2]) * (1.0 / self._mean.size)


# -- what is refused, and what is kept ---------------------------------------------------------------------------


@planted
class InfinityPasses(Shortfall):
    """Refuses NaN and lets infinity through: a broken signal above the mean reads as clear."""

    def _refuse(self, signals: Floats) -> None:
        super()._refuse(np.where(np.isinf(signals), np.float32(0), signals))


@planted
class OtherLayersPass(Shortfall):
    """Compares T and not C: two layers are broadcast over the mean of one."""

    def _refuse(self, signals: Floats) -> None:
        super()._refuse(signals[..., :1] if self._mean.shape[1:] == (1,) else signals)


@planted
class OneSignalIsEnough(Shortfall):
    """Says that one signal is enough, and then divides by N - 1: a fit on one gives NaN."""

    fewest: ClassVar = 1

    def fit(self, signals: Floats, labels: NDArray[np.int64] | None = None) -> Self:
        super().fit(signals)
        with np.errstate(all="ignore"):
            spread = np.sqrt(((signals - self._mean) ** 2).sum(axis=0) / np.float32(len(signals) - 1))
        self._scale = np.maximum(spread, self.config.floor).astype(np.float32)
        return self


@planted
class ScaleIsNotKept(Shortfall):
    """Leaves the scale out of its state and takes the floor for it: a restored detector has other scores."""

    def state(self) -> Mapping[str, NDArray[Any]]:
        return {"mean": self._mean}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> Self:
        return super().restore({**state, "scale": np.full_like(state["mean"], self.config.floor)})


@planted
class SingleIsNoArray(ToyDetector):
    """Squeezes its scores: for one signal the result has no axis."""

    def score(self, signals: Floats) -> Floats:
        return np.squeeze(super().score(signals))


@planted
class FloorUnread(Shortfall):
    """Never reads its option: an operator's floor changes nothing."""

    def __init__(self, config: Any = None) -> None:
        super().__init__(None)
