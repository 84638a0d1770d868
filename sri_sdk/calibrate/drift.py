"""Drift: whether harmless generations still score as those did that the thresholds were set on.

The promise of a threshold holds for traffic that is exchangeable with the calibration. *Canaries* test that: harmless
prompts that nobody has used before, generated and scored like any request. Each gets an online conformal p-value, its
rank among the calibration scores and the canaries before it, ties broken at random. If canaries and calibration are
exchangeable, these p-values are independent and uniform, exactly and for any distribution of scores. Two tests look for
the opposite, with half of the false-drift rate each:

* **bets** against uniformity, a test martingale: each bet is a density on [0, 1], and its capital is multiplied by the
  density of every p-value. A fresh set of bets begins every `STRIDE` canaries, so that drift which comes late is found
  as soon as drift that comes early. By Ville's inequality, capital that is 1 at first ever reaches 1 / a with
  probability a at most, however long one looks;
* **windows**: an exact Kolmogorov-Smirnov test of each window of p-values. Window j may spend 1 / (j (j + 1)) of the
  rate, which adds up to all of it.

So the rate covers the whole life of a calibration, not one look. It says nothing of how much the false-alarm rate has
changed, and exchangeable canaries say nothing of traffic that they do not resemble.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sri_sdk.errors import ConfigError, MissingExtra, ScoringError

STRIDE = 10
"""Canaries after which a fresh set of bets begins."""
MOST_SETS = 200
"""Sets that are kept; the poorest goes. Capital that is thrown away makes the test slower, never wrong."""
SMALLEST = 1e-12
"""P-values are taken for at least this, and at most for one less this: a density may be infinite at the edges."""


def bets(p: float) -> NDArray[np.float64]:
    """The densities of all bets at one p-value in (0, 1): [K] float64, each with integral 1 over [0, 1].

    No bet; small and high ones on p-values that are small (scores higher than they were) or large (lower), a slope each
    way, and one each on scores that are spread wider and narrower.
    """
    small, large = p, 1 - p
    up, down = 0.5 * small**-0.5, 0.5 * large**-0.5
    return np.array([
        1.0, up, 0.25 * small**-0.75, down, 0.25 * large**-0.75, 0.5 + large, 0.5 + small, (up + down) / 2,
        6 * small * large,
    ])  # fmt: skip


@dataclass(frozen=True, slots=True)
class PartDrift:
    """What the canaries say of one part of a guard."""

    name: str
    calibration: int
    """Calibration scores."""
    evidence: float
    """The most capital that the bets have had: 1 at first, large = the canaries score otherwise. Natural logarithm."""
    enough: float
    """From here on it is drift. Natural logarithm."""
    found_by_bets: int | None
    """Canaries after which the bets had found it; None = they have not."""
    window: float | None
    """Smallest p-value of a window, times what that window may not spend; None = no window is full. Drift if at most
    `level`."""
    level: float
    found_by_window: int | None
    """Canaries after which a window had found it; None = none has."""
    higher: float | None
    """Share of canaries that score higher than the median of the calibration; 0.5 = no shift. None = there are none."""

    @property
    def drift(self) -> bool:
        """Whether one of the tests has found it."""
        return self.found_by_bets is not None or self.found_by_window is not None


class Exchangeability:
    """One stream of scores against one calibration."""

    def __init__(self, name: str, calibration: NDArray[Any], *, rate: float, window: int) -> None:
        """Takes the calibration scores [n], how often drift may be found that is none, and canaries per window."""
        self._name, self._rate, self._size = name, rate, window
        self._sorted: list[float] = np.sort(np.asarray(calibration, dtype=np.float64)).tolist()
        self._n, self._middle = len(self._sorted), float(np.median(calibration))
        self._count = self._above = self._sets = 0
        self._capital = np.empty((0, len(bets(0.5))))
        """[sets, bets] natural logarithms, weights included."""
        self._weight_left = 1.0
        self._evidence = 0.0
        self._window: list[float] = []
        self._windows = 0
        self._best: float | None = None
        self._found_by_window: int | None = None
        self._found_by_bets: int | None = None

    def add(self, score: float, tie: float) -> float:
        """Takes one canary.

        Args:
            score: of the same graph as the calibration's.
            tie: uniform in (0, 1), drawn for this canary alone.

        Returns:
            Its p-value.
        """
        below, upto = bisect_left(self._sorted, score), bisect_right(self._sorted, score)
        p = (len(self._sorted) - upto + tie * (upto - below + 1)) / (len(self._sorted) + 1)
        insort(self._sorted, score)
        self._count += 1
        self._above += score > self._middle
        self._bet(min(max(p, SMALLEST), 1 - SMALLEST))
        self._window.append(p)
        if len(self._window) == self._size:
            self._close_window()
        return p

    def finding(self) -> PartDrift:
        """What was found so far."""
        return PartDrift(
            self._name, self._n, self._evidence, self._enough, self._found_by_bets, self._best, self._rate / 2,
            self._found_by_window, self._above / self._count if self._count else None,
        )  # fmt: skip

    @property
    def _enough(self) -> float:
        return -math.log(self._rate / 2)

    def _bet(self, p: float) -> None:
        if (self._count - 1) % STRIDE == 0:
            self._sets += 1
            share = 1 / (self._sets * (self._sets + 1))
            self._weight_left -= share
            kinds = self._capital.shape[1]
            self._capital = np.vstack([self._capital, np.full((1, kinds), math.log(share / kinds))])
            if len(self._capital) > MOST_SETS:
                self._capital = np.delete(self._capital, self._capital.max(1).argmin(), axis=0)
        self._capital += np.log(bets(p))
        top = float(self._capital.max())
        # What waits for sets that have not begun is capital, too.
        total = top + math.log(float(np.exp(self._capital - top).sum()) + max(self._weight_left, 0) * math.exp(-top))
        self._evidence = max(self._evidence, total)
        if self._found_by_bets is None and total >= self._enough:
            self._found_by_bets = self._count

    def _close_window(self) -> None:
        self._windows += 1
        try:
            from scipy.stats import kstest
        except ImportError as err:
            raise MissingExtra("Looking for drift in windows", extra="train") from err
        spent = self._windows * (self._windows + 1)
        found = float(kstest(self._window, "uniform", method="exact").pvalue) * spent
        self._best = found if self._best is None else min(self._best, found)
        if self._found_by_window is None and found <= self._rate / 2:
            self._found_by_window = self._count
        self._window = []


class Canaries:
    """The canaries of one guard, in the order in which they came; none counts twice."""

    def __init__(self, calibration: Mapping[str, NDArray[Any]], *, rate: float, window: int, seed: str = "") -> None:
        """Takes what the guard was calibrated on.

        Args:
            calibration: part of the guard -> its calibration scores [n].
            rate: how often drift may be found although there is none, over the whole life of the calibration; the
                parts share it.
            window: canaries per window.
            seed: of the random numbers that break ties, beside each canary's key.

        Raises:
            ConfigError: the rate is none, or a window is too small to find anything.
        """
        if not 0 < rate < 1 or window < 10 or not calibration:
            raise ConfigError(
                f"drift: rate {rate} and window {window}; allowed: a rate between 0 and 1, at least 10 canaries per "
                "window, and one part or more."
            )
        self.rate, self.window, self._seed = rate, window, seed
        self._keys: set[str] = set()
        self._parts = {
            name: Exchangeability(name, scores, rate=rate / len(calibration), window=window)
            for name, scores in calibration.items()
        }

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: str, scores: Mapping[str, float]) -> dict[str, float]:
        """Takes one canary.

        Args:
            key: names its prompt; every prompt has another.
            scores: part -> its score, for all parts.

        Returns:
            Part -> p-value.

        Raises:
            ConfigError: a canary of this key was taken before: a prompt used twice has the same score twice, and says
                nothing new.
            ScoringError: a score is missing or not finite.
        """
        if key in self._keys:
            raise ConfigError(
                f"canary {key[:12]}: used before. Every canary is a prompt that nobody has used: take another one."
            )
        if scores.keys() != self._parts.keys() or not all(map(math.isfinite, scores.values())):
            raise ScoringError(
                f"canary {key[:12]}: scores {dict(scores)}; needed is a finite one for each of: "
                f"{', '.join(self._parts)}. Leave out a canary that was not monitored, and count it."
            )
        self._keys.add(key)
        return {name: part.add(float(scores[name]), self._tie(key, name)) for name, part in self._parts.items()}

    def findings(self) -> tuple[PartDrift, ...]:
        """What was found so far, part by part."""
        return tuple(part.finding() for part in self._parts.values())

    @property
    def drift(self) -> bool:
        """Whether any part has drifted. Once found, it stays found until the guard is calibrated anew."""
        return any(found.drift for found in self.findings())

    def _tie(self, key: str, part: str) -> float:
        """Uniform in (0, 1), the same in every process: nobody can draw again until the answer suits."""
        drawn = hashlib.sha256(f"{self._seed}:{part}:{key}".encode()).digest()
        return (int.from_bytes(drawn[:6], "big") + 0.5) / 2**48
