"""What a policy may say about recovery: what is tried after an alarm, in which order, and what it may cost."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator

from sri_sdk.plugin import Config
from sri_sdk.records import RecoveryName

REFUSAL = "I'm sorry, but I can't help with that."
"""The refusal text where a policy names none."""
OPTIONS: dict[str, tuple[str, ...]] = {
    "remask": ("direction", "share", "strength", "steps"),
    "steer": ("direction", "strength", "steps", "restart"),
    "judge": (),
    "refuse": ("text",),
}
"""Action -> its options."""


class RecoveryStep(Config):
    """One thing to try. What an action does not have stays at its default."""

    action: RecoveryName = Field(
        description="remask = open the positions that lean most towards harm, and fill them again; steer = generate "
        "again, steered in the first steps; judge = let the judge read the response that was stopped; refuse = answer "
        "with a refusal text."
    )
    direction: Path | None = Field(
        default=None, description="remask and steer: file with the direction, relative to the working directory."
    )
    share: float = Field(
        default=0.5, gt=0, le=1, description="remask: share of the committed positions that are opened."
    )
    strength: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="steer and remask: how far states are moved, in multiples of the distance between the direction's "
        "two means; null = 1 for steer, and no steering for remask.",
    )
    steps: int = Field(
        default=8, ge=1, description="steer and remask: steps that are steered, from the first new one on."
    )
    restart: bool = Field(
        default=False,
        description="steer: begin again from the prompt, also where an autoregressive model could go on from the token "
        "before the alarm.",
    )
    text: str = Field(default=REFUSAL, description="refuse: what is said in place of the response.")

    @field_validator("text")
    @classmethod
    def _says_something(cls, found: str) -> str:
        if not found.strip():
            raise ValueError("is empty; write what is said in place of the response")
        return found

    @property
    def steers(self) -> float | None:
        """How far states are moved, in distances of the direction's means; None = nothing is steered."""
        return 1.0 if self.action == "steer" and self.strength is None else self.strength

    @model_validator(mode="after")
    def _its_own_options(self) -> Self:
        allowed = OPTIONS[self.action]
        fields = type(self).model_fields
        foreign = [
            name
            for name, field in fields.items()
            if name != "action" and name not in allowed and getattr(self, name) != field.default
        ]
        if foreign:
            raise ValueError(
                f"{self.action} has no option {foreign[0]!r}; allowed beside action: {', '.join(allowed) or 'none'}"
            )
        if self.action == "remask" and self.strength is None and self.steps != fields["steps"].default:
            raise ValueError("steps: remask steers nothing without a strength; give one, or leave steps out")
        if "direction" in allowed and self.direction is None:
            raise ValueError(f"{self.action} needs a direction: the file that `sri steer extract` wrote")
        return self


class RecoveryBudget(Config):
    """What the recovery of one flagged generation may cost. What would exceed it goes to the refusal text."""

    rounds: int = Field(default=2, ge=0, description="Times that it is generated again: rounds of remask and steer.")
    forwards: int = Field(
        default=96,
        ge=0,
        description="Forward passes in which it takes part beyond its own; a steered step takes two, and a judge who "
        "needs the rest of a stopped response has it generated from the beginning.",
    )
    seconds: float = Field(default=60.0, gt=0, description="Seconds of these passes, those of its batch included.")


class AuditFile(Config):
    """Where every action of recovery is written, as JSON lines."""

    path: Path = Field(description="File to append to; missing folders are made.")
    texts: bool = Field(default=False, description="Whether the new responses are written, too.")
