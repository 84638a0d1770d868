"""Linear discriminant analysis with far more dimensions than samples, from inner products of the samples alone.

All tapped layers of a model give 100,000 dimensions and more. A covariance of that size does not fit into memory, but
the discriminant is a weighted sum of the samples, and the N weights follow from the N x N inner products. Those add up
over layers, so one layer at a time is in memory as float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sri_sdk.errors import ConfigError

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Gram:
    """Inner products of N samples, each layer centred and divided by its own root mean square."""

    products: Doubles
    """[N, N] float64, summed over layers."""
    dimensions: int
    """Summed over layers."""

    @classmethod
    def of_layer(cls, states: NDArray[Any]) -> Self:
        """The inner products of one layer, states [N, D] of any float type."""
        centred = _centred(states)
        products = centred @ centred.T
        mean_square = products.trace() / states.size
        # A layer in which all samples are equal says nothing.
        return cls(products / mean_square if mean_square > 0 else products, states.shape[1])

    def __add__(self, other: Self) -> Self:
        """Those of the same samples in both sets of layers."""
        return type(self)(self.products + other.products, self.dimensions + other.dimensions)


def combine_layer(states: NDArray[Any], coefficients: Doubles) -> tuple[Doubles, float]:
    """What `coefficients` [N] of the samples mean in the space of one layer, states [N, D].

    Returns:
        weight [D] float64 and bias: the layer adds `weight @ state + bias` to the discriminant.
    """
    centred = _centred(states)
    mean_square = float((centred * centred).mean())
    weight: Doubles = centred.T @ coefficients / (mean_square if mean_square > 0 else 1.0)
    return weight, -float(weight @ states.mean(axis=0, dtype=np.float64))


def _centred(states: NDArray[Any]) -> Doubles:
    doubles = states.astype(np.float64)
    doubles -= doubles.mean(axis=0)
    return doubles


@dataclass(frozen=True, slots=True, eq=False)
class Discriminant:
    """A discriminant in the sample space: `products @ coefficients + bias`, positive = harmless."""

    coefficients: Doubles
    """[N] float64."""
    bias: float

    def scores(self, products: NDArray[Any]) -> Doubles:
        """[M, N] inner products of M samples with the N fitted ones -> [M] log-odds, unclipped."""
        scores: Doubles = products @ self.coefficients + self.bias
        return scores


def discriminant(
    gram: Gram, harmful: NDArray[np.bool_], *, shrinkage: float, groups: NDArray[np.int64] | None = None,
    nuisance: float = 0.0,
) -> Discriminant:  # fmt: skip
    """Fisher's discriminant with equal priors and a covariance shrunk towards a multiple of the identity.

    Args:
        gram: of N samples.
        harmful: [N] bool.
        shrinkage: in (0, 1]: the share of the identity in the covariance, as in scikit-learn's `shrinkage`.
        groups: [N] int64: which wrapper or source each sample comes from. None = all from one.
        nuisance: weight of the scatter of the harmless groups' means, added to the covariance: directions in which
            harmless texts differ from source to source should not count as harm.

    Raises:
        ConfigError: a class has fewer than two samples.
    """
    system = _System.of(gram, harmful, groups, nuisance)
    ridge = system.ridge(shrinkage)
    inner = ridge * np.eye(len(system.scatter)) + (1 - shrinkage) * system.scatter
    return system.discriminant(shrinkage, np.linalg.solve(inner, system.pull))


def discriminants(
    gram: Gram, harmful: NDArray[np.bool_], *, shrinkages: Sequence[float], groups: NDArray[np.int64] | None = None,
    nuisance: float = 0.0,
) -> list[Discriminant]:  # fmt: skip
    """`discriminant` with each of some shrinkages, for the time of about one.

    Args:
        gram: of N samples.
        harmful: [N] bool.
        shrinkages: in (0, 1].
        groups: [N] int64, see `discriminant`.
        nuisance: see there.

    Raises:
        ConfigError: a class has fewer than two samples.
    """
    system = _System.of(gram, harmful, groups, nuisance)
    values, vectors = np.linalg.eigh(system.scatter)
    pull = vectors.T @ system.pull
    return [
        system.discriminant(each, vectors @ (pull / (system.ridge(each) + (1 - each) * values))) for each in shrinkages
    ]


@dataclass(frozen=True, slots=True, eq=False)
class _System:
    """(ridge I + (1 - s) Z'Z) w = gap by Woodbury's identity, where Z holds the spread in the layers' space."""

    gram: Gram
    averages: Doubles
    """[2, N]: the mean of the harmless samples and of the harmful ones, as sums of samples."""
    spread: Doubles
    """[M, N]: what scatters within the classes, as sums of samples."""
    scatter: Doubles
    """[M, M]: inner products of the spread, over N."""
    pull: Doubles
    """[M]: inner products of the spread with the gap between the means, over N."""

    @classmethod
    def of(
        cls, gram: Gram, harmful: NDArray[np.bool_], groups: NDArray[np.int64] | None, nuisance: float
    ) -> Self:  # fmt: skip
        """That of N samples, harmful [N] bool, groups [N] int64."""
        count = len(harmful)
        averages = np.stack([~harmful / max((~harmful).sum(), 1), harmful / max(harmful.sum(), 1)])
        for name, found in (("harmless", count - harmful.sum()), ("harmful", harmful.sum())):
            if found < 2:
                raise ConfigError(
                    f"request map: {found} {name} prompts, at least 2 are needed. Add some to the anchors."
                )
        # Every sample minus the mean of its class.
        spread = np.eye(count) - averages[harmful.astype(np.int64)]
        if groups is not None and nuisance > 0:
            spread = np.vstack([spread, _between(groups, ~harmful, averages[0]) * np.sqrt(nuisance * count)])
        towards = spread @ gram.products
        return cls(gram, averages, spread, towards @ spread.T / count, towards @ (averages[0] - averages[1]) / count)

    def ridge(self, shrinkage: float) -> float:
        """Weight of the identity in the covariance."""
        ridge = shrinkage * float(self.scatter.trace()) / self.gram.dimensions
        if ridge <= 0:
            raise ConfigError("request map: the states of all prompts of a class are equal. Check the tapped layers.")
        return ridge

    def discriminant(self, shrinkage: float, solved: NDArray[Any]) -> Discriminant:
        """That of a solution [M] float64 of the inner system."""
        gap = self.averages[0] - self.averages[1]
        coefficients = (gap - (1 - shrinkage) * self.spread.T @ solved) / self.ridge(shrinkage)
        middle = self.averages.mean(axis=0)
        return Discriminant(coefficients, -float(middle @ self.gram.products @ coefficients))


def _between(groups: NDArray[np.int64], of: NDArray[np.bool_], average: Doubles) -> Doubles:
    """Mean of each group of the samples `of` [N] minus their common mean, as sums of samples: [G, N] over root G."""
    names = np.unique(groups[of])
    means = np.stack([(member := of & (groups == name)) / member.sum() for name in names])
    rows: Doubles = (means - average) / np.sqrt(len(names))
    return rows


def held_out_scores(
    gram: Gram, harmful: NDArray[np.bool_], bases: NDArray[np.int64], *, shrinkage: float,
    groups: NDArray[np.int64] | None = None, nuisance: float = 0.0, folds: int = 5, seed: int = 0,
) -> Doubles:  # fmt: skip
    """Scores each sample by a discriminant that was fitted without it and without its variants.

    Args:
        gram: of N samples. Layers are centred and scaled over all of them, without looking at labels.
        harmful: [N] bool.
        bases: [N] int64: samples of one base prompt share a number, and a fold.
        shrinkage: see `discriminant`.
        groups: see `discriminant`.
        nuisance: see `discriminant`.
        folds: number of discriminants.
        seed: of the assignment to folds, which is balanced within each class.

    Returns:
        [N] float64 log-odds, unclipped.
    """
    fold = _folds(bases, harmful, folds, seed)
    scores = np.empty(len(harmful))
    for each in range(folds):
        held, fitted = fold == each, fold != each
        part = Gram(gram.products[np.ix_(fitted, fitted)], gram.dimensions)
        found = discriminant(
            part, harmful[fitted], shrinkage=shrinkage, groups=None if groups is None else groups[fitted],
            nuisance=nuisance,
        )  # fmt: skip
        scores[held] = found.scores(gram.products[np.ix_(held, fitted)])
    return scores


def _folds(bases: NDArray[np.int64], harmful: NDArray[np.bool_], folds: int, seed: int) -> NDArray[np.int64]:
    """[N] int64: the fold of each sample; whole bases, dealt out class by class."""
    generator = np.random.default_rng(seed)
    of_base: dict[int, int] = {}
    for label in (False, True):
        names = [name for name in np.unique(bases[harmful == label]).tolist() if name not in of_base]
        for place, name in enumerate(generator.permutation(names).tolist()):
            of_base[name] = place % folds
    return np.array([of_base[name] for name in bases.tolist()], dtype=np.int64)


def log_odds_scale(scores: Doubles, harmful: NDArray[np.bool_], *, most: float) -> tuple[float, float]:
    """The slope and offset that make held-out scores log-odds (Platt 1999, with his smoothed targets).

    A discriminant with more dimensions than samples is far too sure of itself. Without this most requests would lie
    beyond the clip, and all be equal.

    Args:
        scores: [N] float64, higher = harmless, from discriminants that had not seen the sample.
        harmful: [N] bool.
        most: largest log-odds, in size, that these samples may get.

    Returns:
        slope and offset; the slope is at least 0.
    """
    harmless = ~harmful
    targets = np.where(harmless, (harmless.sum() + 1) / (harmless.sum() + 2), 1 / (harmful.sum() + 2))
    # Classes count alike, as they do in the discriminant.
    weights = np.where(harmless, 0.5 / harmless.sum(), 0.5 / harmful.sum())
    unit = float(np.abs(scores).max()) or 1.0
    columns = np.stack([scores / unit, np.ones_like(scores)], axis=1)
    found = np.zeros(2)
    for _ in range(200):
        chance = 1 / (1 + np.exp(-np.clip(columns @ found, -700, 700)))
        slope = columns.T @ (weights * (chance - targets))
        bend = (columns * (weights * chance * (1 - chance))[:, None]).T @ columns + 1e-9 * np.eye(2)
        change = np.linalg.solve(bend, slope)
        # Newton's step, shortened: far from the solution the curve is nearly flat, and a full step flies off.
        found = found - change * min(1.0, 4.0 / float(np.abs(change).max() or 1.0))
        if np.abs(change).max() < 1e-10:
            break
    largest = float(np.abs(columns @ found).max())
    if largest > most:
        found = found * (most / largest)
    return max(float(found[0]) / unit, 0.0), float(found[1])
