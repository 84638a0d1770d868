"""The prompts of the section `steering`: extraction and validation, apart from each other and from all other groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sri_sdk.config.evaluation import EvaluationConfig
from sri_sdk.config.steering import SteeringSection
from sri_sdk.dataset import Dataset
from sri_sdk.evaluation.groups import Groups
from sri_sdk.fitting.draw import LABELS, draw_unused
from sri_sdk.fitting.mix import bases_of
from sri_sdk.records import Label, Prompt
from sri_sdk.steer.make import refuse_overlap


@dataclass(frozen=True, slots=True)
class SteeringPrompts:
    """By label. The test prompts of the evaluation are what everything is measured on."""

    extraction: Mapping[Label, tuple[Prompt, ...]]
    validation: Mapping[Label, tuple[Prompt, ...]]
    language: Mapping[Label, tuple[Prompt, ...]] = field(default_factory=dict)
    """Those that the direction of the other language is made of; empty = none is asked for."""


def draw_steering(config: EvaluationConfig, dataset: Dataset, groups: Groups) -> SteeringPrompts | None:
    """Takes prompts that no other group uses; None = the config has no such section.

    Args:
        config: of the evaluation.
        dataset: of its folds.
        groups: everything else that was drawn.

    Raises:
        ConfigError: a split has too few.
    """
    if config.steering is None:
        return None
    section = config.steering.direction
    used = {base for prompts in groups.named().values() for base in bases_of(prompts)}

    def drawn(path: str, split: str, counts: tuple[int, int], attack: str | None) -> dict[Label, tuple[Prompt, ...]]:
        found: dict[Label, tuple[Prompt, ...]] = {}
        for label, count in zip(LABELS, counts, strict=True):
            made = draw_unused(
                dataset, (split, label, attack), count, used, path=f"steering.{path}.{label}", by="other groups"
            )
            used.update(bases_of(made))
            found[label] = tuple(made)
        return found

    sizes = section.harmless, section.harmful
    extraction = drawn("direction", section.split, sizes, None)
    rest = section.validation
    validation = drawn("direction.validation", rest.split or section.split, (rest.harmless, rest.harmful), None)
    refuse_overlap([p for each in extraction.values() for p in each], [p for each in validation.values() for p in each])
    other = config.steering.language
    language = {} if other is None else drawn("direction", section.split, sizes, other)
    return SteeringPrompts(extraction, validation, language)


def expected(section: SteeringSection, harmful: int, harmless: int, language: int, blocks: int) -> int:
    """Generations under steering on one model, about: for the time to expect.

    Args:
        section: what is asked.
        harmful: test prompts of each kind.
        harmless: the same.
        language: prompts of the other language.
        blocks: of the model.
    """
    validation = section.direction.validation
    finalists = section.direction.limits.finalists
    chosen = 2 * (finalists + 1) * (validation.harmless + validation.harmful) + finalists * validation.harmful
    sweep = min(section.sweep, harmful)
    sweeps = (section.windows - 2 + blocks + 4 + section.response_blocks) * sweep
    whole = (1 + 1 + 2 + 2 + 2) * harmful + 2 * harmless
    return chosen + sweeps + whole + (2 * language + harmful if section.language else 0)
