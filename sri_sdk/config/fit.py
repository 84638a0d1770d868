"""What the YAML file of a deployment may say, version 1: declarations only. `load.py` reads and checks it.

The descriptions document the format; `sri config schema` prints them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from sri_sdk.calibrate.conformal import fewest
from sri_sdk.config.folds import FoldsSection
from sri_sdk.config.steer import SteerSection
from sri_sdk.errors import did_you_mean
from sri_sdk.fingerprint import SOFT
from sri_sdk.grid import Mapping as GridMapping
from sri_sdk.plugin import Config
from sri_sdk.policy import Policy
from sri_sdk.pooling import MEANING, Pooling

CONFIG_VERSION = 1
ONLY_PART = "detector"
"""Name of the part where there is one."""


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
Layer = Annotated[Literal["final"] | int, BeforeValidator(_layer)]
SoftField = Annotated[str, AfterValidator(_soft_field), Field(json_schema_extra={"enum": list(SOFT)})]


Mark = Annotated[str, Field(min_length=1)]


class ModelSection(Config):
    """The model, and how it is prompted."""

    hook: str = Field(description="Plugin of kind hooks: the model family.")
    options: Options = Field(default_factory=dict)
    system_prompt: str | None = Field(
        default=None,
        description="System prompt of every generation; null = none of yours, and what the chat template then puts in.",
    )
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


class RequestSection(Config):
    """The request as one more column of the signal: what the model's states say of it when the prompt is read."""

    layers: Literal["all"] | tuple[Layer, ...] = Field(
        default="all",
        validate_default=True,
        description="Where states of the request are read: all = after every block and after the last norm; or a "
        "list, as in tap.layers.",
    )
    last_tokens: int | None = Field(
        default=None,
        ge=1,
        description="How many of the request's tokens count, from its end; of a shorter request, all. A long text "
        "before a short request weighs less then, and text behind it hides it. null = all tokens.",
    )

    @field_validator("layers", mode="before")
    @classmethod
    def _one_form(cls, found: Any) -> Any:
        # One check for both forms: a union of types would report one mistake as two.
        if found == "all":
            return found
        if not isinstance(found, list | tuple) or not found:
            raise ValueError(f"found {found!r}, allowed: all, or a list of final and numbers of blocks counted from 0")
        return each_once(tuple(_layer(each) for each in found))


class PromptsSection(Config):
    """Where the prompts come from."""

    dataset: str = Field(description="Plugin of kind datasets.")
    options: Options = Field(default_factory=dict)


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
    contamination: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Largest share of attacks among the calibration prompts, as you state it: live traffic holds some. "
        "alpha then holds for harmless generations whatever these attacks score.",
    )


def smallest_calibration(calibrate: CalibrateSection, share: float = 1.0) -> int:
    """Fewest calibration prompts with which a share of alpha, and delta if there is one, can be met."""
    return fewest(calibrate.alpha * share, calibrate.delta, calibrate.contamination)


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


Patterns = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...] | None,
    Field(
        min_length=1,
        description="Columns it reads, by name or pattern: `sri@*`, `sri@final`, `sri@12`, `request`. null = what the "
        "detector reads by default.",
    ),
]


class DetectorSection(PluginSection):
    """The detector of a guard with one part."""

    columns: Patterns = None


class PartSection(Config):
    """One part of a guard: a detector with a threshold of its own. The guard alarms if any part does."""

    detector: str = Field(description="Plugin of kind detectors.")
    options: Options = Field(default_factory=dict)
    columns: Patterns = None
    share: float | None = Field(
        default=None, gt=0, le=1, description="Share of alpha; null = what the others leave, in equal shares."
    )
    reason: str | None = Field(
        default=None,
        pattern="^[a-z][a-z0-9_]{0,63}$",
        description="Reason code of its alarms; null = `request_harmful` if it reads the request alone, else "
        "`score_above_threshold`.",
    )


PartName = Annotated[str, Field(pattern="^[a-z][a-z0-9-]{0,31}$")]
Parts = Annotated[dict[PartName, PartSection], Field(min_length=1, max_length=16)]


class FitConfig(Config):
    """One deployment, from model to bundle."""

    version: Version = Field(description="Version of this file format.")
    model: ModelSection = Field(description="The model, and how it is prompted.")
    sampler: PluginSection = Field(description="Plugin of kind samplers: how responses are generated.")
    tap: TapSection = Field(description="Which hidden states become the signal.")
    request: RequestSection | None = Field(
        default=None, description="The request as one more column; null = the guard reads the signal alone."
    )
    prompts: PromptsSection = Field(description="Where the prompts come from.")
    folds: FoldsSection = Field(description="Which prompts are used for what.")
    judge: PluginSection = Field(description="Plugin of kind judges: how responses are classified.")
    detector: DetectorSection | None = Field(
        default=None, description="Plugin of kind detectors: from signals to one score."
    )
    parts: Parts | None = Field(
        default=None, description="Instead of detector: name -> part, where several scores are watched at once."
    )
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
    steer: SteerSection | None = Field(
        default=None, description="The model's refusal direction, for `sri steer extract`; null = none is extracted."
    )
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

    @model_validator(mode="after")
    def _one_or_parts(self) -> Self:
        if (self.detector is None) == (self.parts is None):
            raise ValueError("names both detector and parts, or neither; give exactly one")
        given = [part.share for part in self.named_parts().values() if part.share is not None]
        whole = len(given) == len(self.named_parts())
        if sum(given) > 1 + 1e-9 or (not whole and sum(given) > 1 - 1e-9) or (whole and sum(given) < 1 - 1e-9):
            raise ValueError(
                f"parts: the shares sum to {sum(given):.6g}; they must sum to 1, with something left for parts that "
                "name none"
            )
        return self

    def named_parts(self) -> dict[str, PartSection]:
        """The parts of the guard by name; a single detector is the part `detector`."""
        if self.parts is not None:
            return dict(self.parts)
        assert self.detector is not None
        only = self.detector
        return {ONLY_PART: PartSection(detector=only.name, options=only.options, columns=only.columns, share=1.0)}

    def shares(self) -> dict[str, float]:
        """Part -> its share of alpha; they sum to 1."""
        parts = self.named_parts()
        open_ones = [name for name, part in parts.items() if part.share is None]
        left = 1 - sum(part.share for part in parts.values() if part.share is not None)
        return {name: left / len(open_ones) if part.share is None else part.share for name, part in parts.items()}
