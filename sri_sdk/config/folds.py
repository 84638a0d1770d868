"""Which prompts a deployment uses for what, as its YAML file says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sri_sdk.config.mix import MixSection
from sri_sdk.plugin import Config

FEWEST_COUNTED = 4
"""Generations behind an anchor, at least. The mean of fewer says more about those prompts than about refusal."""
FEWEST_LABELLED = 5
"""Prompts of a class behind a map of the request, at least: each of its five held-out folds needs one."""
FEWEST_ATTACKS = 5
"""Attacks that a detector learns from, at least, where it learns from labels."""

Split = Annotated[str, Field(min_length=1, description="Name of a split of the dataset.")]
Harmless = Annotated[int, Field(ge=1, description="Number of harmless prompts.")]
Harmful = Annotated[int, Field(ge=1, description="Number of harmful prompts.")]
Mix = Annotated[
    MixSection | None,
    Field(
        description="The traffic that these harmless prompts stand for, in shares; null = plain requests of the split."
    ),
]
Groups = Literal["none", "kind", "prompt"]


class AnchorFold(Config):
    """Prompts for the two anchors. Only answered harmless and refused harmful ones count."""

    split: Split
    harmless: Harmless
    harmful: Harmful


class HarmlessFold(Config):
    """Harmless prompts."""

    split: Split
    harmless: Harmless
    mix: Mix = None


class CalibrationFold(HarmlessFold):
    """Harmless prompts that set the thresholds, for all requests together or for each group of them."""

    groups: Groups = Field(
        default="none",
        description="Groups of requests, each with thresholds of its own: kind = every kind of the mix (plain, the "
        "wrappers, the other splits); prompt = as the dataset names them, such as a language or a source; none = one "
        "threshold for all. Each group needs as many prompts as the whole fold would.",
    )

    @model_validator(mode="after")
    def _has_kinds(self) -> Self:
        if self.groups == "kind" and self.mix is None:
            raise ValueError(
                "groups is 'kind', and there is no mix whose kinds could be groups; add a mix, or write groups: prompt"
            )
        return self


class ObservedSection(Config):
    """Traffic that people have labelled: files of signals that `sri label --export` writes."""

    attacks: Path | None = Field(default=None, description="Signals labelled `attack`, .npz; null = none.")
    harmless: Path | None = Field(
        default=None,
        description="Signals labelled `benign`, .npz; learnt from beside the harmless prompts. null = none.",
    )

    @model_validator(mode="after")
    def _names_a_file(self) -> Self:
        if self.attacks is None and self.harmless is None:
            raise ValueError("names no file; give attacks, harmless or both, or leave observed out")
        return self


class TrainFold(HarmlessFold):
    """Harmless prompts, and attacks for a detector that learns from labels."""

    attacks: dict[str, Annotated[int, Field(ge=1)]] = Field(
        default={},
        description="Attack transform of the dataset -> number of harmful prompts it is applied to, for a detector "
        "that learns from labelled attacks. 5 to 100 of them in all is what such detectors are made for.",
    )
    label_by: Literal["outcome", "request"] = Field(
        default="outcome",
        description="Which of these are labelled as attacks. outcome = those whose response does harm, by the judge; "
        "the others are left out. request = all of them, whatever the model answered, refusals included.",
    )
    observed: ObservedSection | None = Field(
        default=None,
        description="Labelled traffic of a guard with the same anchors, for a detector that learns from labels; null = "
        "none.",
    )


class HeldOutFold(Config):
    """Prompts that nothing was fitted on. They give the rates written into the bundle."""

    split: Split
    harmless: Harmless
    mix: Mix = None
    harmful: int = Field(default=0, ge=0, description="Number of plain harmful prompts; 0 = none are tried.")
    attacks: dict[str, Annotated[int, Field(ge=1)]] = Field(
        default={}, description="Attack transform of the dataset -> number of harmful prompts it is applied to."
    )


Surrounding = Literal["text", "fragment", "start", "holes"]
SURROUNDINGS: Mapping[Surrounding, str] = {
    "text": "another harmless request, before or after it",
    "fragment": "a part of one, before or after it",
    "start": "a response that begins with a part of one",
    "holes": "parts of some spread over a response of masks, for masked models",
}
"""What may stand around a request of the request fold -> what that is."""


class RequestFold(Config):
    """Prompts for the map of the request. Their labels count, whatever the model answers; no judge is asked.

    Harmless prompts in the same wrappers and of unusual kinds matter as much as harmful ones: without them the map
    learns wrappers, and what is unusual. What stands around a request teaches it to pass over what does not ask.
    """

    split: Split
    harmless: Annotated[int, Field(ge=FEWEST_LABELLED, description="Number of plain harmless prompts.")]
    harmful: Annotated[int, Field(ge=FEWEST_LABELLED, description="Number of plain harmful prompts.")]
    attacks: dict[str, Annotated[int, Field(ge=1)]] = Field(
        default={},
        description="Attack transform of the dataset -> number of harmful prompts it is applied to, and of harmless "
        "ones where the dataset has such.",
    )
    unusual: dict[str, Annotated[int, Field(ge=1)]] = Field(
        default={}, description="Another split of the dataset -> number of its harmless prompts: what looks unusual."
    )
    around: dict[Surrounding, Annotated[int, Field(ge=1)]] = Field(
        default={},
        description="What else stands around a request -> number of harmful prompts, and of harmless ones, that it is "
        "put around: " + "; ".join(f"{name} = {meaning}" for name, meaning in SURROUNDINGS.items()) + ".",
    )


class FoldsSection(Config):
    """Which prompts are used for what. Folds of one split are consecutive, in this order, and never overlap."""

    anchors: AnchorFold | None = Field(
        default=None,
        description="Prompts whose mean states are the anchors; null = none, where only the request is read.",
    )
    train: TrainFold | None = Field(
        default=None,
        description="Harmless prompts the detector learns from, and labelled attacks if it takes some; required, "
        "unless anchors and request are left out too: such a file sets new thresholds (`sri fit --recalibrate`) and no "
        "more.",
    )
    reference: HarmlessFold = Field(description="Harmless prompts that standardise the online rule.")
    calibration: CalibrationFold = Field(description="Harmless prompts that set the thresholds; n in the bundle.")
    test: HeldOutFold | None = Field(default=None, description="Prompts for the rates in the bundle; null = no rates.")
    request: RequestFold | None = Field(
        default=None, description="Prompts for the map of the request; needed with a section `request`."
    )

    @property
    def learn(self) -> bool:
        """Whether anything is learnt from these folds, or only thresholds are set anew."""
        return any(fold is not None for fold in (self.anchors, self.train, self.request))
