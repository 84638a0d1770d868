"""The directions of one model that an evaluation steers with: found once, and kept for a continued run."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sri_sdk.config.steering import SteeringSection
from sri_sdk.errors import ConfigError
from sri_sdk.evaluation.steering_prompts import SteeringPrompts
from sri_sdk.fitting.collect import Collector
from sri_sdk.fitting.packed import Batch
from sri_sdk.fitting.store import Store
from sri_sdk.metrics.rates import exact_rate
from sri_sdk.metrics.steering import Spot
from sri_sdk.steer.direction import Direction
from sri_sdk.steer.extract import TemplateMeans, extract_means, states_of
from sri_sdk.steer.make import one_direction
from sri_sdk.steer.random_search import random_directions, random_search
from sri_sdk.steer.select import Candidate, Limits, Selection, Trial, order, select
from sri_sdk.steer.spectrum import spectrum

STAGE = "directions"


@dataclass(frozen=True, slots=True, eq=False)
class Directions:
    """What one model is steered with."""

    main: Direction
    """The refusal direction: the best of all places."""
    notes: Mapping[str, Any]
    """As JSON types: `block`, `place`, `length`, `spots`, `first_tokens`, `spectrum`; `random`: how the best random one
    did on validation; `before`: block and place of the best one before the request, None = there is none;
    `differs_before`: whether prompts of both kinds differ there by more than chance; `missing`: name -> why."""
    others: Mapping[str, Direction]
    """`before` = the best before the request; `language` = made of prompts in the other language; `random` = the best
    of many random ones. One that there is not is in `missing`."""
    chance: tuple[Direction, ...]
    """Random ones that nobody chose."""

    @property
    def length(self) -> float:
        """Of the difference of means, in the unit of the model's states."""
        return float(self.notes["length"])

    @property
    def block(self) -> int:
        """Where it was read."""
        return int(self.notes["block"])

    def missing(self, name: str) -> str:
        """Why there is no such direction."""
        return str(self.notes["missing"].get(name, "not asked for"))

    def spots(self) -> tuple[Spot, ...]:
        """The candidates, in the order of the text and of the blocks."""
        made = []
        for each in self.notes["spots"]:
            rate = each["refused"]
            made.append(Spot(**{**each, "refused": None if rate is None else exact_rate("refused", *rate)}))
        return tuple(made)


def find_directions(
    collector: Collector, section: SteeringSection, prompts: SteeringPrompts, *, wait: bool = True
) -> Directions | None:
    """The directions of the collector's model, from a former run or made now.

    Args:
        collector: of the model.
        section: how they are made and chosen.
        prompts: what they are made of.
        wait: for another process that is making them.

    Returns:
        The directions; None = another process is making them, and this one does not wait.

    Raises:
        ConfigError: the model refuses nothing, or no candidate keeps to the limits.
        CaptureError: states cannot be read.
    """
    drawn = [
        p for kind in (prompts.extraction, prompts.validation, prompts.language) for each in kind.values() for p in each
    ]
    key = {
        **collector.key(drawn),
        "steering": section.model_dump(mode="json", include={"direction", "language", "random"}),
    }
    store = Store(collector.cache, STAGE, key)
    if wait:
        with store.alone(STAGE):
            return _read(collector, section, _found_or_made(collector, section, prompts, store))
    with store.claim(STAGE) as ours:
        return _read(collector, section, _found_or_made(collector, section, prompts, store)) if ours else None


def _found_or_made(
    collector: Collector, section: SteeringSection, prompts: SteeringPrompts, store: Store
) -> Batch:  # fmt: skip
    if (saved := store.load(STAGE)) is None:
        saved = _make(collector, section, prompts)
        # Refusal directions, which are an attacker's tool too.
        store.save(STAGE, *saved, private=True)
    return saved


def _read(collector: Collector, section: SteeringSection, saved: Batch) -> Directions:
    arrays, notes = saved
    means = arrays["means"]
    found = {
        name: Direction(name, arrays[name], "refusing", means, {}) for name in ("main", *OTHERS) if name in arrays
    }  # fmt: skip
    seed = _seed(collector, "chance")
    return Directions(
        found.pop("main"), notes, found, random_directions(collector.hook, section.random.mean_of, seed=seed)
    )  # fmt: skip


OTHERS = ("before", "language", "random")


