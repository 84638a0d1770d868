"""What is wrong with the config of an evaluation, beyond its form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from sri_sdk import registry
from sri_sdk.config.check_fit import check_fit, check_plugin, check_train, has
from sri_sdk.config.check_guards import check_guards
from sri_sdk.config.check_steering import check_steering
from sri_sdk.config.evaluation import EvaluationConfig, FromDataset
from sri_sdk.errors import SriError
from sri_sdk.options import problems


def check_evaluation(data: Mapping[str, Any]) -> tuple[EvaluationConfig | None, list[str]]:
    """The config, or None if its form is wrong, and every problem."""
    try:
        config = EvaluationConfig.model_validate(data)
    except ValidationError as err:
        return None, list(problems(err, EvaluationConfig))
    found: list[str] = []
    for name in config.models:
        found += _check_model(config, name)
    found += _check_plugins(config)
    found += _check_prompts(config)
    found += _check_texts(config)
    found += check_guards(config)
    found += check_steering(config)
    found += _check_layers(config)
    # A mistake in what all models share is one problem, not one per model.
    return config, list(dict.fromkeys(found))


def _check_model(config: EvaluationConfig, name: str) -> Iterator[str]:
    """The problems of one model as a deployment, each under its path in this file."""
    own = {part for part in ("model", "sampler", "tap") if getattr(config.models[name], part) is not None}
    like = config.models[name].like
    _, mistakes = check_fit(config.fit_config(name).model_dump(mode="json"))
    for mistake in mistakes:
        section = mistake.partition(".")[0].partition(":")[0]
        if section in {"model", "sampler", "tap"}:
            yield f"models.{name if section in own or like is None else like}.{mistake}"
        elif section != "detector":
            yield mistake


def _check_layers(config: EvaluationConfig) -> Iterator[str]:
    """A guard reads layers that are tapped on every model it is compared on."""
    sections = {f"guards.{name}.detector": entry.detector for name, entry in config.guards.items()}
    sections["unseen_attacks"] = config.unseen_attacks
    for path, section in sections.items():
        for name, model in config.models.items():
            tapped = config.fit_config(name).tap.layers
            missing = [layer for layer in (section.layers or ()) if layer not in tapped] if section else []
            if missing and (model.guards or path == "unseen_attacks"):
                yield (
                    f"{path}.layers: {', '.join(map(str, missing))} not tapped on model {name!r}; its tap.layers: "
                    f"{', '.join(map(str, tapped))}"
                )


def _check_plugins(config: EvaluationConfig) -> Iterator[str]:
    named: list[tuple[str, str, str, Any]] = []
    if config.draft_judge is not None:
        named.append(("draft_judge", "name", "judges", config.draft_judge))
    if config.unseen_attacks is not None:
        named.append(("unseen_attacks", "name", "detectors", config.unseen_attacks))
    for name, attack in config.attacks.items():
        if attack.plugin is not None:
            named.append((f"attacks.{name}", "plugin", "attacks", attack))
        if attack.prompts is not None:
            named.append((f"attacks.{name}.prompts", "dataset", "datasets", attack.prompts))
    for name, odd in config.harmless_sets.items():
        if odd.prompts is not None:
            named.append((f"harmless_sets.{name}.prompts", "dataset", "datasets", odd.prompts))
    for name, guard in config.guards.items():
        if guard.parts is not None:
            continue  # Reported with the guards.
        part, kind = ("detector", "detectors") if guard.detector else ("baseline", "baselines")
        named.append((f"guards.{name}.{part}", "name", kind, getattr(guard, part)))
    for path, key, kind, entry in named:
        written = {key: getattr(entry, key), "options": entry.options}
        plugin, mistakes = check_plugin(path, key, kind, written)
        yield from mistakes
        if kind == "detectors" and plugin is not None:
            yield from check_train(config.folds.train.harmless, plugin)
            if path != "unseen_attacks" and getattr(plugin, "labels", "ignored") == "required":
                yield (
                    f"{path}: {entry.name!r} learns from labelled attacks, and the guards of an evaluation learn from "
                    "harmless prompts alone; name it under unseen_attacks, or take another detector"
                )


def _check_prompts(config: EvaluationConfig) -> Iterator[str]:
    try:
        dataset = registry.build("datasets", config.prompts.dataset, config.prompts.options)
    except SriError:
        return  # Reported with the models, under its own path.
    splits, attacks, name = list(dataset.splits()), list(dataset.attacks()), config.prompts.dataset
    if (wanted := config.folds.test.split) not in splits:
        yield f"folds.test.split: unknown split {wanted!r}; {has(name, splits, wanted)}"
    for own, attack in config.attacks.items():
        if attack.prompts is not None:
            yield from _check_elsewhere(f"attacks.{own}.prompts", attack.prompts)
        elif attack.plugin is None and own not in attacks:
            yield (
                f"attacks.{own}: unknown attack; {has(name, attacks, own)} If it is an attack plugin, name it "
                "under `plugin`; see `sri plugins list --kind attacks`."
            )
    for own, entry in config.harmless_sets.items():
        if entry.prompts is not None:
            yield from _check_elsewhere(f"harmless_sets.{own}.prompts", entry.prompts)
            continue
        if entry.split not in splits:
            yield f"harmless_sets.{own}.split: unknown split {entry.split!r}; {has(name, splits, str(entry.split))}"
        if entry.attack is not None and entry.attack not in attacks:
            yield f"harmless_sets.{own}.attack: unknown attack {entry.attack!r}; {has(name, attacks, entry.attack)}"


def _check_elsewhere(path: str, entry: FromDataset) -> Iterator[str]:
    try:
        other = registry.build("datasets", entry.dataset, entry.options)
    except SriError:
        return  # Reported with the plugins.
    splits, attacks = list(other.splits()), list(other.attacks())
    if entry.split not in splits:
        yield f"{path}.split: unknown split {entry.split!r}; {has(entry.dataset, splits, entry.split)}"
    if entry.attack is not None and entry.attack not in attacks:
        yield f"{path}.attack: unknown attack {entry.attack!r}; {has(entry.dataset, attacks, entry.attack)}"


def _check_texts(config: EvaluationConfig) -> Iterator[str]:
    if config.keep_texts:
        return
    for name, guard in config.guards.items():
        if guard.baseline is None:
            continue
        try:
            reads = registry.load("baselines", guard.baseline.name).reads
        except SriError:
            continue
        if reads != "prompt":
            yield (
                f"guards.{name}: baseline {guard.baseline.name!r} reads the {reads}, and responses are not stored; "
                "set keep_texts: true, or leave this guard out"
            )
