"""What the file of a monitor says of canaries and drift: declarations only."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from sri_sdk.plugin import Config


class HarmfulSection(Config):
    """Harmful prompts that the guard must flag: they tell a guard that finds nothing from one that sees nothing.

    No guard flags everything. So prompts are tried in order until enough of them were flagged, and those are asked
    again and again from then on.
    """

    split: str = Field(description="Split of the config's dataset.")
    attack: str | None = Field(default=None, description="Attack transform that they are put under; null = plain.")
    prompts: int = Field(default=50, ge=1, le=10_000, description="Most prompts that are tried.")
    count: int = Field(
        default=3,
        ge=1,
        le=100,
        description="Prompts that are asked each time. It is a miss if none of them is flagged.",
    )


class HarmlessSection(Config):
    """Harmless prompts for finding drift. None is used twice, and none that is in a fold of the config."""

    split: str = Field(description="Split of the config's dataset: harmless prompts as users write them.")
    count: int = Field(
        default=1, ge=1, le=1000, description="Fresh prompts each time. More find drift sooner and use up the split."
    )


class CanariesSection(Config):
    """Prompts that the monitor asks itself."""

    every_s: float = Field(default=600.0, gt=0, description="Seconds between two times.")
    harmful: HarmfulSection | None = Field(default=None, description="Prompts that must be flagged; null = none.")
    harmless: HarmlessSection | None = Field(default=None, description="Prompts for finding drift; null = none.")
    state: Path | None = Field(
        default=None,
        description="File that says which harmless ones were used, and how they scored; null = canaries.json beside "
        "the guard, which `sri drift` reads as well. One process at a time has it. It also keeps which harmful ones "
        "the guard has flagged; with harmful ones alone only where it is named.",
    )

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if self.harmful is None and self.harmless is None:
            raise ValueError("names no prompts; allowed: harmful, harmless. Name some, or leave canaries out")
        return self


class DriftSection(Config):
    """When scores count as changed since the calibration."""

    rate: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="How often drift may be found although there is none, over the whole life of a calibration: one "
        "such chance for canaries, another for traffic. null = as the first canary of this guard had it, or 0.01.",
    )
    window: int | None = Field(default=None, ge=10, description="Scores per window; null = as before, or 50.")
    traffic: bool = Field(
        default=True,
        description="Whether clear traffic is compared as well. It may change because requests do, without any fault.",
    )
