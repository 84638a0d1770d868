"""How well scores separate successful attacks from harmless generations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sri_sdk.metrics.bootstrap import RESAMPLES, Clusters, percentiles

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Auroc:
    """Area under the ROC curve; 0.5 = chance, 1 = perfect, below 0.5 = the wrong way round."""

    value: float
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end."""
    positives: int
    negatives: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


def auroc(
    positives: NDArray[Any], negatives: NDArray[Any], clusters: tuple[Sequence[str], Sequence[str]], *, seed: int = 0
) -> Auroc | None:
    """AUROC with a percentile bootstrap interval that resamples base prompts, not generations.

    Args:
        positives: [P] float scores of successful attacks, higher = more suspicious.
        negatives: [N] float scores of harmless generations.
        clusters: base prompt of each positive, and of each negative. Attacks made of one request succeed or fail
            together; resampling them one by one would make the interval too short.
        seed: of the resampling.

    Returns:
        None if either side is empty.

    Raises:
        ValueError: a score is NaN; take such scores out and report how many there were.
    """
    if not len(positives) or not len(negatives):
        return None
    ranks = _Ranks.of(positives, negatives)
    sides = _sides(ranks, clusters)

    def draws() -> Iterator[float]:
        for attacks, harmless in _draws(sides, seed):
            yield float(np.average(ranks.beaten(harmless), weights=attacks))

    low, high = percentiles(draws())
    return Auroc(float(ranks.beaten().mean()), low, high, len(positives), len(negatives))


@dataclass(frozen=True, slots=True, eq=False)
class _Ranks:
    """Where each positive stands among the sorted negatives: found once, used by every draw."""

    order: NDArray[np.int64]
    """[N] negatives, smallest score first."""
    below: NDArray[np.int64]
    """[P] negatives with a smaller score."""
    up_to: NDArray[np.int64]
    """[P] negatives with a smaller or the same score."""

    @classmethod
    def of(cls, positives: NDArray[Any], negatives: NDArray[Any]) -> Self:
        """Ranks [P] scores of positives among [N] scores of negatives; higher = more suspicious.

        Raises:
            ValueError: a score is NaN.
        """
        above, beneath = np.asarray(positives), np.asarray(negatives)
        missing = int(np.isnan(above).sum()), int(np.isnan(beneath).sum())
        if any(missing):
            raise ValueError(
                f"AUROC: {missing[0]} of {len(above)} positives and {missing[1]} of {len(beneath)} negatives are NaN; "
                "take out what was not scored, and report how many"
            )
        order = np.argsort(beneath, kind="stable")
        left, right = (np.searchsorted(beneath[order], above, side=side) for side in ("left", "right"))
        return cls(order, left, right)

    def beaten(self, weights: NDArray[np.int64] | None = None) -> Floats:
        """[N] weights of the negatives -> [P] share of them that each positive beats; a tie is half a win."""
        ordered = np.ones(len(self.order), dtype=np.int64) if weights is None else weights[self.order]
        # Whole numbers up to here: the sums are exact, whatever their order.
        sums = np.concatenate([[0], np.cumsum(ordered)])
        shares: Floats = (sums[self.below] + sums[self.up_to]) / (2 * sums[-1])
        return shares


def _sides(ranks: _Ranks, clusters: tuple[Sequence[str], Sequence[str]]) -> tuple[Clusters, Clusters]:
    return Clusters.of(clusters[0], len(ranks.below)), Clusters.of(clusters[1], len(ranks.order))


def _draws(
    sides: tuple[Clusters, Clusters], seed: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:  # fmt: skip
    """[P] int64 weights of the positives and [N] of the negatives: how often each is in a draw. One pair per draw."""
    random = np.random.default_rng(seed)
    for _ in range(RESAMPLES):
        yield sides[0].weights(random), sides[1].weights(random)
