"""What is wrong with the guards of an evaluation, and with what they are fitted, calibrated and judged on."""

from __future__ import annotations

from collections.abc import Iterator

from sri_sdk import registry
from sri_sdk.config.check_fit import check_fit, check_request
from sri_sdk.config.columns import USUAL, chosen
from sri_sdk.config.evaluation import EvaluationConfig, plain_share
from sri_sdk.errors import ConfigError, SriError
from sri_sdk.records import REQUEST


def check_guards(config: EvaluationConfig) -> Iterator[str]:
    """Problems of guards as deployments of their own, each under its path in this file."""
    yield from _check_requests(config)
    for name, guard in config.guards.items():
        if guard.parts is not None:
            yield from _check_parts(config, name)
        if guard.detector is not None and _reads_request(guard.detector.name):
            yield (
                f"guards.{name}.detector: {guard.detector.name!r} reads the request; write it as a part: "
                f"`parts: {{asked: {{detector: {guard.detector.name}}}}}`, with a `map`"
            )
        yield from _check_calibration(config, name)
    yield from _check_twins(config)


def _check_requests(config: EvaluationConfig) -> Iterator[str]:
    """A model whose requests are read needs a hook that can, and a guard that reads them such a model."""
    for name, entry in config.models.items():
        if entry.request is not None:
            try:
                hook = registry.load("hooks", config.fit_config(name).model.hook)
            except SriError:
                continue  # Reported with the models.
            yield from (f"models.{name}.{problem}" for problem in check_request(entry.request, None, hook))
    reading = [name for name, guard in config.guards.items() if guard.maps()]
    compared = [name for name, entry in config.models.items() if entry.guards]
    if reading and not any(config.request_of(name) for name in compared):
        yield (
            f"guards.{reading[0]}.map: no model that the guards are compared on has a section `request`, so nobody "
            f"reads requests; write `request: {{layers: all}}` under models.{compared[0] if compared else 'NAME'}"
        )
    for name in config.maps.keys() - {each for guard in config.guards.values() for each in guard.maps()}:
        yield f"maps.{name}: no guard names this map; add a guard with `map: {name}`, or leave it out"


def _check_parts(config: EvaluationConfig, name: str) -> Iterator[str]:
    guard = config.guards[name]
    for model, entry in config.models.items():
        if not entry.guards or (guard.maps() and config.request_of(model) is None):
            continue
        for problem in check_fit(config.guard_data(model, name))[1]:
            if problem.startswith("parts"):
                # The section `request` of a fit is a `map` here.
                yield f"guards.{name}.{problem}".replace(
                    "A section `request` adds the column.", "A `map` adds the column."
                ).replace("which the section `request` asks for; name it, or leave the section out", "which `map` asks "
                          "for; name it, or leave the map out")  # fmt: skip
            elif problem.startswith("folds.request"):
                yield f"maps.{guard.maps()[0]}{problem.removeprefix('folds.request')}"


def _reads_request(detector: str) -> bool:
    try:
        return bool(chosen(getattr(registry.load("detectors", detector), "columns", USUAL), (REQUEST,)))
    except SriError:
        return False


def _check_calibration(config: EvaluationConfig, name: str) -> Iterator[str]:
    """Whether the guard's traffic has as many calibration prompts as its alpha and shares need."""
    guard, fold = config.guards[name], config.folds.calibration
    share = plain_share(fold) if guard.traffic == "plain" else 1.0
    if not share:
        yield f"guards.{name}.traffic: found 'plain', and folds.calibration.mix has no plain prompts; give it a share"
        return
    count, needed = int(fold.harmless * share), config.needed(name)
    if count < needed:
        plain = f", {share:.3g} of them plain" if share < 1 else ""
        parts = f", shared by {len(guard.parts)} parts" if guard.parts and len(guard.parts) > 1 else ""
        yield (
            f"guards.{name}: alpha {guard.limits(config.calibrate).alpha:g}{parts} needs {needed} calibration prompts, "
            f"and folds.calibration has {fold.harmless}{plain}. Set folds.calibration.harmless to at least "
            f"{-(-needed * fold.harmless // max(count, 1))}, or raise alpha."
        )


def _check_twins(config: EvaluationConfig) -> Iterator[str]:
    """A twin that was asked for by name must exist; one number for all leaves out what has none."""
    wanted = list(config.twins) if isinstance(config.twins, dict) else []
    for name in wanted + [name for name in (config.strict.twins if config.strict else ()) if name not in wanted]:
        if why := no_twin(config, name):
            path = f"twins.{name}" if name in wanted else f"strict.twins: {name!r}"
            yield f"{path}: {why}. Leave it out; the attack is then listed as one without a twin"


def no_twin(config: EvaluationConfig, attack: str) -> str:
    """Why harmless requests cannot be put under an attack; empty = they can, or the name is reported elsewhere."""
    entry = config.attacks.get(attack)
    if entry is None or entry.plugin is not None:
        return ""  # Plugins wrap what they are given.
    other = entry.prompts
    if other is not None and other.attack is None:
        return f"its prompts are ready-made, and dataset {other.dataset!r} does not say what they are made of"
    name, options = (other.dataset, other.options) if other else (config.prompts.dataset, config.prompts.options)
    split, transform = (other.split, other.attack) if other else (config.folds.test.split, attack)
    try:
        dataset = registry.build("datasets", name, options)
        if split not in dataset.splits() or transform not in dataset.attacks():
            return ""
        dataset.prompts(split, "harmless", 1, attack=transform)
    except ConfigError as err:
        return f"dataset {name!r} has no harmless prompts under it ({err})"
    except SriError:
        return ""
    return ""
