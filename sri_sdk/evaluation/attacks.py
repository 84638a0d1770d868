"""The attacks of an evaluation, turned into prompts for one model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sri_sdk import registry
from sri_sdk.attack import Attack
from sri_sdk.config.evaluation import AttackEntry, EvaluationConfig
from sri_sdk.errors import ConfigError
from sri_sdk.evaluation.datasets import Datasets
from sri_sdk.evaluation.groups import Groups
from sri_sdk.evaluation.live_target import LiveTarget
from sri_sdk.fitting.collect import Collector
from sri_sdk.fitting.store import Store
from sri_sdk.hook import Scheme
from sri_sdk.prefill import pieces
from sri_sdk.records import Prompt
from sri_sdk.strict_json import JsonError


@dataclass(frozen=True, slots=True)
class AttackFacts:
    """What is known about an attack besides its prompts."""

    family: str
    source: str
    note: str = ""
    """Why it was not run on this model; empty = it was."""


@dataclass(frozen=True, slots=True)
class Attacked:
    """One attack on one model."""

    name: str
    facts: AttackFacts
    prompts: tuple[Prompt, ...]
    """Empty = not run; `facts.note` says why."""
    twins: tuple[Prompt, ...] = ()
    """Harmless requests under the same attack; empty = not asked for, or there are none."""


def try_attacks(config: EvaluationConfig) -> None:
    """Builds every attack plugin once. An attack whose file is missing must not fail after an hour of generations.

    Raises:
        ConfigError: one of them cannot be built.
    """
    problems: list[str] = []
    for name, entry in config.attacks.items():
        if entry.plugin is not None:
            try:
                registry.build("attacks", entry.plugin, entry.options)
            except ConfigError as err:
                problems.append(f"attacks.{name}: {err}")
    if problems:
        raise ConfigError("\n".join(problems), problems)


def attacked_prompts(
    config: EvaluationConfig, model: str, groups: Groups, datasets: Datasets, collector: Collector
) -> Iterator[Attacked]:
    """Every attack of the config, in its order.

    Args:
        config: of the evaluation.
        model: name of the model in it.
        groups: the model's own, scaled.
        datasets: whose attacks need no plugin.
        collector: generates, for attacks that learn.
    """
    scheme, target = collector.hook.scheme, LiveTarget(collector)
    for name, entry in config.attacks.items():
        if entry.plugin is None:
            family, source = _about(name, entry, datasets)
            facts = AttackFacts(entry.family or family, entry.source or source)
            prompts = groups.own_attacks[name]
            if scheme != "masked" and any(has_holes(prompt) for prompt in prompts):
                yield _left_out(name, facts, f"not run: it needs holes to fill, and the model is {scheme}")
                continue
        else:
            attack: Attack = registry.build("attacks", entry.plugin, entry.options)
            facts = AttackFacts(entry.family or attack.family, entry.source or attack.source)
            if attack.schemes is not None and scheme not in attack.schemes:
                yield _left_out(name, facts, _unsuited(attack.schemes, scheme))
                continue
            learnt = _learnt(name, entry, attack, collector, target, groups.practice.get(name, ()))
            scale = config.models[model].scale
            prompts = tuple(attack.apply(groups.harmful[: max(1, round(entry.count * scale))], learnt))
        # Ready-made attacks may be the plain prompts of another dataset; nothing must take them for plain requests.
        marked = tuple(p if p.attack else replace(p, attack=name) for p in prompts)
        twins = groups.twins.get(name, ())
        if entry.plugin is not None and (wanted := config.twin_counts().get(name)):
            twins = tuple(attack.apply(groups.harmless[: max(1, round(wanted * scale))], learnt))
        yield Attacked(name, facts, marked, twins)


def _about(name: str, entry: AttackEntry, datasets: Datasets) -> tuple[str, str]:
    """Family and source, as its dataset states them."""
    if entry.prompts is None:
        return datasets.main.about_attack(name)
    other = datasets.open(entry.prompts.dataset, entry.prompts.options)
    if entry.prompts.attack is None:
        return name, f"dataset {entry.prompts.dataset}"
    family, source = other.about_attack(entry.prompts.attack)
    return family, source or f"dataset {entry.prompts.dataset}"


def _left_out(name: str, facts: AttackFacts, why: str) -> Attacked:
    return Attacked(name, AttackFacts(facts.family, facts.source, why), ())


def has_holes(prompt: Prompt) -> bool:
    """Whether its response starts with holes to fill, as only a masked model can."""
    return prompt.prefill is not None and any(isinstance(piece, int) for piece in pieces(prompt.prefill))


def _unsuited(schemes: frozenset[Scheme], found: Scheme) -> str:
    return f"not run: it attacks {', '.join(sorted(schemes))} models, and this one is {found}"


def _learnt(
    name: str, entry: AttackEntry, attack: Attack, collector: Collector, target: LiveTarget,
    practice: tuple[Prompt, ...],
) -> Mapping[str, Any]:  # fmt: skip
    """What an attack learns from this model. It is kept, because learning can take as long as everything else."""
    key = {**collector.key(practice), "attack": [entry.plugin, attack.config.model_dump(mode="json")]}
    store = Store(collector.cache, f"learnt {name}", key)
    with store.alone("learnt"):
        return _found_or_learnt(name, entry, attack, collector, target, practice, store)


def _found_or_learnt(
    name: str, entry: AttackEntry, attack: Attack, collector: Collector, target: LiveTarget,
    practice: tuple[Prompt, ...], store: Store,
) -> Mapping[str, Any]:  # fmt: skip
    learnt: Mapping[str, Any] | None = store.load_notes("learnt")
    if learnt is None:
        collector.progress(f"practice of {name}", 0, 1)
        learnt = attack.prepare(target, practice)
        collector.progress(f"practice of {name}", 1, 1)
        try:
            store.save_notes("learnt", dict(learnt))
        except JsonError as err:
            raise ConfigError(
                f"attack {entry.plugin}: prepare() returned what JSON cannot keep: {err}. Return text, numbers, lists "
                "and mappings; `sri check` tries that."
            ) from err
    return learnt
