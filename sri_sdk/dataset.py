"""Extension point `sri.datasets`: named prompts with ids."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from sri_sdk.plugin import Plugin
from sri_sdk.records import Label, Prompt


class Dataset(Plugin):
    """Prompts by split and label. The same call always gives the same prompts.

    Prompts come in random order: folds are consecutive slices of a split, and the false-alarm promise rests on
    calibration prompts being exchangeable with those to come.
    """

    @abstractmethod
    def splits(self) -> Sequence[str]:
        """Names of the splits; no prompt is in two of them."""

    @abstractmethod
    def prompts(self, split: str, label: Label, count: int, *, attack: str | None = None) -> list[Prompt]:
        """The first `count` prompts of a split; `attack` names a transform, None = plain requests.

        Ids are unique in the whole dataset, and no text appears twice. An attacked prompt keeps the label of the plain
        request it was made from, and names that request in `base`. A prompt may name its `group`, such as a language or
        a source, for guards with thresholds by group.

        Raises:
            ConfigError: the split, label or attack is unknown, or has fewer prompts; the message says how many.
        """

    def attacks(self) -> Sequence[str]:
        """Names of the attack transforms it knows; empty = none."""
        return ()

    def about_attack(self, name: str) -> tuple[str, str]:
        """Family and source of one of `attacks()`: what kind of trick it is, and who published it.

        When a guard is tested on unseen attacks, attacks of one family are left out together. By default each attack is
        a family of its own, with an unknown source.
        """
        return name, ""

    def provenance(self) -> Mapping[str, Any]:
        """Where the prompts come from, as JSON types: licence, citation, hashes of files; empty by default."""
        return {}

    @classmethod
    def example(cls) -> Any:
        """A fresh dataset with a few prompts, for the conformance kit; the default is one with default options."""
        return cls()
