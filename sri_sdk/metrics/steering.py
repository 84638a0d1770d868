"""What steering did to a model, and which claims of arXiv 2512.24143 that bears out, by a rule fixed beforehand.

A claim is about one paired difference of two shares, on the same prompts. With `least` the smallest difference that
counts as an effect:

* claimed to be there: reproduced if the difference is at least `least` and its 95 % interval lies above 0; not
  reproduced if the whole interval lies below `least`;
* claimed to be absent: the other way round;
* else unclear. Also unclear: an effect is missing where the unsteered share left less than twice `least` to move.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sri_sdk.metrics.differences import Paired
from sri_sdk.metrics.rates import Rate

Found = Literal["reproduced", "not reproduced", "unclear"]
RULE = " ".join((__doc__ or "").split())
"""The rule in words."""


@dataclass(frozen=True, slots=True)
class SteeredRun:
    """One way of steering over one set of prompts, or none."""

    kind: str
    """`ablate`, `add`, `place`, `steps`, `layers`, `positions`, `blocks`, `language`, `transfer`, `random`, `prompt`;
    `unsteered` = as the model is."""
    name: str
    """Which of its kind: `block 2`, `steps 0 to 25 %`."""
    prompts: str
    """`harmful`, `harmless`, or a language or wrapper they are put in."""
    refused: Rate
    done: Rate
    """Answers that do harm, by the judge."""
    before: Rate
    """Refused without steering, of the same prompts."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim on one model."""

    name: str
    says: str
    """In words, as it was written down before anything was measured."""
    counts: str
    """What the difference is of: `refused`, or `done` for answers that do harm."""
    expected: bool
    """Whether the effect is claimed to be there."""
    found: Found
    difference: Paired | None
    """Of the two shares below; None = there was nothing to steer with, see `note`."""
    one: Rate | None
    other: Rate | None
    """`difference` is `one` - `other`."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Spot:
    """One block and place of the template, from the validation prompts that chose among them."""

    block: int
    place: str
    kl: float
    """Nats, first tokens of harmless answers under ablation."""
    ablated: float
    """Share of refusing first tokens on harmful prompts under ablation."""
    added: float
    """The same on harmless prompts with the direction added."""
    out: str | None
    """Why it was not taken; None = it was the best of its kind."""
    refused: Rate | None = None
    """Harmful prompts refused under ablation; None = it did not generate."""


@dataclass(frozen=True, slots=True)
class SteeredGuard:
    """What one guard, fitted on the model as it is, says of the same model without its refusal direction."""

    guard: str
    reads: str
    ablated_harm: Rate
    """Harmful prompts that the ablated model answers with harm: flagged."""
    attacked_harm: Rate
    """Successful attacks on the model as it is: flagged."""
    ablated_harmful: Rate
    """Harmful prompts under ablation, whatever the answer: flagged."""
    plain_harmful: Rate
    """The same prompts without steering: flagged."""
    ablated_harmless: Rate
    """False alarms on harmless prompts under ablation."""
    plain_harmless: Rate
    """The same prompts without steering."""
    unscored: int = 0
    """Generations under ablation that it could not score; they count as not flagged."""


@dataclass(frozen=True, slots=True)
class SteeringResult:
    """All of it on one model."""

    block: int
    place: str
    """Where the direction was read."""
    length: float
    """Of the difference of means, in the unit of the model's states: the strength with which it is added."""
    least: float
    runs: tuple[SteeredRun, ...]
    claims: tuple[Claim, ...]
    spots: tuple[Spot, ...]
    first_tokens: Mapping[str, float]
    """Share of refusing first tokens without steering: `harmful` and `harmless`."""
    validation: Mapping[str, int]
    """Label -> prompts behind the spots."""
    spectrum: Mapping[str, Any]
    """See `sri_sdk.steer.spectrum`."""
    guards: tuple[SteeredGuard, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    """What could not be measured -> why."""
    rule: str = RULE


def verdict(difference: Paired, least: float, *, expected: bool = True, room: float | None = None) -> Found:
    """What a difference says of a claim.

    Args:
        difference: of two shares, positive where the effect goes the way the claim is about.
        least: smallest difference that counts.
        expected: whether the effect is claimed to be there.
        room: how far the share could have moved at all; None = far enough.
    """
    if difference.value >= least and difference.low > 0:
        return "reproduced" if expected else "not reproduced"
    if difference.high < least and (room is None or room >= 2 * least):
        return "not reproduced" if expected else "reproduced"
    return "unclear"


def counted(claims: Sequence[Claim]) -> dict[Found, int]:
    """How many claims have which verdict."""
    words: tuple[Found, ...] = ("reproduced", "not reproduced", "unclear")
    return {word: sum(claim.found == word for claim in claims) for word in words}
