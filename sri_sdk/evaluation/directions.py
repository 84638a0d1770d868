"""`sri steer extract`: from a config to the refusal direction of its model, or to an attribute's from two texts.

<out>/cache/steer-*     what an interrupted extraction continues from: rates of candidates, and no direction
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sri_sdk import registry
from sri_sdk.config.fit import FitConfig
from sri_sdk.dataset import Dataset
from sri_sdk.errors import ConfigError
from sri_sdk.files import sha256
from sri_sdk.fitting.collect import Progress
from sri_sdk.fitting.deployment import Deployment
from sri_sdk.fitting.draw import LABELS, draw_unused
from sri_sdk.fitting.generating import Generating
from sri_sdk.fitting.mix import bases_of
from sri_sdk.fitting.prompts import prompts_of
from sri_sdk.fitting.store import Store
from sri_sdk.judge import Judge
from sri_sdk.records import Label, Prompt
from sri_sdk.steer.direction import Direction
from sri_sdk.steer.extract import TemplateMeans, extract_means, states_of
from sri_sdk.steer.make import extract_directions, made_of, one_direction, refuse_overlap
from sri_sdk.steer.select import Keep, Limits, Selection, Trial, select
from sri_sdk.steer.spectrum import Spectrum, spectrum
from sri_sdk.strict_json import JsonError

STAGE = "steer"
LARGEST_TEXT = 16 * 2**20
"""Bytes of a file of prompts at most."""


@dataclass(frozen=True, slots=True)
class Extracted:
    """A refusal direction, and what is known of it."""

    direction: Direction
    means: TemplateMeans
    selection: Selection
    spectrum: Spectrum


def extract_refusal(config: FitConfig, progress: Progress = lambda *_: None) -> Extracted:
    """Extracts and chooses the refusal direction, as the section `steer` says.

    Args:
        config: a checked config with that section.
        progress: called as prompts are read and candidates tried.

    Raises:
        ConfigError: there is no such section, prompts are too few, or no candidate keeps to the limits.
        CaptureError: states cannot be read.
    """
    section = config.steer
    if section is None:
        raise ConfigError(
            "steer: missing: the file does not say which prompts a direction is made of. Add a section such as "
            "steer: {split: fit, harmless: 128, harmful: 128}"
        )
    dataset: Dataset = registry.build("datasets", config.prompts.dataset, config.prompts.options)
    used = {base for fold in prompts_of(config).named().values() for base in bases_of(fold)}
    kinds = _drawn(dataset, section.split, section.harmless, section.harmful, used, "steer")
    used |= {base for prompts in kinds.values() for base in bases_of(prompts)}
    split, sizes = section.validation.split or section.split, section.validation
    validation = _drawn(dataset, split, sizes.harmless, sizes.harmful, used, "steer.validation")
    refuse_overlap([p for each in kinds.values() for p in each], [p for each in validation.values() for p in each])
    live = Deployment.open(config)
    hook, tokenizer, system = live.hook, live.loaded.tokenizer, config.model.system_prompt
    without, having = kinds["harmless"], kinds["harmful"]
    means = extract_means(
        hook, tokenizer, without, having, system_prompt=system, places=section.places, batch_size=config.batch_size,
        advance=lambda done, of: progress("prompts", done, of),
    )  # fmt: skip
    judge: Judge = registry.build("judges", config.judge.name, config.judge.options)
    trial = Trial(
        hook, live.loaded, live.sampler, judge, tuple(validation["harmless"]), tuple(validation["harmful"]),
        system_prompt=system, seed=config.seed, batch_size=config.batch_size,
    )  # fmt: skip
    read = [p for each in (*kinds.values(), *validation.values()) for p in each]
    keep = _kept(live, config, read, means.places.names)
    chosen = select(trial, means, Limits(**section.limits.model_dump()), advance=progress, keep=keep)
    block, place = chosen.taken.block, chosen.taken.place
    at = [
        states_of(
            hook, tokenizer, prompts, means.places, block, place, system_prompt=system, batch_size=config.batch_size
        )
        for prompts in (without, having)
    ]
    found = spectrum(*at, seed=config.seed)
    provenance = {
        **made_of(hook, without, having, system),
        "source": live.loaded.source,
        "dataset": {"name": config.prompts.dataset, "split": section.split, **_told(dataset)},
        "judge": {"name": config.judge.name, "version": judge.version},
        "sampler": config.sampler.model_dump(mode="json"),
        "validation": {"split": split, "harmless": sizes.harmless, "harmful": sizes.harmful},
        "selection": chosen.to_dict(),
        "spectrum": found.to_dict(),
    }
    direction = one_direction(means, block, place, name="refusal", towards="refusing", provenance=provenance)
    return Extracted(direction, means, chosen, found)


def extract_attribute(
    config: FitConfig, name: str, without: Path, having: Path, *, place: str | None = None,
    towards: str | None = None, progress: Progress = lambda *_: None,
) -> Direction:  # fmt: skip
    """A direction per block for an attribute, from two files with one prompt per line.

    Args:
        config: a checked config; its model and system prompt count, and nothing else.
        name: the attribute.
        without: file of prompts without it.
        having: file of prompts with it.
        place: which token of the template; None = the last one.
        towards: what a positive projection means; None = the name.
        progress: called as prompts are read.

    Raises:
        ConfigError: a file cannot be read, prompts are too few, or nothing tells the two kinds apart.
        CaptureError: states cannot be read.
    """
    kinds = [_lines(path, kind) for path, kind in ((without, "without"), (having, "with"))]
    live = Deployment.open(config)
    made = extract_directions(
        live.hook, live.loaded.tokenizer, *kinds, name=name, towards=towards, place=place,
        system_prompt=config.model.system_prompt, batch_size=config.batch_size,
        advance=lambda done, of: progress("prompts", done, of),
    )  # fmt: skip
    more = {"source": live.loaded.source, "files": {"without": _sha(without), "with": _sha(having)}}
    return Direction(made.name, made.vectors, made.towards, made.means, {**made.provenance, **more})


def _kept(live: Deployment, config: FitConfig, read: Sequence[Prompt], places: Sequence[str]) -> Keep:
    """Keeps what candidates did beside the cache of `sri fit`.

    Args:
        live: the model.
        config: of the extraction.
        read: all prompts that something is made of or tried on.
        places: where states are read.
    """
    cache = Path(config.out) / "cache"
    key = {
        **Generating.on(live).key(read),
        "places": list(places),
        # The fingerprint of a model says nothing of the sampler's options where a guard has a horizon.
        "sampler": config.sampler.model_dump(mode="json"),
    }
    store = Store(cache, STAGE, key)

    def keep(name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        if isinstance(found := store.load_notes(name), dict):
            return found
        made = make()
        # A number that is none, as of a candidate that breaks the model, has no place in JSON.
        with suppress(JsonError):
            store.save_notes(name, made)
        return made

    return keep


def _drawn(
    dataset: Dataset, split: str, harmless: int, harmful: int, used: set[str], path: str
) -> dict[Label, list[Prompt]]:
    """Prompts that are made of no used request, by label."""
    counts = dict(zip(LABELS, (harmless, harmful), strict=True))
    return {
        label: draw_unused(
            dataset, (split, label, None), count, used, path=f"{path}.{label}", by="the folds or of steer"
        )
        for label, count in counts.items()
    }


def _told(dataset: Dataset) -> dict[str, Any]:
    found: Mapping[str, Any] = dataset.provenance()
    return {"provenance": dict(found)} if found else {}


def _lines(path: Path, kind: str) -> Sequence[Prompt]:
    """The lines of a UTF-8 file as prompts; empty ones are left out."""
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST_TEXT + 1)
        if len(content) > LARGEST_TEXT:
            raise ConfigError(f"{path}: larger than {LARGEST_TEXT} bytes. Give a file with one prompt per line.")
        lines = content.decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as err:
        reason = getattr(err, "strerror", None) or "not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read: {reason}. Give a file with one prompt per line.") from err
    return [Prompt(f"{kind}-{number}", line, "harmless") for number, line in enumerate(lines, 1) if line.strip()]


def _sha(path: Path) -> str:
    return sha256(path.read_bytes())
