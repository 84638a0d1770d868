"""What the YAML file of an evaluation may say: `sri eval CONFIG`. `load.py` reads and checks it.

An evaluation names several models; some differ from another by a line or two and are `like` it. Each becomes a fit of
its own.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from sri_sdk.config.evaluated_guards import Count, DetectorSection, GuardEntry, Name, StrictSection, Traffic
from sri_sdk.config.evaluation_names import unknown_names
from sri_sdk.config.fit import (
    CalibrateSection,
    FitConfig,
    LimitsSection,
    ModelSection,
    PluginSection,
    PromptsSection,
    RequestSection,
    TapSection,
    Version,
    smallest_calibration,
)
from sri_sdk.config.fit import DetectorSection as FittedSection
from sri_sdk.config.folds import AnchorFold, FoldsSection, HarmlessFold, RequestFold, Split
from sri_sdk.config.steer import FEWEST as FEWEST_STEERED
from sri_sdk.config.steering import SteeringSection
from sri_sdk.plugin import Config
from sri_sdk.policy import Policy

MIXED = ("train", "reference", "calibration")
"""Folds that stand for the traffic of a deployment, and may have a mix."""
FEWEST = 20
"""Fewest prompts of a group that something is fitted on: no limit and no scale goes below."""


class EvaluatedModel(Config):
    """One model under one sampler and one tap; what is left out comes from the model it is `like`."""

    like: str | None = Field(default=None, description="Name of another model of this file to take the rest from.")
    model: ModelSection | None = Field(default=None, description="The model, and how it is addressed.")
    sampler: PluginSection | None = Field(default=None, description="How responses are generated.")
    tap: TapSection | None = Field(
        default=None,
        description="Which hidden states become the signal. Detectors read all of `layers`, as under `sri fit`; "
        "curves, maps and recovery rates show the last.",
    )
    request: RequestSection | None = Field(
        default=None,
        description="The request as one more column for guards with a map; null = no guard reads requests on it.",
    )
    scale: float = Field(default=1.0, gt=0, le=1, description="Share of all prompt counts used for this model.")
    guards: bool = Field(default=True, description="Whether the guards are compared on it.")


class TestFold(Config):
    """Prompts that nothing was fitted on."""

    split: Split
    harmless: Count = Field(description="Harmless prompts; 3,000 for a true positive rate at 0.1 % false positives.")
    harmful: Count = Field(description="Plain harmful prompts; attacks are made of the first ones.")


class EvaluationFolds(Config):
    """Which prompts are used for what. Folds of one split are consecutive, in this order, and never overlap."""

    anchors: AnchorFold = Field(description="Prompts the anchors are the mean of.")
    train: HarmlessFold = Field(description="Harmless prompts the detectors learn from.")
    reference: HarmlessFold = Field(description="Harmless prompts that standardise the online rule.")
    calibration: HarmlessFold = Field(description="Harmless prompts that set the thresholds.")
    test: TestFold = Field(description="Prompts that everything is measured on.")


class FromDataset(Config):
    """Prompts of a dataset other than that of the folds."""

    dataset: str = Field(description="Plugin of kind datasets.")
    options: dict[str, Any] = Field(default_factory=dict, description="The plugin's own options.")
    split: Split
    attack: str | None = Field(default=None, description="Attack of that dataset; null = its plain prompts.")


class AttackEntry(Config):
    """One attack: one of the dataset's own, one made by a plugin, or ready-made prompts of another dataset."""

    count: Count = Field(description="Harmful prompts.")
    plugin: str | None = Field(
        default=None, description="Plugin of kind attacks, applied to the plain harmful prompts of the test fold."
    )
    prompts: FromDataset | None = Field(default=None, description="Ready-made attacked prompts of another dataset.")
    options: dict[str, Any] = Field(default_factory=dict, description="The plugin's own options.")
    practice: int = Field(
        default=0, ge=0, description="Harmful prompts of the anchors' split an attack may learn from; used once."
    )
    family: str | None = Field(default=None, description="Attacks of one family are left out together; null = its own.")
    source: str | None = Field(default=None, description="Who published it, where neither plugin nor dataset says.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.plugin is not None and self.prompts is not None:
            raise ValueError("names both a plugin and prompts; give one, or neither for the dataset's own attack")
        return self


class HarmlessSet(Config):
    """Harmless prompts that differ from those the guard was calibrated on."""

    count: Count = Field(description="Harmless prompts.")
    split: str | None = Field(default=None, description="Split of the folds' dataset; null = see `prompts`.")
    attack: str | None = Field(default=None, description="Attack of that dataset to wrap them in; null = none.")
    prompts: FromDataset | None = Field(default=None, description="Harmless prompts of another dataset.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.split is None) == (self.prompts is None):
            raise ValueError("names both a split and prompts, or neither; give exactly one")
        return self


class SurrogateEntry(Config):
    """The signal of a model with visible states guards one whose states are hidden (arXiv 2602.02600, table 24)."""

    guarded: str = Field(description="Model of this file, used as a black box: only its outcomes count.")
    by: str = Field(description="Model of this file that answers the same prompts under watch.")


def _some(found: dict[str, Any]) -> dict[str, Any]:
    if not found:
        raise ValueError("is empty; name at least one")
    return found


class EvaluationConfig(Config):
    """One evaluation: models, attacks and guards, on the same prompts."""

    version: Version = Field(description="Version of this file format.")
    title: str = Field(default="SRI evaluation", description="Heading of the report.")
    models: Annotated[dict[Name, EvaluatedModel], AfterValidator(_some)] = Field(
        description="What is evaluated, by name. The first is the one the report begins with."
    )
    prompts: PromptsSection = Field(description="Where the prompts come from.")
    folds: EvaluationFolds = Field(description="Which prompts are used for what.")
    attacks: dict[Name, AttackEntry] = Field(default={}, description="Attacks, by name.")
    harmless_sets: dict[Name, HarmlessSet] = Field(
        default={}, description="Unusual harmless prompts, by name: false alarms and refusals are reported for each."
    )
    twins: Count | dict[Name, Count] = Field(
        default={},
        description="Harmless test prompts that are asked in the wrapper of an attack, so that its false alarms stand "
        "beside what is removed: attack -> number, or one number for every attack that can be put around them.",
    )
    maps: dict[Name, RequestFold] = Field(
        default={}, description="Maps of the request, by name: the prompts that each is fitted on."
    )
    judge: PluginSection = Field(description="Plugin of kind judges: what a response is.")
    draft_judge: PluginSection | None = Field(
        default=None,
        description="Plugin of kind judges for the draft of every step, for remasking and recovery rates and the text "
        "signal; called steps times as often as `judge`. null = not measured.",
    )
    guards: dict[Name, GuardEntry] = Field(
        default={}, description="Guards side by side, by name. Ours is the first that reads hidden states."
    )
    surrogates: tuple[SurrogateEntry, ...] = Field(default=(), description="Pairs of models of this file.")
    strict: StrictSection | None = Field(
        default=None,
        description="Attacks removed, beside the false alarms on plain, unusual and wrapped harmless prompts; null = "
        "not reported.",
    )
    steering: SteeringSection | None = Field(
        default=None,
        description="Refusal directions, and what ablating and adding them do: the claims of arXiv 2512.24143. null = "
        "not measured.",
    )
    unseen_attacks: DetectorSection | None = Field(
        default=None,
        description="Plugin of kind detectors that learns from labels: fitted without one family of attacks and "
        "measured on it, family by family. null = not measured.",
    )
    calibrate: CalibrateSection = Field(
        default=CalibrateSection(), description="How often harmless generations may be flagged."
    )
    limits: LimitsSection = Field(
        default=LimitsSection(),
        description="Share of responses that nothing can be said about, above which an evaluation stops.",
    )
    keep_texts: bool = Field(
        default=False,
        description="Whether responses are stored under `out` and examples shown in the report. Guards that read "
        "responses need it.",
    )
    overhead_batches: int = Field(
        default=4, ge=2, description="Batches that are generated with and without the tap, in turn, to compare times."
    )
    out: Path = Field(description="Folder for everything that is written, relative to the working directory.")
    seed: int = Field(default=0, ge=0, description="Seed of the run.")
    batch_size: int = Field(default=64, ge=1, description="Prompts generated at once.")

    @field_validator("twins", mode="before")
    @classmethod
    def _one_form(cls, found: Any) -> Any:
        # One check for both forms: a union of types would report one mistake as two.
        counts = list(found.values()) if isinstance(found, dict) else [found]
        if not all(type(count) is int and count > 0 for count in counts):
            raise ValueError(f"found {found!r}, allowed: a whole number above 0, or attack -> such a number")
        return found

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        problems = list(unknown_names(self))
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def fit_config(self, name: str) -> FitConfig:
        """One model of this evaluation as a deployment of its own, without a test fold."""
        entry = self.models[name]
        base = self.models[entry.like] if entry.like else entry
        parts = {part: getattr(entry, part) or getattr(base, part) for part in ("model", "sampler", "tap")}
        # Ours, see `sri_sdk.metrics.results.our_guard`: only detectors read hidden states.
        ours = next((g.detector for g in self.guards.values() if g.detector), PluginSection(name="autoencoder"))
        folds = FoldsSection(
            **{
                part: getattr(self.folds, part).model_dump()
                for part in ("anchors", "train", "reference", "calibration")
            }
        )
        return FitConfig(
            version=1, **parts, prompts=self.prompts, folds=folds, judge=self.judge,
            detector=FittedSection(name=ours.name, options=ours.options),
            calibrate=self.calibrate, limits=self.limits,
            policy=Policy(rule="final", flagged="report", unmonitored="report"),
            out=Path(self.out) / "models" / name, seed=self.seed, batch_size=self.batch_size,
        )  # fmt: skip

    def request_of(self, name: str) -> RequestSection | None:
        """What is read of requests on one model; None = nothing."""
        entry = self.models[name]
        return entry.request or (self.models[entry.like].request if entry.like else None)

    def twin_counts(self) -> dict[str, int]:
        """Attack -> harmless twins that are asked for, whether or not it can have some."""
        return dict(self.twins) if isinstance(self.twins, dict) else dict.fromkeys(self.attacks, self.twins)

    def guard_data(self, model: str, name: str) -> dict[str, Any]:
        """A guard with parts on one model as a deployment of its own, as its file would have it."""
        guard, data = self.guards[name], self.fit_config(model).model_dump(mode="json")
        data |= {
            "detector": None,
            "parts": {k: part.model_dump(mode="json") for k, part in (guard.parts or {}).items()},
        }
        if guard.maps() and (request := self.request_of(model)) is not None:
            data["request"] = request.model_dump(mode="json")
            data["folds"]["request"] = self.maps[guard.maps()[0]].model_dump(mode="json")
            # Models that cannot fill holes do without.
            data["folds"]["request"]["around"].pop("holes", None)
        data["calibrate"] = guard.limits(self.calibrate).model_dump(mode="json")
        return data

    def needed(self, name: str) -> int:
        """Fewest calibration prompts with which a guard, and each of its parts, can keep its promise."""
        limits, parts = self.guards[name].limits(self.calibrate), self.guards[name].parts or {}
        left = 1 - sum(part.share for part in parts.values() if part.share is not None)
        rest = left / max(1, sum(part.share is None for part in parts.values()))
        shares = [rest if part.share is None else part.share for part in parts.values()]
        return max(smallest_calibration(limits, share) for share in shares or [1.0] if share > 0)

    def fewest(self, fold: str) -> dict[Traffic, int]:
        """Kind of traffic -> fewest prompts of a fold that the guards need of it."""
        least = FEWEST if fold != "calibration" else smallest_calibration(self.calibrate)
        found: dict[Traffic, int] = {"mixed": least, "plain": least}
        for name, guard in self.guards.items():
            if fold == "calibration":
                found[guard.traffic] = max(found[guard.traffic], self.needed(name))
        return found

    def limited(self, most: int) -> EvaluationConfig:
        """The same with no count above `most`, for a quick look: intervals get wide.

        Groups that something is fitted on keep as many prompts as fitting needs, and attacks practise at full length.
        """
        data = self.model_dump()

        def cut(value: Any, least: int, key: str = "") -> Any:
            if isinstance(value, dict):
                return {k: cut(v, least, k) for k, v in value.items()}
            counted = key in {"harmless", "harmful", "count"} and isinstance(value, int)
            return min(value, max(most, least)) if counted else value

        for part in ("attacks", "harmless_sets", "guards"):
            data[part] = cut(data[part], 1)
        data["twins"] = (
            {name: min(count, most) for name, count in self.twins.items()}
            if isinstance(self.twins, dict)
            else min(self.twins, most)
        )
        if self.steering is not None:
            data["steering"] = cut(data["steering"], FEWEST_STEERED)
            data["steering"]["sweep"] = min(self.steering.sweep, most)
        least = {"test": 1, **{name: self._enough(name) for name in MIXED}}
        data["folds"] = {name: cut(fold, least.get(name, FEWEST)) for name, fold in data["folds"].items()}
        data["overhead_batches"] = min(self.overhead_batches, max(most, 2))
        return EvaluationConfig.model_validate(data)

    def _enough(self, fold: str) -> int:
        """Prompts of a fold with which every guard gets what it needs, whatever the draw of a mix."""
        wanted = self.fewest(fold)
        if (share := plain_share(getattr(self.folds, fold))) in (0, 1):
            return max(wanted.values())
        few = wanted["plain"]
        # Five standard deviations of a binomial count, rounded up.
        return max(wanted["mixed"], math.ceil((few + 5 * math.sqrt(few * (1 - share)) + 5) / share))


def plain_share(fold: HarmlessFold) -> float:
    """Share of plain prompts in the traffic that a fold stands for."""
    return 1.0 if fold.mix is None else sum(each.share for each in fold.mix.kinds() if each.kind == "plain")
