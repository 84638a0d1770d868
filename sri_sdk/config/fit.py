"""What the YAML file of a deployment may say, version 1: declarations only. `load.py` reads and checks it.

The descriptions document the format; `sri config schema` prints them.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from sri_sdk.errors import did_you_mean
from sri_sdk.fingerprint import SOFT
from sri_sdk.grid import Mapping as GridMapping
from sri_sdk.plugin import Config
from sri_sdk.policy import Policy
from sri_sdk.pooling import MEANING, Pooling

CONFIG_VERSION = 1
FEWEST_COUNTED = 4
"""Generations behind an anchor, at least. The mean of fewer says more about those prompts than about refusal."""


def _layer(found: Any) -> Any:
    # One check for both forms: a union of types would report one mistake as two.
    if found == "final" or (isinstance(found, int) and not isinstance(found, bool) and found >= 0):
        return found
    hint = did_you_mean(found.lower(), ["final"]) if isinstance(found, str) else ""
    raise ValueError(f"found {found!r}, allowed: final, or the number of a block counted from 0.{hint}")


def each_once(found: tuple[Any, ...]) -> tuple[Any, ...]:
    """The same tuple; refuses one that names something twice."""
    twice = sorted({str(x) for x in found if found.count(x) > 1})
    if twice:
        raise ValueError(f"named more than once: {', '.join(twice)}")
    return found


def _soft_field(found: str) -> str:
    if found not in SOFT:
        raise ValueError(f"found {found!r}, allowed: {', '.join(SOFT)}.{did_you_mean(found, SOFT)}")
    return found


def _version(found: Any) -> Any:
    # To Literal, true and 1.0 are 1 as well.
    if type(found) is int and found == CONFIG_VERSION:
        return found
    quoted = ", which is text; remove the quotes" if found == str(CONFIG_VERSION) else ""
    raise ValueError(f"found {found!r}{quoted}; this release reads {CONFIG_VERSION}: write version: {CONFIG_VERSION}")


Version = Annotated[Literal[1], BeforeValidator(_version)]
Options = Annotated[dict[str, Any], Field(description="The plugin's own options; {} = its defaults.")]
Split = Annotated[str, Field(min_length=1, description="Name of a split of the dataset.")]
Harmless = Annotated[int, Field(ge=1, description="Number of harmless prompts.")]
Harmful = Annotated[int, Field(ge=1, description="Number of harmful prompts.")]
Layer = Annotated[Literal["final"] | int, BeforeValidator(_layer)]
SoftField = Annotated[str, AfterValidator(_soft_field), Field(json_schema_extra={"enum": list(SOFT)})]


Mark = Annotated[str, Field(min_length=1)]


class ModelSection(Config):
    """The model, and how it is prompted."""

    hook: str = Field(description="Plugin of kind hooks: the model family.")
    options: Options = Field(default_factory=dict)
    system_prompt: str | None = Field(default=None, description="System prompt of every generation; null = none.")
    thoughts: tuple[tuple[Mark, Mark], ...] = Field(
        default=(),
        description="Pairs of marks that the model writes around its thoughts, beside the usual ones (<think>, "
        "[THINK], harmony and more): [['<plan>', '</plan>']]. Judges and guards that read texts see the answer alone.",
    )


class PluginSection(Config):
    """One plugin by name, with its options."""

    name: str = Field(description="Name of the plugin, as `sri plugins list` prints it.")
    options: Options = Field(default_factory=dict)


class TapSection(Config):
    """Which hidden states become the signal."""

    pooling: Pooling = Field(
        description="Which rows of a step are averaged: "
        + "; ".join(f"{name} = {meaning}" for name, meaning in MEANING.items())
        + "."
    )
    layers: Annotated[tuple[Layer, ...], Field(min_length=1), AfterValidator(each_once)] = Field(
        default=("final",),
        description="Where states are read: final = after the last norm, or block numbers counted from 0.",
    )
    cells: int = Field(default=32, ge=1, description="T: cells of the step grid that anchors and signals share.")
    mapping: GridMapping = Field(
        default="step", description="What progress counts: sampler steps, or committed tokens."
    )


class PromptsSection(Config):
    """Where the prompts come from."""

    dataset: str = Field(description="Plugin of kind datasets.")
    options: Options = Field(default_factory=dict)


class AnchorFold(Config):
    """Prompts for the two anchors. Only answered harmless and refused harmful ones count."""

    split: Split
    harmless: Harmless
    harmful: Harmful


class HarmlessFold(Config):
    """Harmless prompts."""

    split: Split
    harmless: Harmless


class HeldOutFold(Config):
    """Prompts that nothing was fitted on. They give the rates written into the bundle."""

    split: Split
    harmless: Harmless
    harmful: int = Field(default=0, ge=0, description="Number of plain harmful prompts; 0 = none are tried.")
    attacks: dict[str, Annotated[int, Field(ge=1)]] = Field(
        default={}, description="Attack transform of the dataset -> number of harmful prompts it is applied to."
    )


class FoldsSection(Config):
    """Which prompts are used for what. Folds of one split are consecutive, in this order, and never overlap."""

    anchors: AnchorFold = Field(description="Prompts whose mean states are the anchors.")
    train: HarmlessFold = Field(description="Harmless prompts the detector learns from.")
    reference: HarmlessFold = Field(description="Harmless prompts that standardise the online rule.")
    calibration: HarmlessFold = Field(description="Harmless prompts that set the thresholds; n in the bundle.")
    test: HeldOutFold | None = Field(default=None, description="Prompts for the rates in the bundle; null = no rates.")


class CalibrateSection(Config):
    """How often harmless generations may be flagged."""

    alpha: float = Field(
        default=0.01,
        gt=0,
        lt=1,
        description="Largest false-alarm rate; at least 1 / (n + 1) for n calibration prompts.",
    )
    delta: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="null = alpha holds on average over calibration sets; else it holds for the set at hand with "
        "probability 1 - delta, which needs more prompts.",
    )


def smallest_calibration(calibrate: CalibrateSection) -> int:
    """Fewest calibration prompts with which alpha, and delta if there is one, can be met."""
    needed = math.ceil(1 / calibrate.alpha - 1e-9) - 1
    if calibrate.delta is not None:
        # Even the largest calibration score is exceeded more often than alpha with probability (1 - alpha)^n.
        needed = max(needed, math.ceil(math.log(calibrate.delta) / math.log1p(-calibrate.alpha) - 1e-9))
    return needed


class LimitsSection(Config):
    """When counts stop a run whose result would mean nothing: answers of the judge that name no outcome, responses
    without an answer, thoughts that never end."""

    unusable: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="Largest share of each of these among the responses of a fold or group, and of all together; 1 = "
        "never stop.",
    )
    least: int = Field(default=20, ge=1, description="Fewer responses than this stop nothing; they are warned about.")


class TrustSection(Config):
    """What a guard must prove before it is used. Hashes alone reveal damage, but not a guard that was swapped."""

    public_key: Path | None = Field(
        default=None, description="PEM file with the public key that must have signed the bundle."
    )
    digest: str | None = Field(
        default=None,
        pattern="^[0-9a-f]{64}$",
        description="Digest the bundle must have; `sri bundle inspect` prints it.",
    )


class FitConfig(Config):
    """One deployment, from model to bundle."""

    version: Version = Field(description="Version of this file format.")
    model: ModelSection = Field(description="The model, and how it is prompted.")
    sampler: PluginSection = Field(description="Plugin of kind samplers: how responses are generated.")
    tap: TapSection = Field(description="Which hidden states become the signal.")
    prompts: PromptsSection = Field(description="Where the prompts come from.")
    folds: FoldsSection = Field(description="Which prompts are used for what.")
    judge: PluginSection = Field(description="Plugin of kind judges: how responses are classified.")
    detector: PluginSection = Field(description="Plugin of kind detectors: from signals to one score.")
    horizon: int | None = Field(
        default=None,
        ge=1,
        description="Steps that the guard decides on, from the first on; it then holds for longer answers too. null = "
        "whole generations. For autoregressive families, and for those that work block by block.",
    )
    calibrate: CalibrateSection = Field(
        default=CalibrateSection(), description="How often harmless generations may be flagged."
    )
    export: PluginSection = Field(default=PluginSection(name="onnx"), description="Plugin of kind exporters.")
    limits: LimitsSection = Field(
        default=LimitsSection(),
        description="Share of responses that nothing can be said about, above which a fit stops.",
    )
    policy: Policy = Field(description="What happens on a verdict.")
    sinks: tuple[PluginSection, ...] = Field(
        default=(), description="Plugins of kind sinks: where the verdicts of `sri run` go besides the screen."
    )
    accept: Annotated[tuple[SoftField, ...], AfterValidator(each_once)] = Field(
        default=(),
        description="Soft fields of the fingerprint that may differ from the fit; every verdict repeats them.",
    )
    trust: TrustSection = Field(
        default=TrustSection(), description="What `sri run` demands of the guard it loads; nothing by default."
    )
    out: Path = Field(description="Folder for everything that is written, relative to the working directory.")
    seed: int = Field(
        default=0, ge=0, description="Seed of the run; each prompt's randomness comes from it and the prompt id."
    )
    batch_size: int = Field(
        default=64, ge=1, description="Prompts generated at once; affects memory and speed, not results."
    )
