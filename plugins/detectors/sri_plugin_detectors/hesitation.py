"""Detector `hesitation`: in how many cells a signal is low, and how often it turns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import sri_sdk
from sri_plugin_detectors.cells import SOFTENING, CellsDetector, Doubles, Floats, Labels

SRI_PLUGIN_API = 1

LEAST_SPREAD = 0.5
"""Cells: a count that hardly varies over harmless signals is divided by no less."""


class HesitationDetector(CellsDetector):
    """Counts the cells below what is usual there, and the turns larger than usual there.

    From arXiv 2605.25893 it takes one idea: to count, over a whole generation, the steps at which a model hesitates.
    There, a step counts if its state is within a small margin of the boundary of a probe, which was trained on labelled
    harm; many such steps say that the probe is likely to be wrong, and a larger probe is asked. Here there is no probe
    and no label: the boundary of a cell is a low quantile of harmless signals, every cell below it counts, and the
    count is itself the score. Turns are this project's own: a signal that sinks and recovers, or rises and falls back,
    by more than harmless ones do within `reach`. Each count is divided by its standard deviation over harmless signals,
    because one signal that is low throughout would otherwise outweigh every turn; the score is the sum of both.

    A count is a sum of sigmoids, 1/2 at the boundary. A sharp one would have too few values for a threshold, and would
    differ between runtimes where a cell lies on the boundary. How far beyond it a cell is hardly matters: a deep dip of
    a single cell counts as one, and a signal that is far above the usual one throughout does not hesitate.
    """

    called: ClassVar = "hesitation"
    fewest: ClassVar = 16

    class Config(CellsDetector.Config):
        """Options."""

        quantile: float = Field(0.05, gt=0, lt=0.5, description="Share of harmless signals beyond a cell's boundaries.")
        reach: float = Field(
            0.15,
            gt=0,
            lt=0.5,
            description="Share of the cells, on either side, within which a turn sinks and recovers.",
        )
        softness: float = Field(
            0.2, gt=0, description="Width of a boundary, in harmless standard deviations; smaller = a sharper count."
        )

    def learn(self, rows: Doubles, labels: Labels = None) -> Mapping[str, NDArray[Any]]:
        """From rows [N, T * C] to float32 arrays; U is the number of cells that have neighbours on both sides.

        `low` [T * C] logits and `turn` [U] logits, the boundaries; `low_steep` [T * C] and `turn_steep` [U], one over
        their widths; `weights` [2], one over the spread of the two counts; `before`, `middle` and `after` [U] int64,
        where the cells of each turn stand in a row.
        """
        cells, layers = self._shape
        # A turn needs room on both sides, so signals of one or two cells have none.
        span = min(max(1, round(self.config.reach * cells)), (cells - 1) // 2) * layers
        middle = np.arange(span, rows.shape[1] - span) if span else np.arange(0)
        places = {"before": middle - span, "middle": middle, "after": middle + span}
        turns = _turns(rows, **places)
        learnt = places | {
            "low": np.quantile(rows, self.config.quantile, axis=0).astype(np.float32),
            "low_steep": self._steep(rows),
            "turn": np.quantile(turns, 1 - self.config.quantile, axis=0).astype(np.float32),
            "turn_steep": self._steep(turns),
        }
        counts = _counts(rows.astype(np.float32), learnt)
        spread = [max(LEAST_SPREAD, float(count.std(dtype=np.float64))) for count in counts]
        return learnt | {"weights": (1 / np.array(spread)).astype(np.float32)}

    def measure(self, rows: Floats) -> Floats:
        """Both counts of rows [N, T * C], in their harmless standard deviations, together: [N] float32."""
        low, turns = _counts(rows, self._learnt)
        weights = self._learnt["weights"]
        score: Floats = low * weights[0] + turns * weights[1]
        return score

    def draw(self, graph: sri_sdk.Graph, rows: sri_sdk.Value) -> sri_sdk.Value:
        """Draws `measure`: rows [B, T * C] float32 -> [B] float32."""
        learnt = self._learnt
        low = graph.sigmoid((rows - learnt["low"]) * -learnt["low_steep"])
        score: sri_sdk.Value = graph.reduce_sum(low, [1]) * learnt["weights"][0]
        if not learnt["middle"].size:
            return score
        before, middle, after = (
            graph.node("Gather", rows, graph.constant(learnt[name], "int64"), axis=1)
            for name in ("before", "middle", "after")
        )
        left, right = before - middle, after - middle
        # As in `_turns`; min(x, y) = -max(-x, -y).
        rises, falls = graph.maximum(left, right) * -1, graph.maximum(left * -1, right * -1) * -1
        turns = graph.relu(graph.maximum(falls, rises))
        beyond = graph.sigmoid((turns - learnt["turn"]) * learnt["turn_steep"])
        score += graph.reduce_sum(beyond, [1]) * learnt["weights"][1]
        return score

    def _steep(self, values: Doubles) -> Floats:
        """One over the width of the boundary of each column [M], from harmless values [N, M] in logits."""
        spread = np.sqrt(values.var(axis=0) + SOFTENING**2)
        steep: Floats = (1 / (self.config.softness * spread)).astype(np.float32)
        return steep


def _counts(rows: Floats, learnt: Mapping[str, NDArray[Any]]) -> tuple[Floats, Floats]:
    """How many cells of rows [N, T * C] are low, and how many turns are large: [N] float32 each."""
    turns = _turns(rows, learnt["before"], learnt["middle"], learnt["after"])
    low = _sigmoid((rows - learnt["low"]) * -learnt["low_steep"])
    beyond = _sigmoid((turns - learnt["turn"]) * learnt["turn_steep"])
    return low.sum(axis=1), beyond.sum(axis=1)


def _turns(rows: NDArray[Any], before: NDArray[Any], middle: NDArray[Any], after: NDArray[Any]) -> NDArray[Any]:
    """How far rows [N, T * C] sink and recover, or rise and fall back, at each place [U]: [N, U] logits, 0 or more.

    The smaller of both ways counts: a step from one level to another is no turn.
    """
    # take() and not rows[:, places], whose layout depends on the number of rows, and with it the order of later sums.
    bottom = np.take(rows, middle, axis=1)
    left, right = np.take(rows, before, axis=1) - bottom, np.take(rows, after, axis=1) - bottom
    falls, rises = np.minimum(left, right), -np.maximum(left, right)
    turns: NDArray[Any] = np.maximum(np.maximum(falls, rises), 0)
    return turns


def _sigmoid(x: Floats) -> Floats:
    """[N, M] -> [N, M] in 0..1; clipped where it is 0 or 1 anyway, because exp would overflow."""
    share: Floats = np.reciprocal(1 + np.exp(np.clip(-x, -60, 60)))
    return share
