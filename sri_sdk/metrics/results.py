"""What an evaluation found, as plain records: the report draws them, `results.json` holds them.

Every share is a `Rate` with n and exact interval; every area an `Auroc` with its bootstrap interval. What was not
measured is None, never zero, and a note says why.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Protocol, TypeVar

from sri_sdk.metrics.auroc import Auroc
from sri_sdk.metrics.rates import Rate
from sri_sdk.metrics.steering import SteeringResult
from sri_sdk.metrics.strict import StrictResult, WrapperResult

CLASS_WORDS = {
    "answered_harmless": "answered harmless",
    "refused_harmless": "refused harmless",
    "refused_harmful": "refused harmful",
    "answered_harmful": "answered harmful, not attacked",
    "successful_attack": "successful attack",
}
"""Class, as `guard_rates.CLASSES` names it -> a person's words."""

HIDDEN_STATES = "hidden states"
"""What a guard reads that needs the tap; the others read texts."""


class _Guard(Protocol):
    @property
    def reads(self) -> str: ...


_AnyGuard = TypeVar("_AnyGuard", bound=_Guard)


def our_guard(guards: Iterable[_AnyGuard]) -> _AnyGuard | None:
    """The guard that per-attack areas, surrogates and examples are about: the first that reads hidden states."""
    return next((guard for guard in guards if guard.reads == HIDDEN_STATES), None)


@dataclass(frozen=True, slots=True)
class AttackResult:
    """One attack on one model."""

    name: str
    family: str
    source: str
    """Who published it; empty = the dataset does not say."""
    success: Rate
    """Responses that do harm."""
    refused: Rate
    auroc: Auroc | None
    """Of our guard: this attack's successes against harmless test generations; None = none succeeded."""
    note: str = ""
    """Why it was not run, or what it learnt."""


@dataclass(frozen=True, slots=True)
class HarmlessSetResult:
    """One set of unusual harmless prompts on one model."""

    name: str
    refused: Rate
    flagged: Rate | None
    """False alarms of our guard, final rule; None = the guards were not compared on this model."""


@dataclass(frozen=True, slots=True)
class ClassBand:
    """Where the signals of one class lie, per cell of the grid; 1 = internally compliant, 0 = refusal-aligned."""

    name: str
    """A key of `CLASS_WORDS`."""
    n: int
    mean: tuple[float, ...]
    """[T] mean sigma."""
    low: tuple[float, ...]
    """[T] 10 % quantile."""
    high: tuple[float, ...]
    """[T] 90 % quantile."""


@dataclass(frozen=True, slots=True)
class Points:
    """One class on one map."""

    name: str
    """A key of `CLASS_WORDS`."""
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Projection:
    """Signals in a plane; the axes were fitted on other generations than those drawn."""

    method: str
    """`LDA` or `PCA`."""
    axes: tuple[str, str]
    """Label of each axis, with its share of the variance."""
    fitted_on: int
    """Generations behind the axes."""
    points: tuple[Points, ...]


@dataclass(frozen=True, slots=True)
class Separation:
    """AUROC of one signal or guard: successful attacks against harmless generations."""

    name: str
    """Of the signal: `text`, `first step`, `layer 0`, `final layer`."""
    auroc: Auroc | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Roc:
    """A receiver operating characteristic, thinned to what a picture shows; both axes are shares."""

    name: str
    fpr: tuple[float, ...]
    tpr: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class GuardResult:
    """One guard on one model."""

    name: str
    source: str
    """Detector or baseline, and who published it."""
    reads: str
    """`HIDDEN_STATES`, `prompt`, `response` or `drafts`."""
    auroc: Auroc | None
    tpr: Mapping[str, Rate]
    """False positive rate, as "0.01" -> share of successful attacks above the threshold for it. Its interval resamples
    base prompts of both sides, so that the threshold moves too."""
    tpr_notes: Mapping[str, str]
    """False positive rate -> why it is not reported."""
    threshold_rule: str
    false_alarm: Rate
    """Harmless test generations flagged at the guard's own threshold."""
    flagged: Mapping[str, Rate]
    """Class, a key of `CLASS_WORDS` -> share flagged."""
    removed: Rate
    """Successful attacks flagged, over all attacks. Its interval resamples base prompts: attacks made of one request
    stand or fall together."""
    removed_by_attack: Mapping[str, Rate]
    harmless_sets: Mapping[str, Rate]
    """Set of unusual harmless prompts -> share flagged."""
    overhead: float | None
    """Its time as a share of the time of generation; 0.01 = one percent. None = not measured."""
    overhead_note: str
    """How the time was measured."""
    unscored: int = 0
    """Generations it could not score; they count as not flagged."""
    alarm_curve: tuple[float, ...] = ()
    """[T] share of successful attacks alarmed once cell t is done, online rule; empty = it only judges at the end."""
    median_alarm_step: float | None = None
    """Among successful attacks that the online rule alarmed, counted from 1; None = there were none."""
    roc: Roc | None = None
    remaining: Rate | None = None
    """Attacks that succeed and are not flagged, over all attempts; None = take it from `success` and `removed`."""
    wrappers: tuple[WrapperResult, ...] = ()
    """By rule and attack with harmless twins; empty = none were asked."""
    strict: tuple[StrictResult, ...] = ()
    """By rule; empty = the config has no strict rule."""


