"""Groups of requests with thresholds of their own: who is in which, and whether each has prompts enough."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sri_sdk.bundle.manifest_v2 import ALL, MOST_GROUPS
from sri_sdk.bundle.part_entries import GROUP
from sri_sdk.config.fit import FitConfig, smallest_calibration
from sri_sdk.config.folds import Groups
from sri_sdk.config.mix import PLAIN
from sri_sdk.fitting.folds import Folds, mix_seed
from sri_sdk.fitting.mix import draw_kinds
from sri_sdk.records import Prompt

if TYPE_CHECKING:
    from sri_sdk.fitting.collect import Collected

_MOST_SHOWN = 5
_LARGEST = 2**20
"""Prompts up to which a size is sought that would do."""


def group_of(prompt: Prompt, groups: Groups) -> str | None:
    """The group that a caller would name for a prompt whose kind nobody drew; None = none."""
    return {"none": None, "prompt": prompt.group, "kind": prompt.attack or PLAIN}[groups]


def with_groups(folds: Folds, config: FitConfig) -> Folds:
    """The same folds, every prompt of calibration and test with the group that its generation is counted in."""
    groups = config.folds.calibration.groups

    def named(fold: str, prompts: Sequence[Prompt]) -> tuple[Prompt, ...]:
        kinds = folds.kinds.get(fold, ()) if groups == "kind" else ()
        found = [*kinds, *(group_of(prompt, groups) for prompt in prompts[len(kinds) :])]
        return tuple(replace(prompt, group=group) for prompt, group in zip(prompts, found, strict=True))

    calibration, test = named("calibration", folds.calibration), named("test", folds.test)
    return replace(folds, calibration=calibration, test=test)


def grouped(collected: Collected) -> Collected:
    """The same generations, their signals with the groups of their prompts."""
    return replace(collected, signals=replace(collected.signals, groups=tuple(p.group for p in collected.prompts)))


def group_problems(folds: Folds, config: FitConfig) -> Iterator[str]:
    """What is wrong with the groups of the calibration fold, known before anything is generated."""
    groups, where = config.folds.calibration.groups, "folds.calibration.groups"
    if groups == "none":
        return
    if nameless := [prompt for prompt in folds.calibration if prompt.group is None]:
        yield (
            f"{where}: dataset {config.prompts.dataset!r} names no group for {len(nameless)} of "
            f"{len(folds.calibration)} calibration prompts, for example {nameless[0].id!r}. Give each prompt a group, "
            "or write groups: none."
        )
        return
    mix = config.folds.calibration.mix
    counts = Counter(dict.fromkeys((each.name for each in mix.kinds()), 0) if groups == "kind" and mix else {})
    counts.update(str(prompt.group) for prompt in folds.calibration)
    if wrong := [name for name in counts if re.fullmatch(GROUP, name) is None or name == ALL]:
        yield (
            f"{where}: {_some(list(map(repr, wrong)))} cannot name a group; allowed: up to 64 letters, digits, dots, "
            f"hyphens and underscores, and not {ALL!r}"
        )
    if len(counts) > MOST_GROUPS:
        yield f"{where}: {len(counts)} groups; allowed: {MOST_GROUPS}. Make larger ones of them."
    share = min(config.shares().values())
    needed = smallest_calibration(config.calibrate, share)
    if few := {name: count for name, count in sorted(counts.items()) if count < needed}:
        alpha = config.calibrate.alpha * share
        yield (
            f"{where}: each group needs {needed} calibration prompts for alpha {alpha:.4g}"
            + (f", the smallest share of a part of {config.calibrate.alpha:g}" if share < 1 else "")
            + f"; found {_some([f'{count} of {name!r}' for name, count in few.items()])}. "
            + _cure(folds, config, needed, few)
        )


def _cure(folds: Folds, config: FitConfig, needed: int, few: dict[str, int]) -> str:
    fold = config.folds.calibration
    least = 0
    if fold.groups == "kind" and fold.mix is not None:
        # More prompts of one seed begin with the same kinds, so what would do is known.
        rarest = min(each.share for each in fold.mix.kinds())
        count = min(int(2 * needed / rarest) + 100, _LARGEST)
        seen: Counter[str] = Counter()
        for number, kind in enumerate(draw_kinds(count, fold.mix, seed=mix_seed(config.seed, "calibration")), 1):
            seen[kind.name] += 1
            if seen[kind.name] == needed and min(seen[each.name] for each in fold.mix.kinds()) >= needed:
                least = number
                break
    if least:
        return f"Set folds.calibration.harmless to at least {least}, raise alpha, or leave rare kinds out of the mix."
    about = max(-(-needed * fold.harmless // max(count, 1)) for count in few.values())
    return f"About {about} prompts in all would do: raise folds.calibration.harmless, raise alpha, or join groups."


def _some(found: Sequence[str]) -> str:
    more = f" and {len(found) - _MOST_SHOWN} more" if len(found) > _MOST_SHOWN else ""
    return ", ".join(found[:_MOST_SHOWN]) + more
