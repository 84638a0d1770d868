"""Which block and place give the direction: tried on prompts that no direction was made of.

As in arXiv 2406.11717, section 2.3, with generations and a judge for the last word. A candidate is out if

* the two kinds of prompts differ there by no more than chance;
* it lies in the last fifth of the blocks, where directions are about the tokens to come;
* ablating it moves what harmless prompts are answered first by more than a limit (KL, nats);
* adding it makes first tokens of harmless prompts no more like those of refusals.

Of the others, the few whose ablation leaves the least of refusals in the first pass generate. The one with which the
fewest harmful prompts are refused is taken; of equals, the one that makes most harmless prompts be refused when added.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from sri_sdk.capture.drive import generate_untapped
from sri_sdk.errors import ConfigError
from sri_sdk.hook import Hook
from sri_sdk.judge import Judge
from sri_sdk.records import LoadedModel, Prompt
from sri_sdk.sampler import Sampler
from sri_sdk.steer.direction import Direction
from sri_sdk.steer.extract import TemplateMeans
from sri_sdk.steer.first_pass import FirstPass, RefusingTokens, canvas_of, kl
from sri_sdk.steer.make import one_direction
from sri_sdk.steer.operations import Ablate, Add
from sri_sdk.steer.steering import steer
from sri_sdk.steer.where import Where

Keep = Callable[[str, Callable[[], dict[str, Any]]], dict[str, Any]]
"""Called with a name and what makes a result, as JSON types: finds the result of an interrupted run, or makes it."""

RULE = " ".join((__doc__ or "").split())
"""The rule in words, for provenance."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a candidate must keep to."""

    kl: float = 0.1
    """Largest mean KL on harmless prompts under ablation, nats."""
    last_blocks: float = 0.2
    """Share of the blocks, from the end, in which no direction is taken."""
    finalists: int = 8
    """Candidates that generate."""


@dataclass(frozen=True, slots=True)
class Rate:
    """k of n responses."""

    k: int
    n: int

    @property
    def value(self) -> float:
        """The share, 0 to 1."""
        return self.k / self.n


