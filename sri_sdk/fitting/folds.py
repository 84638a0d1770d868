"""Which prompts are used for what: drawn in order, and disjoint by text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
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
    drawn = {
        (split, label, attack): dataset.prompts(split, label, count, attack=attack)
        for (split, label, attack), count in wanted.items()
        if count
    }
    made = {
        name: tuple(p for split, label, attack, a, b in parts if b > a for p in drawn[split, label, attack][a:b])
        for name, parts in slices.items()
    }
    folds = Folds(**made)
    refuse_overlap(folds.named())
    return folds


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
