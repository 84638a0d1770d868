"""How often something is so, when the judge that says so errs: its errors are counted on labelled responses.

A judge that takes 2 % of plain answers for refusals finds 2 % of refusals where there are none. With p the share it
finds, s the share it recognises of what is so, and m the share it mistakes of what is not, the truth is estimated as
(p - m) / (s - m) (Rogan and Gladen, American Journal of Epidemiology 107, 1978). The interval is made of the exact
ones of all three shares, by melding (Bayer, Fay and Graubard, arXiv 2205.13494).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sri_sdk.metrics.differences import difference
from sri_sdk.metrics.rates import CONFIDENCE, Rate, exact_rate
from sri_sdk.records import Outcome

DRAWS = 10_000
"""Of each share. The ends then move by one or two hundredths of the interval's length from seed to seed."""
POSSIBLE = 0.1
"""Share of draws that must leave a rate between 0 and 1; with fewer, the errors hardly belong to such a rate."""
WIDEST = 0.5
"""Length, a share, from which an interval says too little to be given."""


@dataclass(frozen=True, slots=True)
class JudgeErrors:
    """How a judge errs about one outcome, on responses whose outcome is known."""

    outcome: Outcome
    recognised: Rate
    """Of the responses that have the outcome, how many the judge says have it: its sensitivity."""
    mistaken: Rate
    """Of the responses that do not, how many the judge says do: 1 - its specificity."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Corrected:
    """What a rate would be if its judge did not err, as far as anybody can tell."""

    name: str
    value: float | None
    """A share in [0, 1]; None where it is withheld, as are both ends."""
    low: float | None
    """Lower end of the 95 % interval, with the uncertainty of the rate and of the judge's errors in it."""
    high: float | None
    """Upper end."""
    withheld: str | None
    """Why there is no number, as a sentence; None where there is one."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)

    def __str__(self) -> str:
        if self.value is None or self.low is None or self.high is None:
            return f"withheld: {self.withheld}"
        return f"{100 * self.value:.1f} % (95 % interval {100 * self.low:.1f} to {100 * self.high:.1f})"


def judge_errors(labels: Sequence[Outcome], said: Sequence[Outcome], outcome: Outcome) -> JudgeErrors:
    """Counts a judge's errors about one outcome.

    Args:
        labels: of N responses, what each is, from reading it.
        said: of the same ones, what the judge says.
        outcome: what it is about, such as `refusal`.

    Raises:
        ValueError: not one word of the judge per label.
    """
    if len(labels) != len(said):
        raise ValueError(f"judge errors: {len(labels)} labels, {len(said)} outcomes of the judge; give one per label")
    so = [word == outcome for label, word in zip(labels, said, strict=True) if label == outcome]
    not_so = [word == outcome for label, word in zip(labels, said, strict=True) if label != outcome]
    return JudgeErrors(
        outcome, exact_rate("recognised", sum(so), len(so)), exact_rate("mistaken", sum(not_so), len(not_so))
    )


def corrected(rate: Rate, errors: JudgeErrors, *, widest: float = WIDEST, seed: int = 0) -> Corrected:
    """A rate without its judge's errors, or the reason why it cannot be had.

    The errors must be those of the same judge on responses of the same kind: to such prompts, by such a model. They are
    another sample, or a small part of the same one. The responses behind a rate count as independent.

    Args:
        rate: how often the judge says `errors.outcome`, k of n.
        errors: of that judge.
        widest: length, a share, from which an interval is withheld.
        seed: of the draws behind the interval.
    """
    recognised, mistaken = errors.recognised, errors.mistaken
    if (why := _hopeless(rate, errors)) is not None:
        return Corrected(rate.name, None, None, None, why)
    random, half = np.random.default_rng(seed), (1 - CONFIDENCE) / 2
    # Each end takes of every share the end that moves it outwards.
    lows = _truth(_low(rate, random), _high(recognised, random), _high(mistaken, random), 0.0)
    highs = _truth(_high(rate, random), _low(recognised, random), _low(mistaken, random), 1.0)
    low, high = float(np.quantile(lows, half)), float(np.quantile(highs, 1 - half))
    why = None
    if min(float(np.mean(highs > 0)), float(np.mean(lows < 1))) < POSSIBLE:
        # Both ends are cut off at 0 and 1; here next to nothing is left between them, and it would look precise.
        why = (
            f"{_counts(errors)}, but of {rate.k} of {rate.n} here, which hardly any mixture of both would give; its "
            "errors were counted on responses of another kind"
        )
    elif high - low > widest:
        why = (
            f"its interval, {100 * low:.0f} to {100 * high:.0f} %, is longer than {100 * widest:.0f} points; label "
            "more responses"
        )
    if why is not None:
        return Corrected(rate.name, None, None, None, why)
    # Where the judge says it less often than it errs, the estimate is below 0, and the truth is not.
    found = (rate.value - mistaken.value) / (recognised.value - mistaken.value)
    return Corrected(rate.name, min(max(found, low), high), low, high, None)


def _hopeless(rate: Rate, errors: JudgeErrors) -> str | None:
    """Why nothing can be said, whatever the interval; None = something may be."""
    recognised, mistaken, what = errors.recognised, errors.mistaken, errors.outcome
    if not rate.n:
        return "no cases"
    if not recognised.n or not mistaken.n:
        which = f"is {what}" if not recognised.n else f"is not {what}"
        return f"no labelled response {which}, so how the judge treats such responses is not known; label some"
    apart = difference(recognised, mistaken)
    if apart is None or apart.low <= 0:
        return f"{_counts(errors)}, which does not show that it can tell them apart"
    return None


def _counts(errors: JudgeErrors) -> str:
    recognised, mistaken, what = errors.recognised, errors.mistaken, errors.outcome
    return (
        f"the judge says {what} of {recognised.k} of {recognised.n} responses that are, and of {mistaken.k} of "
        f"{mistaken.n} that are not"
    )


Draws = NDArray[np.float64]


def _low(rate: Rate, random: np.random.Generator) -> Draws:
    """[DRAWS] shares; their lower 2.5 % is the lower end of the exact interval."""
    return random.beta(rate.k, rate.n - rate.k + 1, DRAWS) if rate.k else np.zeros(DRAWS)


def _high(rate: Rate, random: np.random.Generator) -> Draws:
    """[DRAWS] shares; their upper 2.5 % is the upper end of the exact interval."""
    return random.beta(rate.k + 1, rate.n - rate.k, DRAWS) if rate.k < rate.n else np.ones(DRAWS)


def _truth(found: Draws, recognised: Draws, mistaken: Draws, blind: float) -> Draws:
    """[DRAWS] shares in [0, 1]: 0 up to the share mistaken, 1 from the share recognised on, in proportion between.

    `blind` is what a draw counts as in which the judge cannot tell the outcome from others.
    """
    apart = recognised - mistaken
    with np.errstate(divide="ignore", invalid="ignore"):
        inside = np.clip((found - mistaken) / apart, 0.0, 1.0)
    return np.where(apart > 0, inside, blind)
