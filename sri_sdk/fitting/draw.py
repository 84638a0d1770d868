"""Takes the first prompts of a dataset's splits, and says which have too few."""

from __future__ import annotations

from collections.abc import Mapping

from sri_sdk.dataset import Dataset
from sri_sdk.errors import ConfigError
from sri_sdk.records import Label, Prompt

LABELS: tuple[Label, ...] = ("harmless", "harmful")
Slice = tuple[str, Label, str | None]
"""Split, label and attack; None = plain requests."""


def draw(dataset: Dataset, wanted: Mapping[Slice, int]) -> dict[Slice, list[Prompt]]:
    """The first prompts of each slice, as many as wanted.

    Raises:
        ConfigError: a slice holds too few; every such slice is a problem of its own.
    """
    drawn: dict[Slice, list[Prompt]] = {}
    problems: list[str] = []
    for (split, label, attack), count in wanted.items():
        if not count:
            continue
        try:
            drawn[split, label, attack] = found = dataset.prompts(split, label, count, attack=attack)
        except ConfigError as err:
            problems += [f"folds: {problem}" for problem in err.problems]
            continue
        if len(found) != count:
            made = f" under attack {attack!r}" if attack else ""
            problems.append(
                f"folds: split {split!r} has {len(found)} {label} prompts{made}, {count} are wanted. Lower the counts "
                "under folds, or add prompts."
            )
    if problems:
        problems = list(dict.fromkeys(problems))
        raise ConfigError(problems[0], problems)
    return drawn
