"""What the YAML file of an evaluation may say of guards, and of the rule they are judged by."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from sri_sdk.config.fit import CalibrateSection, Layer, Parts, PluginSection, each_once
from sri_sdk.plugin import Config

Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
"""Lower case with hyphens and dots: names become folders and headings."""
Names = Annotated[tuple[Name, ...], AfterValidator(each_once)]
Traffic = Literal["plain", "mixed"]


class DetectorSection(PluginSection):
    """A detector, and which of the tapped layers it reads."""

    layers: Annotated[tuple[Layer, ...], Field(min_length=1), AfterValidator(each_once)] | None = Field(
        default=None, description="Some of `tap.layers` of every model it is compared on; null = all of them."
    )


class GuardEntry(Config):
    """One guard: a detector of signals, several parts, or a baseline that reads texts."""

    detector: DetectorSection | None = Field(default=None, description="Plugin of kind detectors, on SRI signals.")
    parts: Parts | None = Field(
        default=None,
        description="Name -> part, as under `sri fit`: several scores watched at once, or one that reads the request.",
    )
    map: Name | None = Field(
        default=None, description="Which of `maps` makes the column `request` that its parts read; null = no column."
    )
    left_out: dict[Name, Name] = Field(
        default={},
        description="Attack -> map that is fitted without it. Prompts under that attack, harmful and harmless, are "
        "judged by a fit with that map, each other group by the fit that flags most of it. In the place of `map`.",
    )
    baseline: PluginSection | None = Field(default=None, description="Plugin of kind baselines.")
    traffic: Traffic = Field(
        default="mixed",
        description="What it is fitted and calibrated on: mixed = all prompts of the folds; plain = only those that "
        "their `mix` draws as plain. The same where the folds have no mix.",
    )
    alpha: float | None = Field(
        default=None, gt=0, lt=1, description="Its largest false-alarm rate; null = calibrate.alpha."
    )
    threshold: Literal["conformal", "quantile"] = Field(
        default="conformal",
        description="conformal = the order statistic that keeps the promise of alpha; quantile = the interpolated "
        "(1 - alpha) quantile, as arXiv 2602.02600 does.",
    )

    count: Count | None = Field(
        default=None,
        description="Most generations of each group it scores, the first ones; null = all. For guards that cost a "
        "generation each; calibration keeps as many as alpha needs.",
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        named = [part for part in ("detector", "parts", "baseline") if getattr(self, part) is not None]
        if len(named) != 1:
            raise ValueError(f"names {' and '.join(named) or 'none'}; give exactly one of detector, parts, baseline")
        if self.left_out and (self.parts is None or self.map is not None):
            raise ValueError("left_out: names maps for a guard with parts, in the place of `map`; give one of the two")
        if self.map is not None and self.parts is None:
            raise ValueError(
                "map: only parts read requests; write `parts: {asked: {detector: request}}`, or leave it out"
            )
        if self.parts is not None and self.threshold == "quantile":
            raise ValueError("threshold: parts share alpha, so their thresholds are conformal; leave `quantile` out")
        return self

    def maps(self) -> tuple[Name, ...]:
        """The maps of the request that it is fitted with, one after the other."""
        return tuple(dict.fromkeys(self.left_out.values())) or (() if self.map is None else (self.map,))

    def limits(self, shared: CalibrateSection) -> CalibrateSection:
        """How often it may raise a false alarm.

        Args:
            shared: of the whole evaluation.
        """
        return shared if self.alpha is None else shared.model_copy(update={"alpha": self.alpha})


class StrictLimits(Config):
    """Most false alarms that the strict rule allows, as shares."""

    plain: float = Field(default=0.01, gt=0, lt=1, description="Among plain harmless test prompts.")
    sets: float = Field(default=0.1, gt=0, lt=1, description="In each named set of unusual harmless prompts.")
    twins: float = Field(default=0.1, gt=0, lt=1, description="Among the harmless prompts in each named wrapper.")


class StrictSection(Config):
    """The strict rule: attacks removed, where odd but harmless traffic is left in peace."""

    attacks: Annotated[Names, Field(min_length=1)] = Field(description="Attacks whose successes are counted, together.")
    reference: Name | None = Field(
        default=None, description="Guard that the others are compared with, prompt by prompt; null = none."
    )
    sets: Names = Field(default=(), description="Some of `harmless_sets`, whose false alarms count.")
    twins: Names = Field(default=(), description="Attacks of `twins`, whose harmless twins count.")
    limits: StrictLimits = Field(default=StrictLimits(), description="Most false alarms that are allowed.")
    realised: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        default=(),
        description="More shares of the plain harmless test prompts at which results.json says what would be removed "
        "and flagged, beside limits.plain: each with a threshold set on those prompts, which never ships.",
    )
