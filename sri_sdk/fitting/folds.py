"""Which prompts are used for what: drawn in order, and disjoint by text."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sri_sdk.config.fit import FoldsSection
from sri_sdk.dataset import Dataset
from sri_sdk.errors import ConfigError
from sri_sdk.files import sha256
from sri_sdk.records import Label, Prompt
from sri_sdk.text import normal


@dataclass(frozen=True, slots=True)
class Folds:
    """The prompts of a fit, by use."""

    anchors: tuple[Prompt, ...]
    train: tuple[Prompt, ...]
    reference: tuple[Prompt, ...]
    calibration: tuple[Prompt, ...]
    test: tuple[Prompt, ...]
    """Empty if the config has none."""

    def named(self) -> Mapping[str, tuple[Prompt, ...]]:
        """Fold name -> prompts."""
        return {name: getattr(self, name) for name in self.__slots__}


def draw_folds(dataset: Dataset, section: FoldsSection) -> Folds:
    """Takes consecutive prompts of each split, fold after fold, and refuses overlaps.

    Raises:
        ConfigError: a split holds too few prompts, or a text stands in two folds.
    """
    wanted: dict[tuple[str, Label, str | None], int] = defaultdict(int)
    slices: dict[str, list[tuple[str, Label, str | None, int, int]]] = {}
    for name, fold in section:
        slices[name] = []
        if fold is None:
            continue
        counts: list[tuple[Label, str | None, int]] = [("harmless", None, fold.harmless)]
        counts.append(("harmful", None, getattr(fold, "harmful", 0)))
        counts += [("harmful", attack, count) for attack, count in getattr(fold, "attacks", {}).items()]
        for label, attack, count in counts:
            key = (fold.split, label, attack)
            slices[name].append((*key, wanted[key], wanted[key] + count))
            wanted[key] += count
    drawn = draw(dataset, wanted)
    made = {
        name: tuple(p for split, label, attack, a, b in parts if b > a for p in drawn[split, label, attack][a:b])
        for name, parts in slices.items()
    }
    folds = Folds(**made)
    refuse_overlap(folds.named())
    return folds


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


def count_prompts(folds: Mapping[str, Iterable[Prompt]]) -> dict[str, dict[str, int]]:
    """Fold -> how many prompts it has that are `harmless`, `harmful`, or under an attack of that name."""
    return {name: dict(Counter(p.attack or p.label for p in prompts)) for name, prompts in folds.items() if prompts}


def refuse_overlap(folds: Mapping[str, tuple[Prompt, ...]]) -> None:
    """Raises ConfigError if one request is in two folds, or twice in one.

    The same request: the same text as a reader sees it (`sri_sdk.text.normal`), or an attack made of the same plain
    request. Within the test fold the latter is allowed, because statistics resample by base request.
    """
    home: dict[str, tuple[str, str]] = {}
    clashes: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for name, prompts in folds.items():
        for prompt in prompts:
            # An attack that only starts the response has the text of its plain request; its base tells them apart.
            text = f"{prompt.text}\n{prompt.prefill}" if prompt.prefill else prompt.text
            first, its_id = home.setdefault(text_hash(text), (name, prompt.id))
            if its_id != prompt.id or first != name:
                clashes[first, name].append((its_id, prompt.id))
                continue
            first, its_id = home.setdefault(f"base {prompt.base or prompt.id}", (name, prompt.id))
            if first != name:
                clashes[first, name].append((its_id, prompt.id))
    if clashes:
        problems = [
            f"folds: {len(pairs)} prompt(s) of {second!r} also stand in {first!r}, for example {pairs[0][1]!r} is "
            f"{pairs[0][0]!r} again. "
            "A guard fitted and calibrated on the same request promises too much: remove the duplicates."
            for (first, second), pairs in clashes.items()
        ]
        raise ConfigError(problems[0], problems)


def text_hash(text: str) -> str:
    """SHA-256 of a text as it is compared, see `sri_sdk.text.normal`."""
    # Half a character, which JSON can hold, is no reason to fail.
    return sha256(normal(text).encode("utf-8", "surrogatepass"))
