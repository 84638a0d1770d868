"""What the YAML file of an evaluation may say of steering: the claims of arXiv 2512.24143, and what a guard is worth
against a model whose refusal direction was taken out."""  # fmt: skip

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from sri_sdk.config.evaluated_guards import Count, Name, Names
from sri_sdk.config.steer import SteerSection
from sri_sdk.plugin import Config


class Transfer(Config):
    """One model's direction in another one."""

    of: Name = Field(description="Model of this file whose direction is taken; it stands before `to` in the file.")
    to: Name = Field(description="Model of the same width in which it is ablated.")
    expect: bool | None = Field(
        default=None,
        description="What a claim says: true = it takes refusals away there too, false = it does not; null = no claim "
        "is made, and only the shares are reported.",
    )

    @model_validator(mode="after")
    def _two(self) -> Self:
        if self.of == self.to:
            raise ValueError(f"of and to are both {self.of!r}; name two models")
        return self


class RandomDirections(Config):
    """What chance does: the best of many random directions, and a random direction on average."""

    best_of: int | None = Field(
        default=None, ge=1, description="Random directions to choose from; null = as many as there were candidates."
    )
    mean_of: int = Field(
        default=5, ge=1, description="Random directions whose mean effect is reported; each has its share of prompts."
    )


class SteeringSection(Config):
    """Refusal directions of the models of this file, and what ablating and adding them do to the test prompts."""

    direction: SteerSection = Field(
        description="Prompts that a direction is made of, and those that choose among candidates; in no fold of this "
        "file."
    )
    models: Annotated[Names, Field(min_length=1)] | None = Field(
        default=None, description="Models of this file that are steered; null = all of them."
    )
    language: Name | None = Field(
        default=None,
        description="One of `attacks`, of the dataset's own, that asks in another language: directions are ablated "
        "across languages, both ways. null = not measured.",
    )
    transfers: tuple[Transfer, ...] = Field(default=(), description="Directions of one model in another.")
    prompts: Names = Field(
        default=(), description="Some of `attacks`, which change prompts alone: ablation is compared with them."
    )
    random: RandomDirections = Field(default=RandomDirections(), description="Random directions to compare with.")
    windows: int = Field(
        default=4, ge=2, le=16, description="Windows that the steps are cut into; the first is compared with the last."
    )
    response_blocks: int = Field(default=4, ge=1, le=16, description="Blocks that the response is cut into.")
    sweep: Count = Field(default=200, description="Prompts of measurements that no claim is about.")
    least: float = Field(
        default=0.2, gt=0, lt=1, description="Smallest difference of two shares that counts as an effect."
    )
