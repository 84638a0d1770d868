"""How one-dimensional a difference is: the singular values of paired differences, beside those of chance.

If one direction carries what two kinds of prompts differ by, the differences of pairs, one prompt of each kind, have
one large singular value. Pairs within one kind show what chance gives with as many pairs (arXiv 2512.24143).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sri_sdk.errors import ConfigError

KEPT = 8
"""Largest singular values that are reported."""
FEWEST = 4
"""Pairs at least."""


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Shares are of the sum of squares of the differences, about 0 and not about their mean."""

    pairs: int
    """Pairs behind each share, the same number for the difference and for chance."""
    largest: tuple[float, ...]
    """Largest singular values of the differences, in the unit of the model's states."""
    first: float
    """Share of the first singular value, 0 to 1; 1 = all differences lie on one line."""
    chance_without: float
    """The same of pairs of prompts without the attribute."""
    chance_with: float
    """The same of pairs of prompts with it."""
    effective: float
    """Effective number of dimensions: 1 over the sum of squared shares; 1 = one-dimensional."""
    along: float
    """|cosine| of the first singular vector and the difference of the means; 1 = the direction is that line."""

    def to_dict(self) -> Mapping[str, Any]:
        """As JSON types."""
        return {**asdict(self), "largest": list(self.largest)}


def spectrum(
    without: NDArray[np.float32], having: NDArray[np.float32], *, paired: bool = False, seed: int = 0
) -> Spectrum:
    """Compares the differences between two kinds with those within each.

    Args:
        without: [N, D] float32, states of prompts without the attribute at one block and place.
        having: [M, D] float32, with it.
        paired: row i of both is about the same thing; else prompts are paired by chance.
        seed: of that chance.

    Raises:
        ConfigError: there are too few prompts for enough pairs.
    """
    count = min(len(without), len(having)) // 2
    if count < FEWEST:
        raise ConfigError(
            f"spectrum: {len(without)} and {len(having)} prompts; at least {2 * FEWEST} of each kind are needed, since "
            "chance is measured on pairs within a kind."
        )
    rng = np.random.default_rng(seed)
    mine, theirs = without.astype(np.float64), having.astype(np.float64)
    if paired:
        chosen = rng.permutation(min(len(mine), len(theirs)))[:count]
        differences = theirs[chosen] - mine[chosen]
    else:
        differences = theirs[rng.permutation(len(theirs))[:count]] - mine[rng.permutation(len(mine))[:count]]
    _, values, right = np.linalg.svd(differences, full_matrices=False)
    shares = values**2 / (values**2).sum() if values.any() else np.zeros_like(values)
    mean = theirs.mean(axis=0) - mine.mean(axis=0)
    length = float(np.linalg.norm(mean))
    return Spectrum(
        pairs=count,
        largest=tuple(map(float, values[:KEPT])),
        first=float(shares[0]),
        chance_without=_chance(mine, count, rng),
        chance_with=_chance(theirs, count, rng),
        effective=float(1 / (shares**2).sum()) if shares.any() else 0.0,
        along=float(abs(right[0] @ mean) / length) if length else 0.0,
    )


def _chance(states: NDArray[np.float64], count: int, rng: np.random.Generator) -> float:
    """Share of the first singular value among differences of two halves of one kind [N, D]."""
    order = rng.permutation(len(states))
    values = np.linalg.svd(states[order[:count]] - states[order[count : 2 * count]], compute_uv=False)
    whole = float((values**2).sum())
    return float(values[0] ** 2) / whole if whole else 0.0
