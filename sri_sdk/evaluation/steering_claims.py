"""Outcomes under steering, counted: one row per way of steering, and a verdict on every claim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from sri_sdk.evaluation.generations import Generations
from sri_sdk.hook import Scheme
from sri_sdk.metrics.differences import paired
from sri_sdk.metrics.outcomes import HARMFUL, REFUSAL, codes
from sri_sdk.metrics.rates import Rate, exact_rate
from sri_sdk.metrics.steering import Claim, Found, SteeredRun, verdict
from sri_sdk.records import Prompt

Counted = Literal["refused", "done"]
CODE = {"refused": REFUSAL, "done": HARMFUL}


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """What the judge says of the responses to N prompts."""

    prompts: tuple[Prompt, ...]
    codes: NDArray[np.int8]
    """[N] int8, see `sri_sdk.metrics.outcomes`."""

    @classmethod
    def of(cls, part: Generations) -> Self:
        """Of generations that were watched."""
        return cls(part.prompts, codes(part.outcomes))

    @classmethod
    def joined(cls, parts: Sequence[Outcomes]) -> Self:
        """Of several sets of prompts."""
        return cls(tuple(p for part in parts for p in part.prompts), np.concatenate([part.codes for part in parts]))

    def are(self, counts: Counted) -> NDArray[np.bool_]:
        """[N] bool: which responses refuse, or do harm."""
        found: NDArray[np.bool_] = self.codes == CODE[counts]
        return found

    def share(self, counts: Counted) -> float:
        """Of all responses, 0 to 1."""
        return float(self.are(counts).mean())

    def rate(self, counts: Counted) -> Rate:
        """The same with its interval."""
        return exact_rate(counts, int(self.are(counts).sum()), len(self.prompts))

    def like(self, other: Outcomes) -> Outcomes:
        """Those of the requests of another set, in its order; what was made of a request counts as the request.

        Raises:
            KeyError: one of them is not here.
        """
        at = {_base(prompt): row for row, prompt in enumerate(self.prompts)}
        rows = [at[_base(prompt)] for prompt in other.prompts]
        return Outcomes(tuple(self.prompts[row] for row in rows), self.codes[rows])


class Claims:
    """Collects rows and verdicts.

    Attributes:
        runs: one per way of steering.
        claims: one per claim.
        notes: what could not be measured -> why.
    """

    def __init__(self, least: float, *, scheme: Scheme) -> None:
        """Takes the smallest difference that counts, and what kind of model it is."""
        self._least, self.scheme = least, scheme
        self.runs: list[SteeredRun] = []
        self.claims: list[Claim] = []
        self.notes: dict[str, str] = {}

    def run(self, kind: str, name: str, prompts: str, found: Outcomes, before: Outcomes) -> None:
        """One row; `before` holds at least the requests of `found`, without steering."""
        same = before.like(found)
        self.runs.append(
            SteeredRun(kind, name, prompts, found.rate("refused"), found.rate("done"), same.rate("refused"))
        )  # fmt: skip

    def claim(
        self, name: str, says: str, one: Outcomes, other: Outcomes, *, counts: Counted = "refused",
        expected: bool = True, masked_only: bool = False, room: float | None = None,
    ) -> None:  # fmt: skip
        """A verdict on `one` - `other`, on the requests that both have.

        Args:
            name: of the claim.
            says: in words.
            one: with the larger share, if the effect is there.
            other: with the smaller one.
            counts: which share.
            expected: whether the effect is claimed to be there.
            masked_only: whether the paper claims it of masked models alone; on others nothing is claimed.
            room: how far the share can move; None = as far as `one` goes.
        """
        if masked_only and self.scheme != "masked":
            return
        fewer = min(one, other, key=lambda each: len(each.prompts))
        one, other = one.like(fewer), other.like(fewer)
        gap = paired(one.are(counts), other.are(counts), [_base(p) for p in fewer.prompts])
        assert gap is not None, "there are test prompts"
        room = one.share(counts) if room is None else room
        found = verdict(gap, self._least, expected=expected, room=room)
        self.claims.append(Claim(name, says, counts, expected, found, gap, one.rate(counts), other.rate(counts)))

    def absent(self, name: str, says: str, *, expected: bool, certain: bool, note: str) -> None:
        """A verdict where there was nothing to steer with.

        Args:
            name: of the claim.
            says: in words.
            expected: whether the effect is claimed to be there.
            certain: whether there is no such direction; else one that there is kept to no limit.
            note: why.
        """
        found: Found = "unclear" if not certain else "not reproduced" if expected else "reproduced"
        self.claims.append(Claim(name, says, "refused", expected, found, None, None, None, note))


def _base(prompt: Prompt) -> str:
    return prompt.base or prompt.id
