"""Evidence over the generations of one session: an attacker tries more than once, and each try may look half harmless.

Within one generation there is no such thing. Its cells depend on each other, so a product of bets on their p-values is
no evidence: on the lab's causal model it reaches 100 in 16 % of harmless generations. The law of a cell given those
before it, which a valid one needs, is not known. There the calibrated maximum of `prefix.py` decides.

Across generations it works. The k-th generation of a session gets the rank of its score among the n calibration scores
*and the k - 1 scores before it*,

    p_k = (1 + number of those n + k - 1 that are at least as high) / (n + k)

Where all n + k are exchangeable, p_1, p_2 ... are independent and each at least uniform; against the n alone they would
not be independent, and a product of bets would drift upwards in a long session. Betting e p^(e - 1) on each, for a few
e, gives a fair game, and so does starting to bet with generation j instead of the first; a mixture over e, and over j
with weights 1 / (j (j + 1)), is one that has not given its money away after a long harmless beginning. By Ville's
inequality it ever reaches 1 / alpha with probability at most alpha, however long the session, and whenever one looks.

The promise is per session, on average over calibrations, and rests on harmless generations of a session being like
those of the calibration, and independent. One user's are often alike, which no calibration on single generations can
know: calibrate the level on whole harmless sessions then (`largest` of each, and `Threshold.fit` of these).
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable

import numpy as np

from sri_sdk.calibrate.conformal import Scores
from sri_sdk.errors import ConfigError, ScoringError

BETS = (0.2, 0.5, 0.8)
"""Exponents e of the bets: small ones win on single extreme scores, large ones on many that are a little high."""
MOST = 1e300
"""Evidence stays below: a product of bets may overflow, and infinity times zero is no number."""


class SessionEvidence:
    """Evidence against a session being harmless, from the score of one generation after the other. Not for two threads.

        session = SessionEvidence(scorer.thresholds["final"].scores, alpha=0.01)
        session.observe(verdict.score)
        session.alarmed

    Attributes:
        evidence: now; 1 = none.
        generations: observed so far.
        alarmed: whether it has reached the level; it stays so.
        level: alarm at this evidence.
    """

    def __init__(self, calibration: Scores, alpha: float | None = None, *, level: float | None = None) -> None:
        """Begins a session.

        Args:
            calibration: [n] float32 scores of harmless generations, sorted, of the same rule.
            alpha: bound on the probability that a harmless session ever alarms; the level is then 1 / alpha.
            level: instead of alpha: alarm above this evidence, calibrated on whole sessions.

        Raises:
            ConfigError: both or neither of alpha and level, or not in their range; or there are no scores.
        """
        if (alpha is None) == (level is None) or not len(calibration):
            raise ConfigError("session: give alpha or level, not both, and at least one calibration score.")
        if alpha is not None and not 0 < alpha < 1:
            raise ConfigError(f"session: alpha is {alpha:g}; allowed: a share between 0 and 1, such as 0.01.")
        self.level = 1 / alpha if alpha is not None else float(level or 0)
        self.evidence, self.generations, self.alarmed = 1.0, 0, False
        self._calibration, self._before = np.asarray(calibration, dtype=np.float32), list[float]()
        self._bets = np.array(BETS)
        self._running = np.zeros(len(BETS))

    def observe(self, score: float) -> float:
        """Takes the score of the next generation and returns the evidence.

        Leave out what could not be scored.

        Raises:
            ScoringError: the score is not finite.
        """
        if not np.isfinite(score):
            raise ScoringError(f"session: a score is {score}; leave out generations that could not be scored.")
        value = float(np.float32(score))
        at_least = len(self._calibration) - int(np.searchsorted(self._calibration, np.float32(value)))
        at_least += len(self._before) - bisect.bisect_left(self._before, value)
        self.generations += 1
        p_value = (1 + at_least) / (len(self._calibration) + self.generations)
        bisect.insort(self._before, value)
        start = 1 / (self.generations * (self.generations + 1))
        self._running = np.minimum((self._running + start) * self._bets * p_value ** (self._bets - 1), MOST)
        # What is not yet staked: the weights of all later starts.
        self.evidence = float(self._running.mean()) + 1 / (self.generations + 1)
        self.alarmed = self.alarmed or self.evidence >= self.level
        return self.evidence


def largest(calibration: Scores, session: Iterable[float]) -> float:
    """The largest evidence of a whole session's scores, for a level that is calibrated on harmless sessions.

    Args:
        calibration: [n] float32 scores of harmless generations of no such session, sorted.
        session: the scores of its generations, in order; at least one.
    """
    running = SessionEvidence(calibration, level=np.inf)
    return max(running.observe(score) for score in session)