def _make(collector: Collector, section: SteeringSection, prompts: SteeringPrompts) -> Batch:
    wanted, hook, tokenizer = section.direction, collector.hook, collector.loaded.tokenizer
    without, having = prompts.extraction["harmless"], prompts.extraction["harmful"]
    reading: dict[str, Any] = {"system_prompt": collector.system_prompt, "batch_size": collector.batch_size}
    means = extract_means(hook, tokenizer, without, having, places=wanted.places, **reading)
    trial = Trial(
        hook, collector.loaded, collector.sampler, collector.judge, prompts.validation["harmless"],
        prompts.validation["harmful"], system_prompt=collector.system_prompt, seed=collector.seed,
        batch_size=collector.batch_size,
    )  # fmt: skip
    limits, missing = Limits(**wanted.limits.model_dump()), dict[str, str]()
    sides: dict[str, Selection] = {}
    for side in ("pre", "post"):
        try:
            sides[side] = _best(trial, means, _side(means, side), limits, collector)
        except ConfigError as err:
            missing[side] = str(err)
    if not sides:
        raise ConfigError("; ".join(missing.values()))
    chosen = min((each.taken for each in sides.values()), key=order)
    arrays = {"main": means.unit(chosen.block, chosen.place)[None], "means": _along(means, chosen)}
    before = sides["pre"].taken if "pre" in sides else None
    if before is not None:
        arrays["before"] = means.unit(before.block, before.place)[None]
    else:
        missing["before"] = missing.get("pre", "the template has no token before the request")
    if prompts.language:
        kinds = prompts.language["harmless"], prompts.language["harmful"]
        try:
            other = extract_means(hook, tokenizer, *kinds, places=[chosen.place], **reading)
            arrays["language"] = other.unit(chosen.block, chosen.place)[None]
        except ConfigError as err:
            missing["language"] = str(err)
    tried = [each for side in sides.values() for each in side.candidates]
    count = section.random.best_of or len(tried)
    randomly: dict[str, Any] = {"tried": count}
    try:
        found = random_search(trial, count, limits, seed=_seed(collector, "search"), advance=collector.progress)
        arrays["random"], randomly["refused"] = found.best.vectors, [found.refused.k, found.refused.n]
    except ConfigError as err:
        missing["random"] = str(err)
    states = [
        states_of(hook, tokenizer, each, means.places, chosen.block, chosen.place, **reading)
        for each in (without, having)
    ]
    some = next(iter(sides.values()))
    notes = {
        "block": chosen.block,
        "place": chosen.place,
        "length": chosen.length,
        "before": None if before is None else [before.block, before.place],
        "differs_before": bool(means.only(_side(means, "pre")).found.any()) if _side(means, "pre") else False,
        "spots": [asdict(_spot(each)) | {"refused": _counts(each)} for each in tried],
        "first_tokens": dict(some.first_tokens),
        "spectrum": dict(spectrum(*states, seed=collector.seed).to_dict()),
        "random": randomly,
        "missing": missing,
    }
    return arrays, notes


def _best(trial: Trial, means: TemplateMeans, names: list[str], limits: Limits, collector: Collector) -> Selection:
    """The best of some places.

    Raises:
        ConfigError: there is none: nothing differs there, or nothing keeps to the limits.
    """
    if not names:
        raise ConfigError("the template has no token there")
    some = means.only(names)
    if not some.found.any():
        raise ConfigError(
            f"harmful and harmless prompts differ by no more than chance at {', '.join(names)}, in no block (at most "
            f"{some.over_chance.max():.2g} times; more than 2 are needed)"
        )
    return select(
        trial, some, limits, advance=lambda stage, done, of: collector.progress(f"{stage} {names[0]}", done, of)
    )


def _side(means: TemplateMeans, side: str) -> list[str]:
    """Places before the request (`pre`) or behind it (`post`)."""
    return [name for name in means.places.names if name.startswith(side)]


def _along(means: TemplateMeans, chosen: Candidate) -> Any:
    """[2, B] float32: where the prompts of both kinds lie along the direction, at each block."""
    return one_direction(means, chosen.block, chosen.place, name="", towards="", provenance={}).means


def _spot(each: Candidate) -> Spot:
    return Spot(each.block, each.place, each.kl, each.ablated, each.added, each.out)


def _counts(each: Candidate) -> list[int] | None:
    found = each.harmful_refused
    return None if found is None else [found.k, found.n]


def _seed(collector: Collector, use: str) -> int:
    """A seed of its own for every use, the same in every run."""
    return collector.seed * 2**20 + zlib.crc32(use.encode()) % 2**20
