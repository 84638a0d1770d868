"""The direction that `sri steer extract` makes of a deployment's model: prompts, and what it must keep to."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator

from sri_sdk.config.folds import Split
from sri_sdk.plugin import Config

FEWEST = 8
"""Prompts of a kind, at least: fewer show no difference from chance, and no spectrum."""


class SteerValidation(Config):
    """Prompts that choose among the candidates; none of them was extracted from."""

    split: Split | None = Field(default=None, description="Name of a split; null = that of steer.")
    harmless: int = Field(default=32, ge=1, description="Harmless prompts: what ablating and adding change.")
    harmful: int = Field(default=32, ge=1, description="Harmful prompts: whether ablating takes refusals away.")


class SteerLimits(Config):
    """What a candidate must keep to; the defaults are those of arXiv 2406.11717."""

    kl: float = Field(
        default=0.1,
        gt=0,
        description="Largest mean KL divergence (nats) of the first tokens of harmless answers, without and with "
        "ablation.",
    )
    last_blocks: float = Field(
        default=0.2, ge=0, lt=1, description="Share of the blocks, from the end, in which no direction is taken."
    )
    finalists: int = Field(
        default=8, ge=1, description="Candidates that generate, as many as look best in one pass; each costs as many "
        "generations as validation has prompts.",
    )  # fmt: skip


class SteerSection(Config):
    """The refusal direction of the model. Its prompts are in no fold of this file."""

    split: Split
    harmless: int = Field(default=128, ge=FEWEST, description="Harmless prompts that it is made of.")
    harmful: int = Field(default=128, ge=FEWEST, description="Harmful prompts that it is made of.")
    places: Annotated[tuple[str, ...] | None, Field(min_length=1)] = Field(
        default=None,
        description="Tokens of the chat template to look at: pre-1 = right before the request, post+0 = right behind "
        "it, and so on; null = all that the prompts share.",
    )
    validation: SteerValidation = Field(
        default=SteerValidation(), description="Prompts that choose among the candidates."
    )
    limits: SteerLimits = Field(default=SteerLimits(), description="What a candidate must keep to.")

    @field_validator("places", mode="after")
    @classmethod
    def _named_once(cls, found: Any) -> Any:
        if found is not None and len(set(found)) < len(found):
            raise ValueError("names a place more than once")
        return found