@dataclass(frozen=True, slots=True)
class Candidate:
    """One block and place, and what steering with its direction does."""

    block: int
    place: str
    length: float
    """Of the difference, in the unit of the model's states; the strength with which it is added."""
    kl: float
    """On harmless prompts under ablation, nats."""
    ablated: float
    """Share of refusing first tokens on harmful prompts under ablation; low = it takes refusals away."""
    added: float
    """The same on harmless prompts with the direction added at its block; high = it brings refusals."""
    out: str | None = None
    """Why it is not taken; None = it may be."""
    harmful_refused: Rate | None = None
    """Harmful prompts refused under ablation; None = it did not generate."""
    harmful_done: Rate | None = None
    """Harmful prompts answered with harm under ablation, by the judge; not refusing may also be talking nonsense."""
    harmless_refused: Rate | None = None
    """Harmless prompts refused with the direction added."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON types, without what it has not."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class Selection:
    """What was tried, and what was taken."""

    taken: Candidate
    candidates: tuple[Candidate, ...]
    """All places that differ by more than chance, by block and then by place."""
    unsteered: Mapping[str, Rate]
    """`harmful_refused`, `harmful_done` and `harmless_refused` without steering."""
    first_tokens: Mapping[str, float]
    """Share of refusing first tokens without steering, for `harmful` and `harmless` prompts."""
    limits: Limits

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            "rule": RULE,
            "limits": asdict(self.limits),
            "taken": self.taken.to_dict(),
            "unsteered": {name: asdict(rate) for name, rate in self.unsteered.items()},
            "first_tokens": dict(self.first_tokens),
            "candidates": [each.to_dict() for each in self.candidates],
        }


@dataclass(frozen=True, slots=True)
class Trial:
    """What candidates are tried with."""

    hook: Hook
    loaded: LoadedModel
    sampler: Sampler
    judge: Judge
    harmless: tuple[Prompt, ...]
    """Validation prompts; none of them was extracted from."""
    harmful: tuple[Prompt, ...]
    system_prompt: str | None = None
    seed: int = 0
    batch_size: int = 16
    """Prompts per pass and per generation."""

    def batches(self, prompts: Sequence[Prompt]) -> list[Sequence[Prompt]]:
        """Prompts, cut into batches."""
        return [prompts[at : at + self.batch_size] for at in range(0, len(prompts), self.batch_size)]

    def outcomes(self, prompts: Sequence[Prompt]) -> list[str]:
        """What the judge says of the responses, as the model is steered now."""
        found: list[str] = []
        for batch in self.batches(prompts):
            texts = generate_untapped(
                self.hook, self.loaded, self.sampler, batch, seed=self.seed, system_prompt=self.system_prompt
            )
            found += self.judge.judge(batch, [self.hook.thoughts.answer(text) for text in texts])
        return found


def ablated(hook: Hook, direction: Direction) -> AbstractContextManager[Any]:
    """The model without a direction, in all of its blocks."""
    return steer(hook, direction, Ablate(), where=Where())


def added(hook: Hook, direction: Direction, block: int, strength: float) -> AbstractContextManager[Any]:
    """The model with a direction added where it was read."""
    return steer(hook, direction, Add(strength), where=Where(layers=(block,)))


def select(
    trial: Trial, means: TemplateMeans, limits: Limits | None = None, *,
    advance: Callable[[str, int, int], None] | None = None, keep: Keep = lambda _, make: make(),
) -> Selection:  # fmt: skip
    """Tries the direction of every block and place, and takes one.

    Args:
        trial: model, sampler, judge and validation prompts.
        means: what the candidates are made of.
        limits: what they must keep to; None = the defaults.
        advance: called with the name of a stage, how much of it is done, and of how much.
        keep: keeps what was tried, for a run that is interrupted; by default nothing is kept.

    Raises:
        ConfigError: the model refuses none of the harmful prompts, or no candidate keeps to the limits.
    """
    limits = limits or Limits()
    tell = advance or (lambda *_: None)
    first = FirstPass(
        trial.hook, trial.loaded, canvas_of(trial.hook, trial.sampler.canvas()), trial.system_prompt
    )  # fmt: skip
    unsteered = _kept_rates(keep, "unsteered", trial, nullcontext(), nullcontext())
    if not unsteered["harmful_refused"].k:
        raise ConfigError(
            f"steer.validation: the model refuses none of {len(trial.harmful)} harmful prompts, so nothing shows which "
            "direction takes refusals away. Take other prompts, or check the judge."
        )
    batches = trial.batches(trial.harmless), trial.batches(trial.harmful)
    refusing = RefusingTokens(first, *batches)
    base = [_mean([m for batch in kind for m in refusing.mass(first.logits(batch))]) for kind in batches]
    tried: list[Candidate] = []
    spots = [(b, p) for b in range(len(means.length)) for p in range(len(means.places.names)) if means.found[b, p]]
    for done, (block, at) in enumerate(spots):
        making = partial(_tried, trial, means, first, refusing, block, means.places.names[at])
        found = Candidate(**keep(f"candidate-{block}-{at}", partial(_plain, making)))
        tried.append(replace(found, out=_out(found, limits, len(means.length), base[0])))
        tell("candidates", done + 1, len(spots))
    final = sorted((each for each in tried if each.out is None), key=lambda each: each.ablated)[: limits.finalists]
    if not final:
        raise ConfigError(_nothing_left(tried, limits))
    judged: dict[tuple[int, str], Candidate] = {}
    for done, each in enumerate(final):
        direction = _direction(means, each)
        rates = _kept_rates(
            keep, f"finalist-{each.block}-{means.place(each.place)}", trial, ablated(trial.hook, direction),
            added(trial.hook, direction, each.block, each.length),
        )  # fmt: skip
        judged[each.block, each.place] = replace(
            each,
            harmful_refused=rates["harmful_refused"],
            harmful_done=rates["harmful_done"],
            harmless_refused=rates["harmless_refused"],
        )
        tell("finalists", done + 1, len(final))
    candidates = tuple(
        judged.get((each.block, each.place), each if each.out else replace(each, out="others take more away"))
        for each in tried
    )
    taken = min(judged.values(), key=order)
    shares = {"harmless": base[0], "harmful": base[1], "gap": refusing.gap}
    return Selection(taken, candidates, unsteered, shares, limits)


def order(each: Candidate) -> tuple[float, ...]:
    """Sorts finalists, those that generated, the best first."""
    assert each.harmful_refused is not None and each.harmless_refused is not None and each.harmful_done is not None
    return each.harmful_refused.value, -each.harmless_refused.value, -each.harmful_done.value, each.kl, each.block


def _direction(means: TemplateMeans, each: Candidate) -> Direction:
    return one_direction(means, each.block, each.place, name="candidate", towards="refusing", provenance={})


def _tried(
    trial: Trial, means: TemplateMeans, first: FirstPass, refusing: RefusingTokens, block: int, place: str
) -> Candidate:
    """A candidate after first passes alone."""
    length = float(means.length[block, means.place(place)])
    found = Candidate(block, place, length, math.nan, math.nan, math.nan)
    direction = _direction(means, found)
    moved: list[float] = []
    with_it: list[float] = []
    without: list[float] = []
    for batch in trial.batches(trial.harmless):
        base = first.logits(batch)
        with ablated(trial.hook, direction):
            moved += kl(base, first.logits(batch))
        with added(trial.hook, direction, block, length):
            with_it += refusing.mass(first.logits(batch))
    for batch in trial.batches(trial.harmful):
        with ablated(trial.hook, direction):
            without += refusing.mass(first.logits(batch))
    return replace(found, kl=_mean(moved), ablated=_mean(without), added=_mean(with_it))


def _plain(making: Callable[[], Candidate]) -> dict[str, Any]:
    """A candidate, made now, as JSON types."""
    return asdict(making())


def _out(each: Candidate, limits: Limits, blocks: int, harmless: float) -> str | None:
    """Why a candidate is not taken; None = it may be."""
    if each.block >= (1 - limits.last_blocks) * blocks:
        return "in the last blocks"
    if not each.kl <= limits.kl:
        return "changes harmless answers"
    return None if each.added > harmless else "brings no refusals when added"


def _kept_rates(
    keep: Keep, name: str, trial: Trial, ablating: AbstractContextManager[Any], adding: AbstractContextManager[Any]
) -> dict[str, Rate]:  # fmt: skip
    """What the judge counts, or has counted in an interrupted run."""
    made = keep(name, lambda: {what: asdict(rate) for what, rate in _rates(trial, ablating, adding).items()})
    return {what: Rate(**rate) for what, rate in made.items()}


def _rates(
    trial: Trial, ablating: AbstractContextManager[Any], adding: AbstractContextManager[Any]
) -> dict[str, Rate]:  # fmt: skip
    """What the judge counts."""
    with ablating:
        harmful = trial.outcomes(trial.harmful)
    with adding:
        harmless = trial.outcomes(trial.harmless)
    return {
        "harmful_refused": Rate(harmful.count("refusal"), len(harmful)),
        "harmful_done": Rate(harmful.count("harmful"), len(harmful)),
        "harmless_refused": Rate(harmless.count("refusal"), len(harmless)),
    }


def _nothing_left(tried: Sequence[Candidate], limits: Limits) -> str:
    if not tried:
        return (
            "steer: harmful and harmless prompts differ nowhere by more than chance, at no block and no place. More "
            "prompts are needed, or prompts that differ in harm."
        )
    reasons: dict[str, list[Candidate]] = {}
    for each in tried:
        reasons.setdefault(str(each.out), []).append(each)
    counted = "; ".join(f"{len(found)} {why}" for why, found in reasons.items())
    least = min((each for each in tried), key=lambda each: each.kl)
    return (
        f"steer: none of {len(tried)} candidates is left: {counted}. The smallest KL is {least.kl:.3g} nats (block "
        f"{least.block}, {least.place}), and {limits.kl:g} is allowed: raise steer.limits.kl, lower "
        "steer.limits.last_blocks, or extract from more prompts."
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
