"""Takes the first prompts of a dataset's splits, and says which have too few."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

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


def draw_unused(
    dataset: Dataset, key: Slice, count: int, used: AbstractSet[str], *, path: str, by: str
) -> list[Prompt]:  # fmt: skip
    """The first prompts of a slice that are made of no used request.

    Args:
        dataset: where they come from.
        key: split, label and attack.
        count: how many.
        used: ids of requests.
        path: of the count in the config, for messages.
        by: what uses the others, for messages.

    Raises:
        ConfigError: there are too few.
    """
    split, label, attack = key
    asked, free = count, list[Prompt]()
    try:
        while len(free) < count:
            found = dataset.prompts(split, label, asked, attack=attack)
            free = [p for p in found if (p.base or p.id) not in used]
            if len(found) < asked:
                raise ConfigError(f"split {split!r} has {len(found)} {label} prompts under it")
            asked += count - len(free)
    except ConfigError as err:
        raise ConfigError(
            f"{path}: {count} {label} prompts are wanted that are made of no request of {by}, and {len(free)} are "
            f"there: {err} Lower the count, or take another split."
        ) from err
    return free[:count]
