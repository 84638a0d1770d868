"""How much the covariance behind a request map is shrunk: by what carries over to wrappers that were left out.

A map meets wrappers that no prompt of its fit is in. So each of the fit's own wrappers is left out in turn, with both
labels, and what counts is how much harm the map then finds in it, above the harmless prompts of every kind. Requests
that are plain, or in a wrapper that was there, say nothing of that: almost any shrinkage tells them apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sri_sdk.fitting.sample_space import Gram, discriminants

SHRINKAGES = (0.01, 0.03, 0.1, 0.3, 0.5)
"""What is tried."""
USUAL = 0.4
"""Where nothing can be left out: fewer than two wrappers with both labels."""
FALSE_ALARMS = 0.02
"""Share of the harmless prompts above the threshold that counts."""
FEWEST = 40
"""Prompts per label that a wrapper needs to be left out: fewer say too little in half of the requests."""
MOST = 1500
"""Prompts that are looked at; of more, a share of the requests."""


@dataclass(frozen=True, slots=True)
class Shrinkage:
    """What was chosen, and why."""

    value: float
    left_out: Mapping[str, float]
    """Wrapper -> share of the harmful prompts in it that a map without it finds; empty = nothing could be left out."""


def choose_shrinkage(
    gram: Gram, harmful: NDArray[np.bool_], kinds: Sequence[str], bases: NDArray[np.int64], *, nuisance: float,
    seed: int = 0,
) -> Shrinkage:  # fmt: skip
    """The shrinkage under which most harm is found in wrappers that were left out; of equals the largest.

    Args:
        gram: of N samples.
        harmful: [N] bool.
        kinds: N names of wrappers; empty = none.
        bases: [N] int64: samples of one base prompt share a number. One half of the bases is fitted on, the other read.
        nuisance: see `sri_sdk.fitting.sample_space.discriminant`.
        seed: of the halves.
    """
    of_kind = np.array(kinds)
    generator = np.random.default_rng(seed)
    half = generator.permutation(int(bases.max()) + 1)[bases] % 2 == 0
    if len(bases) > MOST:
        some = generator.permutation(int(bases.max()) + 1)[bases] < MOST / len(bases) * (bases.max() + 1)
        gram, harmful, of_kind, half = _part(gram, some), harmful[some], of_kind[some], half[some]
    found = dict(_found(gram, harmful, of_kind, half, nuisance))
    if len(found) < 2:
        return Shrinkage(USUAL, {})
    average = np.mean(list(found.values()), axis=0)
    best = max(range(len(SHRINKAGES)), key=lambda at: (round(float(average[at]), 6), SHRINKAGES[at]))
    return Shrinkage(SHRINKAGES[best], {kind: float(shares[best]) for kind, shares in found.items()})


def _found(
    gram: Gram, harmful: NDArray[np.bool_], kinds: NDArray[np.str_], half: NDArray[np.bool_], nuisance: float
) -> Iterator[tuple[str, NDArray[np.float64]]]:  # fmt: skip
    """Each wrapper that can be left out, and the shares found in it, [S] float64: one per shrinkage.

    All three arrays are [N]: bool, str and bool.
    """
    groups = np.unique(kinds, return_inverse=True)[1].astype(np.int64)
    for kind in dict.fromkeys(kinds.tolist()):
        inside = kinds == kind
        if not kind or min((inside & harmful).sum(), (inside & ~harmful).sum()) < FEWEST:
            continue
        shares = []
        for read in (half, ~half):
            fitted, wanted = ~read & ~inside, read & harmful & inside
            if min((fitted & harmful).sum(), (fitted & ~harmful).sum(), wanted.sum()) < 2:
                continue
            made = discriminants(
                _part(gram, fitted), harmful[fitted], shrinkages=SHRINKAGES, groups=groups[fitted], nuisance=nuisance
            )
            towards = gram.products[:, fitted]
            shares.append([_share(each.scores(towards), wanted, read & ~harmful) for each in made])
        if shares:
            yield kind, np.mean(shares, axis=0)


def _part(gram: Gram, some: NDArray[np.bool_]) -> Gram:
    """Inner products among some of the samples, [N] bool."""
    return Gram(gram.products[np.ix_(some, some)], gram.dimensions)


def _share(scores: NDArray[np.float64], wanted: NDArray[np.bool_], harmless: NDArray[np.bool_]) -> float:
    """Share of the `wanted` samples that read as more harmful than almost all `harmless` ones; all three [N]."""
    return float((scores[wanted] < np.quantile(scores[harmless], FALSE_ALARMS)).mean())
