"""Names in the config of an evaluation that stand for something else in it: whether it is there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Protocol

from sri_sdk.errors import did_you_mean


class Sections(Protocol):
    """What is looked at here of the config of an evaluation, by the names of its sections."""

    models: Any
    folds: Any
    attacks: Any
    harmless_sets: Any
    twins: Any
    maps: Any
    guards: Any
    strict: Any
    surrogates: Any
    steering: Any


def unknown_names(config: Sections) -> Iterator[str]:
    """What a config names and does not have, and counts above those of the prompts they are taken from."""
    yield from _of_models(config)
    yield from _of_attacks(config)
    for name, guard in config.guards.items():
        if guard.map is not None and guard.map not in config.maps:
            yield f"guards.{name}.map: {_none('map', guard.map, config.maps, 'maps')}"
        for attack, each in guard.left_out.items():
            if each not in config.maps:
                yield f"guards.{name}.left_out.{attack}: {_none('map', each, config.maps, 'maps')}"
            elif attack in config.maps[each].attacks:
                yield f"guards.{name}.left_out.{attack}: map {each!r} is fitted on this attack; name one that is not"
            if attack not in config.attacks:
                yield f"guards.{name}.left_out: {_none('attack', attack, config.attacks, 'attacks')}"
    yield from _of_steering(config)
    if config.strict is None:
        return
    twins = set(config.twins) if isinstance(config.twins, Mapping) else set(config.attacks)
    wanted: list[tuple[str, str, Collection[str], Collection[str], str]] = [
        ("attacks", "attack", config.strict.attacks, config.attacks, "attacks"),
        ("sets", "set", config.strict.sets, config.harmless_sets, "harmless_sets"),
        ("twins", "twins of attack", config.strict.twins, twins if config.twins else (), "twins"),
        ("reference", "guard", [config.strict.reference] if config.strict.reference else (), config.guards, "guards"),
    ]
    for key, what, found, known, section in wanted:
        for name in found:
            if name not in known:
                yield f"strict.{key}: {_none(what, name, known, section)}"


def _of_steering(config: Sections) -> Iterator[str]:
    section, order = config.steering, list(config.models)
    if section is None:
        return
    steered = section.models or order
    named = [("models", "model", section.models or (), order, "models")]
    named += [("language", "attack", filter(None, [section.language]), config.attacks, "attacks")]
    named += [("prompts", "attack", section.prompts, config.attacks, "attacks")]
    for key, what, found, known, where in named:
        for name in found:
            if name not in known:
                yield f"steering.{key}: {_none(what, name, known, where)}"
    for at, pair in enumerate(section.transfers):
        for part in ("of", "to"):
            if (name := getattr(pair, part)) not in steered:
                yield f"steering.transfers.{at}.{part}: {_none('model', name, steered, 'steering.models')}"
        if {pair.of, pair.to} <= set(steered) and order.index(pair.of) > order.index(pair.to):
            yield f"steering.transfers.{at}: {pair.of!r} stands behind {pair.to!r} in `models`; put it before it"


def _of_models(config: Sections) -> Iterator[str]:
    for name, entry in config.models.items():
        if entry.like is not None and (entry.like not in config.models or config.models[entry.like].like is not None):
            yield (
                f"models.{name}.like: {entry.like!r} is not a model of this file that stands on its own."
                f"{did_you_mean(entry.like, config.models)}"
            )
        if entry.like is None:
            missing = [part for part in ("model", "sampler", "tap") if getattr(entry, part) is None]
            if missing:
                yield f"models.{name}: {', '.join(missing)} missing; give them, or `like`"
    for at, pair in enumerate(config.surrogates):
        for part in ("guarded", "by"):
            if (found := getattr(pair, part)) not in config.models:
                yield f"surrogates.{at}.{part}: no model {found!r}.{did_you_mean(found, config.models)}"


def _of_attacks(config: Sections) -> Iterator[str]:
    test = config.folds.test
    for name, attack in config.attacks.items():
        if attack.prompts is None and attack.count > test.harmful:
            yield (
                f"attacks.{name}.count: {attack.count} exceeds folds.test.harmful, {test.harmful}; attacks are made of "
                "those prompts"
            )
    counts = (
        {f"twins.{name}": count for name, count in config.twins.items()} if isinstance(config.twins, Mapping) else {}
    )
    for name in config.twins if isinstance(config.twins, Mapping) else ():
        if name not in config.attacks:
            yield f"twins.{name}: {_none('attack', name, config.attacks, 'attacks')}"
        elif config.attacks[name].prompts is not None:
            counts.pop(f"twins.{name}")  # They come from another dataset.
    for path, count in counts.items() if isinstance(config.twins, Mapping) else [("twins", config.twins)]:
        if count > test.harmless:
            yield f"{path}: {count} exceeds folds.test.harmless, {test.harmless}; twins are made of those prompts"


def _none(what: str, name: str, known: Collection[str], section: str) -> str:
    return f"no {what} {name!r}; `{section}` has: {', '.join(sorted(known)) or 'none'}.{did_you_mean(name, known)}"
