"""The online rule: a score for a generation that is still running, with one promise per generation.

A detector scores T cells. While a generation runs only the first t are known, and the others repeat the newest of them,
as the step grid itself does after an early end: the score answers "what if it stays like this?". (Filled with the mean
harmless signal instead, every refused harmless request looks like a jailbreak until it ends: it starts to refuse and
then seems to turn compliant. On the lab model that cost the online rule all its power.) Such scores differ in level and
spread with t, so each is standardised for its length,

    z_t = (score of the first t cells - m_t) / q_t        m_t, q_t from a *reference* fold

and the alarm is z_t > lambda at any t. Lambda is the conformal quantile of the *maximum over t* of z_t on the
calibration fold, so P(any alarm in a harmless generation) <= alpha. Quantiles per length alone would alarm in 2.4 to
4.6 % of generations at a nominal 1 %. Reference and calibration must not share a prompt: then z is fixed before the
calibration fold is seen, and the guarantee is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from sri_sdk.errors import ConfigError, ScoringError

Floats = NDArray[np.float32]

FLOOR = 0.3
"""q_t is at least this share of the largest q. Early on most scores are nearly equal; with a lower floor one odd early
cell sets lambda. On made-up signals, from unsaturated to fully saturated, 0.3 found the most attacks, and earliest."""
FEWEST = 20
"""Reference generations below which a standard deviation says nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class PrefixScale:
    """Middle and spread of harmless scores at each length."""

    middle: Floats
    """[T] float32 m_t, the median: entry t - 1 is for t known cells; in the detector's unit."""
    spread: Floats
    """[T] float32 q_t > 0, the standard deviation or the floor; same unit."""

    @classmethod
    def fit(cls, scores: Floats) -> Self:
        """From reference scores [N, T] float32: row i, column t - 1 is generation i with t known cells.

        Raises:
            ConfigError: too few generations.
            ScoringError: the scores do not vary at any length.
        """
        if len(scores) < FEWEST:
            raise ConfigError(
                f"online rule: {len(scores)} reference generations, at least {FEWEST} are needed. "
                "Give the reference fold more harmless prompts."
            )
        middle, spread = np.median(scores.astype(np.float64), axis=0), scores.std(axis=0, dtype=np.float64)
        if not spread.max() > 0:
            raise ScoringError(
                "online rule: the detector's score is the same for all reference generations at every length; "
                "scores must vary. Use another detector or domain."
            )
        return cls(middle.astype(np.float32), np.maximum(spread, FLOOR * spread.max()).astype(np.float32))

    def standardise(self, scores: Floats) -> Floats:
        """[N, T] float32 scores -> [N, T] float32 z, unitless. The exported graph computes the same."""
        z: Floats = (scores - self.middle) / self.spread
        return z


def hold(signals: Floats, lengths: NDArray[np.int64]) -> Floats:
    """[N, T, C] float32 with `lengths` [N] int64 >= 1 known cells -> [N, T, C]: the others repeat the newest known."""
    known = np.arange(signals.shape[1]) < lengths[:, None]
    newest = signals[np.arange(len(signals)), lengths - 1][:, None]
    filled: Floats = np.where(known[..., None], signals, newest)
    return filled
