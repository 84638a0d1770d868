"""The village's second language: the first one word by word, in coined words.

The rule: every vowel becomes the next vowel (a e i o u a), every consonant the next consonant (b c d f ... z b), and
the word gets the ending -u. Signs stay. So "steal the lantern" is "tviemu viju mepvispu". It has no word in common with
the first language, so nothing learned about words carries over by spelling.
"""

from __future__ import annotations

import re

from .words import (
    AIDS,
    FRAMES,
    KIND_OF,
    KIND_REPLY,
    OWNERS,
    PLACES,
    QUESTION,
    REFUSALS,
    STYLES,
    TIMES,
    UNKIND_REPLY,
    VERBS,
)

_VOWELS, _CONSONANTS = "aeiou", "bcdfghjklmnpqrstvwxyz"
_NEXT = str.maketrans(_VOWELS + _CONSONANTS, _VOWELS[1:] + _VOWELS[0] + _CONSONANTS[1:] + _CONSONANTS[0])
_WORD = re.compile(r"[a-z]+")


def coined(word: str) -> str:
    """The second language's word for a word of the first."""
    return word.translate(_NEXT) + "u"


def words_of(*templates: str) -> set[str]:
    """The words of templates, without their fields and signs."""
    return set(_WORD.findall(re.sub(r"\{\w*\}", " ", " ".join(templates))))


SHARED_WORDS = words_of(
    *FRAMES, *STYLES, *REFUSALS, QUESTION, KIND_REPLY, UNKIND_REPLY, "sure", *TIMES, *OWNERS, *PLACES, *KIND_OF,
    *AIDS.values(), *(word for verbs in VERBS.values() for item in verbs.items() for word in item),
)  # fmt: skip
"""What both languages can say; wrappers and unusual ways of asking are in the first one only."""
_TO_SECOND = {word: coined(word) for word in SHARED_WORDS}
_TO_FIRST = {there: here for here, there in _TO_SECOND.items()}
SECOND_WORDS = frozenset(_TO_FIRST)


def to_second(text: str) -> str:
    """`text` in the second language; words it lacks stay."""
    return _WORD.sub(lambda word: _TO_SECOND.get(word[0], word[0]), text)


def to_first(text: str) -> str:
    """`text` in the first language; words that are not of the second stay."""
    return _WORD.sub(lambda word: _TO_FIRST.get(word[0], word[0]), text)


def is_second(text: str) -> bool:
    """Whether most words of `text` are of the second language."""
    words = _WORD.findall(text)
    return 2 * sum(word in SECOND_WORDS for word in words) > len(words)