@dataclass(frozen=True, slots=True)
class ModelResult:
    """One model under one sampler and tap."""

    name: str
    describes: str
    """Model, sampler, pooling and layers in one line."""
    scheme: str
    budget: int
    """Steps of one generation at most."""
    counts: Mapping[str, int]
    """Group of prompts -> generations."""
    refused_harmless: Rate
    refused_harmful: Rate
    """Plain harmful prompts refused."""
    plain_success: Rate
    """Plain harmful prompts answered harmfully."""
    attacks: tuple[AttackResult, ...]
    success: Rate | None
    """Over all attacks together; None = there were none."""
    harmless_sets: tuple[HarmlessSetResult, ...]
    recovery: Mapping[str, Rate]
    """HRR and FRR over all attacked prompts, by name; empty = drafts were not judged."""
    internal_recovery: Mapping[str, Rate]
    """IRR by its threshold, "0.5", "0.3", "0.1", over all attacked prompts."""
    incomplete_recovery: Mapping[str, Rate]
    """Class -> share with an incomplete internal recovery."""
    bands: tuple[ClassBand, ...]
    projections: tuple[Projection, ...]
    separations: tuple[Separation, ...]
    """By signal: text, first step, each tapped layer."""
    guards: tuple[GuardResult, ...]
    guard_notes: Mapping[str, str] = field(default_factory=dict)
    """Guard of the config that could not run on this machine -> why."""
    unseen: tuple[Separation, ...] = ()
    """Family left out -> AUROC on it of the detector that learns from labels."""
    seconds_per_generation: float | None = None
    counters: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    """Group -> counter -> k, n and the id of an example: answers of the judge that name no outcome, responses without
    an answer, thoughts that never end."""
    twinless: Mapping[str, str] = field(default_factory=dict)
    """Attack that was run without harmless twins, although twins were asked for -> why."""
    request_maps: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Map of the request -> digest, prompts it was fitted on, and AUROC on those it had not seen."""
    steering: SteeringResult | None = None
    """What ablating and adding its refusal direction does; None = not measured."""


@dataclass(frozen=True, slots=True)
class SurrogateResult:
    """A white-box model's signal as a guard of another model."""

    guarded: str
    by: str
    auroc: Auroc | None
    removed: Rate | None
    false_alarm: Rate | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Example:
    """One generation for the player; texts are untrusted, and only here if they were asked for."""

    model: str
    title: str
    prompt: str
    response: str
    outcome: str
    status: str
    """Verdict of our guard, final rule."""
    score: float | None
    threshold: float | None
    first_alarm_step: int | None
    """Of the online rule, counted from 0."""
    sigma: tuple[float, ...]
    """[T]."""
    drafts: tuple[str, ...]
    """After each step."""
    kind: str
    """A key of `CLASS_WORDS`."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything."""

    title: str
    models: tuple[ModelResult, ...]
    surrogates: tuple[SurrogateResult, ...]
    examples: tuple[Example, ...]
    alpha: float
    facts: Mapping[str, str]
    """What a reader needs to trust or repeat it: dataset, judge, seed, versions, digest of the config."""
    seconds: Mapping[str, float]
    """Stage -> wall-clock seconds of this run; what a former run had done takes none."""
    limit: int | None = None
    """Most prompts per group, where the run was a quick look; None = full size."""


def to_json(value: Any) -> Any:
    """Records as JSON types, field by field; shares carry their value beside k and n, what is not finite is null."""
    if is_dataclass(value) and not isinstance(value, type):
        made = {f.name: to_json(getattr(value, f.name)) for f in fields(value)}
        if isinstance(value, Rate):
            made["value"] = value.value if value.n else None
        return made
    if isinstance(value, Mapping):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [to_json(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
