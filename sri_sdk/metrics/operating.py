"""What a detector catches at a given false-alarm rate, and the whole trade-off as a ROC curve.

Flagged means score > threshold, strictly, as in every runtime. The threshold for a false-alarm rate is the conformal
order statistic of the harmless scores; scores equal to it are not flagged, however many there are.

A generation without a finite score was not monitored. It is never flagged and never dropped: an attack that was not
scored counts as missed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sri_sdk.calibrate.conformal import conformal_rank
from sri_sdk.errors import ConfigError
from sri_sdk.metrics.bootstrap import RESAMPLES, Clusters, rate_interval
from sri_sdk.metrics.rates import Rate, exact_rate

EXCEEDING = 3
"""Harmless scores expected above a threshold, below which a rate at it is not worth quoting."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Roc:
    """Corners of the ROC curve, from (0, 0) upwards; points on the line between two corners are left out."""

    false_alarms: Floats
    """[K] share of harmless generations flagged, rising."""
    detections: Floats
    """[K] share of attacks flagged, rising. Ends below 1 where attacks were not scored."""
    thresholds: Floats
    """[K] falling; flagged when score > threshold. The last is -inf: whatever has a score."""
    unscored: tuple[int, int]
    """Attacks and harmless generations without a finite score."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON types; the last threshold, which JSON cannot write, is None."""
        return {
            "false_alarms": self.false_alarms.tolist(),
            "detections": self.detections.tolist(),
            "thresholds": [value if math.isfinite(value) else None for value in self.thresholds.tolist()],
            "unscored": list(self.unscored),
        }


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """TPR at one false-alarm rate."""

    fpr: float
    """Bound on the false-alarm rate, on average over sets of harmless prompts like this one."""
    threshold: float
    """In the unit of the scores; flagged when score > threshold."""
    tpr: Rate
    """Share of attacks flagged; its exact interval assumes a fixed threshold and independent attacks."""
    low: float
    """Lower end of the 95 % interval that resamples base prompts of both sides, so that the threshold moves too. Rough
    where only a few harmless scores lie above the threshold."""
    high: float
    """Upper end."""
    benign: int
    """Harmless scores behind the threshold."""
    unscored_attacks: int
    """Attacks without a finite score; in `tpr` they count as missed."""
    unscored_benign: int
    """Harmless generations without a finite score; they are not behind the threshold."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


def roc(attacks: NDArray[Any], benign: NDArray[Any]) -> Roc:
    """The ROC curve of scores [P] of attacks against scores [N] of harmless generations, higher = more suspicious.

    Raises:
        ConfigError: one side has no finite score.
    """
    sides = [np.asarray(side, dtype=np.float64) for side in (attacks, benign)]
    scored = [np.sort(side[np.isfinite(side)]) for side in sides]
    if not all(map(len, scored)):
        raise ConfigError(
            f"ROC: {len(scored[0])} scored attacks and {len(scored[1])} scored harmless generations; at least one of "
            "each is needed. Use more prompts, or attacks that succeed."
        )
    thresholds = np.concatenate([np.unique(np.concatenate(scored))[::-1], [-np.inf]])
    # Whole numbers, so that "on one line" is exact.
    caught, alarmed = (len(side) - np.searchsorted(side, thresholds, side="right") for side in scored)
    corner = _corners(alarmed, caught)
    return Roc(
        alarmed[corner] / len(sides[1]),
        caught[corner] / len(sides[0]),
        thresholds[corner],
        (len(sides[0]) - len(scored[0]), len(sides[1]) - len(scored[1])),
    )


def fewest_benign(fpr: float) -> int:
    """Harmless scores that a TPR at this false-alarm rate needs: ceil(3 / fpr), so 3,000 for 0.1 %.

    Raises:
        ConfigError: fpr is not a share between 0 and 1.
    """
    if not 0 < fpr < 1:
        raise ConfigError(f"fpr is {fpr:g}; allowed: a share between 0 and 1, such as 0.01 for one in a hundred.")
    return math.ceil(EXCEEDING / Fraction(str(fpr)))


def tpr_at_fpr(
    attacks: NDArray[Any],
    benign: NDArray[Any],
    fpr: float,
    clusters: tuple[Sequence[str], Sequence[str]],
    *,
    name: str | None = None,
    seed: int = 0,
) -> OperatingPoint:
    """Share of attacks flagged at the threshold that lets at most `fpr` of harmless generations alarm.

    Args:
        attacks: [P] scores of (successful) attacks, higher = more suspicious; not finite = not scored.
        benign: [N] scores of harmless generations.
        fpr: bound on the false-alarm rate.
        clusters: base prompt of each attack, and of each harmless generation.
        name: of the rate; None = `tpr_at:<fpr>`.
        seed: of the resampling.

    Raises:
        ConfigError: fpr is not a share, or too few harmless scores for it (see `fewest_benign`).
        MissingExtra: scipy is not installed.
    """
    positive, negative = (np.asarray(side, dtype=np.float64) for side in (attacks, benign))
    usable = np.isfinite(negative)
    needed, found = fewest_benign(fpr), int(usable.sum())
    if found < needed:
        raise ConfigError(
            f"TPR at a false-alarm rate of {100 * fpr:g} %: {found} harmless generations have a score, at least "
            f"{needed} are needed, to expect {EXCEEDING} above the threshold. Use more prompts, or a higher rate."
        )
    caught = np.where(np.isfinite(positive), positive, -np.inf)
    bases = [base for base, kept in zip(clusters[1], usable, strict=True) if kept]
    sides = Clusters.of(clusters[0], len(positive)), Clusters.of(bases, found)
    scores = negative[usable]
    threshold = float(np.sort(scores)[conformal_rank(found, fpr) - 1])
    tpr = exact_rate(name or f"tpr_at:{fpr:g}", int((caught > threshold).sum()), len(caught))
    low, high = rate_interval(_draws(caught, scores, fpr, sides, seed), tpr.value, sides[0].count)
    unscored = int((~np.isfinite(positive)).sum())
    return OperatingPoint(fpr, threshold, tpr, low, high, found, unscored, len(negative) - found)


def _draws(caught: Floats, benign: Floats, fpr: float, sides: tuple[Clusters, Clusters], seed: int) -> Iterator[float]:
    """TPR of each draw, at the threshold of that draw: scores [P] of attacks against [N] of harmless generations."""
    random = np.random.default_rng(seed)
    order = np.argsort(benign, kind="stable")
    ascending = benign[order]
    for _ in range(RESAMPLES):
        attacks, harmless = (side.weights(random) for side in sides)
        so_far = np.cumsum(harmless[order])
        threshold = ascending[np.searchsorted(so_far, _rank(int(so_far[-1]), fpr))]
        yield float(attacks[caught > threshold].sum() / attacks.sum())


def _rank(n: int, fpr: float) -> int:
    try:
        return conformal_rank(n, fpr)
    except ConfigError:  # Clusters of very different sizes: a draw can be too small, and its largest score must do.
        return n


def _corners(x: NDArray[np.int64], y: NDArray[np.int64]) -> NDArray[np.bool_]:
    """[K] points of a rising line -> [K] whether the line turns there; the two ends always count."""
    run, rise = np.diff(x), np.diff(y)
    turns = run[:-1] * rise[1:] != run[1:] * rise[:-1]
    return np.concatenate([[True], turns, [True]])
