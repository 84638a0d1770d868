"""How well scores separate successful attacks from harmless generations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sri_sdk.errors import MissingExtra

RESAMPLES = 1000


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
        positives: [P] scores of successful attacks.
        negatives: [N] scores of harmless generations.
        clusters: base prompt of each positive, and of each negative. Attacks made of one request stand or fall
            together; resampling them one by one would make the interval too short.
        seed: of the resampling.

    Returns:
        None if either side is empty.

    Raises:
        MissingExtra: scikit-learn is not installed.
    """
    if not len(positives) or not len(negatives):
        return None
    try:
        from sklearn.metrics import roc_auc_score
    except ImportError as err:
        raise MissingExtra("AUROC", extra="train") from err
    random = np.random.default_rng(seed)
    sides = [_by_cluster(np.asarray(p), c) for p, c in zip((positives, negatives), clusters, strict=True)]

    def area(pos: NDArray[Any], neg: NDArray[Any]) -> float:
        return float(roc_auc_score(np.r_[np.ones(len(pos)), np.zeros(len(neg))], np.r_[pos, neg]))

    draws = []
    for _ in range(RESAMPLES):
        pos, neg = (np.concatenate([side[i] for i in random.integers(len(side), size=len(side))]) for side in sides)
        draws.append(area(pos, neg))
    low, high = np.quantile(draws, [0.025, 0.975])
    return Auroc(area(positives, negatives), float(low), float(high), len(positives), len(negatives))


def _by_cluster(scores: NDArray[Any], clusters: Sequence[str]) -> list[NDArray[Any]]:
    names = np.asarray(clusters)
    return [scores[names == name] for name in dict.fromkeys(clusters)]
