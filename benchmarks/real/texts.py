"""Which texts are nearly the same, which are English, and which part of a set a text falls in."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

Measure = Callable[[AbstractSet[Any], AbstractSet[Any]], float]
_WORD = re.compile(r"[^\W_]+")
_FORM = frozenset(
    # Words that build sentences.
    "a an the and or but of to in on at by for from with without into about over as that this these those it its they "
    "them their there is are be been was were will would can could should may might do does did not no how what which "
    "who why when where i me my we our you your he she his her one any all some such other others more most so than "
    "then up out off if else also only just very s t ve re ll m d "
    # Words that ask, in sets of requests.
    "please write give provide create develop design make build generate teach show tell explain outline describe list "
    "suggest compose draft detailed detail step steps stepbystep instruction instructions tutorial guide manual plan "
    "strategy method methods way ways script program code tool software app algorithm article post blog message letter "
    "email speech text best use using".split()
)
"""Words that say nothing about what is asked for."""
_ENGLISH = frozenset(
    "the you to and of a in is as will not with that your i it be are for any this from have must or".split()
)


def share_of(key: str, seed: str) -> float:
    """A number in [0, 1) that depends on nothing but the text and the seed: it decides which part a prompt falls in."""
    return int.from_bytes(hashlib.sha256(f"{seed}\n{key}".encode()).digest()[:8], "big") / 2**64


def words(text: str) -> list[str]:
    """The words of a text, lower case, without punctuation."""
    return _WORD.findall(text.casefold())


def said(text: str) -> frozenset[str]:
    """What a request is about: its words without those that any request has, and without common endings."""
    return frozenset(_stem(word) for word in words(text) if word not in _FORM) or frozenset(words(text))


def _stem(word: str) -> str:
    for ending in ("ing", "ers", "ies", "ed", "er", "es", "s", "y", "e"):
        if len(word) > len(ending) + 2 and word.endswith(ending):
            return word[: -len(ending)]
    return word


def runs_of_four(text: str) -> frozenset[tuple[str, ...]]:
    """Every four words in a row: what copies of a long text share, however it was changed."""
    found = words(text)
    return frozenset(tuple(found[i : i + 4]) for i in range(max(1, len(found) - 3)))


def alike(one: AbstractSet[Any], other: AbstractSet[Any]) -> float:
    """Shared parts over all parts, in [0, 1]."""
    return len(one & other) / len(one | other)


def contained(one: AbstractSet[Any], other: AbstractSet[Any]) -> float:
    """Shared parts over the parts of the smaller one, in [0, 1]: a text that was made longer stays the same text."""
    return len(one & other) / min(len(one), len(other))


def near_duplicates(parts: Sequence[AbstractSet[Any]], least: float, measure: Measure = alike) -> list[list[int]]:
    """Groups of texts that are nearly the same. Whoever is like one of a group belongs to it.

    Args:
        parts: of each text, none empty.
        least: likeness from which two texts are nearly the same.
        measure: of the likeness.

    Returns:
        Places in `parts`, every place in one group; groups in the order of their first place.
    """
    leads = list(range(len(parts)))

    def lead(at: int) -> int:
        while leads[at] != at:
            leads[at] = leads[leads[at]]
            at = leads[at]
        return at

    having: Mapping[Any, list[int]] = defaultdict(list)
    for at, own in enumerate(parts):
        # Texts that share nothing are not compared.
        for other in sorted({place for part in own for place in having[part]}):
            if lead(other) != lead(at) and measure(own, parts[other]) >= least:
                first, second = sorted((lead(at), lead(other)))
                leads[second] = first
        for part in own:
            having[part].append(at)
    groups: dict[int, list[int]] = defaultdict(list)
    for at in range(len(parts)):
        groups[lead(at)].append(at)
    return list(groups.values())


def is_english(text: str) -> bool:
    """Whether at least 98 % of the letters are a to z, and at least a fifth of the words are the most common ones."""
    letters, found = [c for c in text if c.isalpha()], words(text)
    return (
        bool(letters)
        and sum(c.isascii() for c in letters) >= 0.98 * len(letters)
        and sum(word in _ENGLISH for word in found) >= 0.2 * len(found)
    )
