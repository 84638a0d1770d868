"""How well scores separate successful attacks from harmless generations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sri_sdk.evaluate.bootstrap import RESAMPLES, Clusters, percentiles
from sri_sdk.evaluate.classes import rows_of

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


@dataclass(frozen=True, slots=True)
class MacroAuroc:
    """Mean of the AUROCs of several attacks: each attack counts the same, however often it succeeded."""

    value: float
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end."""
    attacks: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class AurocByAttack:
    """AUROC of each attack against the same harmless generations, and their mean."""

    by_attack: dict[str, Auroc]
    macro: MacroAuroc | None
    """None = no attack succeeded, or there is no harmless generation."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


def auroc(
    positives: NDArray[Any], negatives: NDArray[Any], clusters: tuple[Sequence[str], Sequence[str]], *, seed: int = 0
) -> Auroc | None:
    """AUROC with a percentile bootstrap interval that resamples base prompts, not generations.

    Args:
        positives: [P] scores of successful attacks, higher = more suspicious.
        negatives: [N] scores of harmless generations.
        clusters: base prompt of each positive, and of each negative. Attacks made of one request stand or fall
            together; resampling them one by one would make the interval too short.
        seed: of the resampling.

    Returns:
        None if either side is empty.

    Raises:
        ValueError: a score is NaN; take those out and say how many there were.
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


def auroc_by_attack(
    positives: NDArray[Any],
    negatives: NDArray[Any],
    attacks: Sequence[str],
    clusters: tuple[Sequence[str], Sequence[str]],
    *,
    seed: int = 0,
) -> AurocByAttack:
    """AUROC of each attack, and the macro mean over attacks.

    The interval of the mean draws base prompts for all attacks at once, since one request may have become several
    attacks; an attack that a draw leaves without a success does not count in that draw.

    Args:
        positives: [P] scores of successful attacks, higher = more suspicious.
        negatives: [N] scores of harmless generations, the same for all attacks.
        attacks: [P] name of the attack of each positive.
        clusters: base prompt of each positive, and of each negative.
        seed: of the resampling.

    Raises:
        ValueError: a score is NaN, a positive has no attack, or the lengths differ.
    """
    if len(attacks) != len(positives) or not all(attacks):
        raise ValueError(f"auroc_by_attack: {len(attacks)} attacks for {len(positives)} positives; name one for each")
    groups = rows_of(attacks)
    if not groups or not len(negatives):
        return AurocByAttack({}, None)
    scores, bases = np.asarray(positives), np.asarray(clusters[0], dtype=object)
    by_attack = {
        name: found
        for name, rows in groups.items()
        if (found := auroc(scores[rows], negatives, (bases[rows].tolist(), clusters[1]), seed=seed)) is not None
    }
    ranks = _Ranks.of(positives, negatives)
    number = {name: place for place, name in enumerate(groups)}
    of = np.array([number[attack] for attack in attacks])

    def draws() -> Iterator[float]:
        for weights, harmless in _draws(_sides(ranks, clusters), seed):
            total = np.bincount(of, weights, minlength=len(groups))
            won = np.bincount(of, weights * ranks.beaten(harmless), minlength=len(groups))
            yield float((won[total > 0] / total[total > 0]).mean())

    low, high = percentiles(draws())
    mean = float(np.mean([area.value for area in by_attack.values()]))
    return AurocByAttack(by_attack, MacroAuroc(mean, low, high, len(groups)))


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
    """Weights of the positives and of the negatives, one pair per draw."""
    random = np.random.default_rng(seed)
    for _ in range(RESAMPLES):
        yield sides[0].weights(random), sides[1].weights(random)
