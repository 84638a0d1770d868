"""Puts harmless text around requests, so that a request map learns to pass over what does not ask.

A wrapper that a map never met shifts the mean state of the whole prompt, and on a model that reads in both directions
so does a response that was started from outside. No list of wrappers covers that. Text that says nothing of harm does:
it moves the states of harmful and of harmless requests alike, in many directions, and the labels stay what they were.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from sri_sdk.config.folds import Surrounding
from sri_sdk.records import Prompt

MADE = "around-"
"""How `attack` begins in prompts that are made here."""
FRAGMENT = (3, 8)
"""Fewest and most words of a part before or after a request."""
START = (2, 8)
"""And of one that a response begins with."""
PIECE, PIECES, HOLES = (1, 4), (1, 4), (3, 9)
"""And of each part in a response of masks; number of parts; masks before each."""


def around(
    plain: Sequence[Prompt], counts: Mapping[Surrounding, int], texts: Sequence[str], *, seed: int | str
) -> Iterator[Prompt]:
    """Requests with harmless text around them; each is used once.

    Args:
        plain: requests of one label, as many as all counts together.
        counts: what stands around -> how many.
        texts: harmless requests that the text is taken from.
        seed: of what is taken.

    Yields:
        Prompts with the label of their request, which `base` names; `attack` is `around-` and the kind.
    """
    generator, at = random.Random(f"around {seed}"), 0
    for kind, count in counts.items():
        for prompt in plain[at : at + count]:
            yield replace(
                _MAKE[kind](prompt, texts, generator), id=f"{prompt.id}-{MADE}{kind}", attack=f"{MADE}{kind}",
                base=prompt.base or prompt.id,
            )  # fmt: skip
        at += count


def shortened(prompt: Prompt, fits: Callable[[str], bool]) -> Prompt:
    """The same, its started response without as many of the last words as it takes to fit.

    Args:
        prompt: any; what `around` did not make stays as it is, because its author means what it says.
        fits: whether a response can be started like this.
    """
    if prompt.prefill is None or not (prompt.attack or "").startswith(MADE):
        return prompt
    words = prompt.prefill.split()
    while words and not fits(" ".join(words)):
        words.pop()
    return replace(prompt, prefill=" ".join(words) or None)


def _text(prompt: Prompt, texts: Sequence[str], generator: random.Random) -> Prompt:
    return _beside(prompt, generator.choice(texts), generator)


def _fragment(prompt: Prompt, texts: Sequence[str], generator: random.Random) -> Prompt:
    return _beside(prompt, f"{_words(texts, FRAGMENT, generator)} .", generator)


def _start(prompt: Prompt, texts: Sequence[str], generator: random.Random) -> Prompt:
    return replace(prompt, prefill=_words(texts, START, generator))


def _holes(prompt: Prompt, texts: Sequence[str], generator: random.Random) -> Prompt:
    parts = [
        f"<mask:{generator.randint(*HOLES)}> {_words(texts, PIECE, generator)}"
        for _ in range(generator.randint(*PIECES))
    ]
    return replace(prompt, prefill=" ".join(parts))


_MAKE: Mapping[Surrounding, Callable[[Prompt, Sequence[str], random.Random], Prompt]] = {
    "text": _text, "fragment": _fragment, "start": _start, "holes": _holes,
}  # fmt: skip


def _beside(prompt: Prompt, other: str, generator: random.Random) -> Prompt:
    return replace(prompt, text=f"{other} {prompt.text}" if generator.random() < 0.5 else f"{prompt.text} {other}")


def _words(texts: Sequence[str], most: tuple[int, int], generator: random.Random) -> str:
    """Some words in a row of one of the texts."""
    words = generator.choice(texts).split()
    count = min(generator.randint(*most), len(words))
    first = generator.randrange(len(words) - count + 1)
    return " ".join(words[first : first + count])
