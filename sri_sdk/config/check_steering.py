"""What is wrong with the section `steering` of an evaluation, beyond its form."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from sri_sdk import registry
from sri_sdk.config.check_steer import check_steer
from sri_sdk.config.evaluation import EvaluationConfig
from sri_sdk.errors import SriError


def check_steering(config: EvaluationConfig) -> Iterator[str]:
    """Whether its models can be steered, and its attacks are of the kind that is asked for."""
    section = config.steering
    if section is None:
        return
    dataset = None
    with suppress(SriError):  # Reported under its own path.
        dataset = registry.load("datasets", config.prompts.dataset)
    for name in section.models or config.models:
        try:
            hook = registry.load("hooks", config.fit_config(name).model.hook)
        except SriError:
            continue  # Reported with the models.
        for problem in check_steer(section.direction, hook, config.prompts, dataset):
            # It speaks of the file of a deployment, where the section is called `steer`.
            yield f"steering.direction{problem.removeprefix('steer')}"
    languages = () if section.language is None else (section.language,)
    for path, names in (("language", languages), ("prompts", section.prompts)):
        for attack in names:
            entry = config.attacks.get(attack)
            if entry is None:
                continue
            if path == "language" and (entry.plugin is not None or entry.prompts is not None):
                yield (
                    f"steering.language: {attack!r} is no attack of dataset {config.prompts.dataset!r} itself, which "
                    "alone can put other harmful and harmless prompts into that language; name another, or leave it out"
                )
            if path == "prompts" and entry.prompts is not None:
                yield (
                    f"steering.prompts: {attack!r} has prompts of another dataset, and ablation is compared on the "
                    "same requests; name an attack of the dataset itself, or a plugin"
                )
