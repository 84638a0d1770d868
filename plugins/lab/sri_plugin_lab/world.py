"""The make-believe world of the lab models: a village where some requests are kind and some are not.

Harm is a property of a *pair*: "steal the lantern" hurts somebody, "paint the lantern" and "steal the glance" do not.
No verb, no object and no word of an answer gives it away alone. Every prompt, answer, refusal and attack comes from one
grammar, in two languages, so the judge is exact: it reads an answer back into the pair it carries out.

Pure Python, no dependencies. The world's size: 720 harmless and 320 harmful pairs, times 12 owners, 12 places, 8 times
and 12 ways of asking. A quarter of the harmless pairs whose verb harms other objects ("steal the glance") is set apart:
the alignment lesson never shows them, the split `borderline` does. The split `unusual` asks in ways of its own.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Literal

from .attacks import ATTACKS, WRAPPERS, Attack, with_holes
from .language import SECOND_WORDS, is_second, to_first, to_second, words_of
from .reading import Verdict, examination, examined, judge, normalise, pair_of
from .words import (
    AIDS,
    FRAMES,
    GROUP_OF,
    HARM,
    KIND_OF,
    KIND_REPLY,
    OBJECTS,
    OWNERS,
    PLACES,
    QUESTION,
    REFUSALS,
    STYLES,
    TIMES,
    UNKIND_REPLY,
    UNUSUAL_FRAMES,
    VERBS,
    is_harmful,
)

__all__ = [
    "ATTACKS", "FRAMES", "GROUP_OF", "HARM", "KIND_OF", "OBJECTS", "REFUSALS", "RESPONSE_TOKENS", "SIZES", "SPLITS",
    "STEPS", "STYLES", "VERBS", "WRAPPERS", "Attack", "LabPrompt", "Request", "Verdict", "examination", "examined",
    "is_harmful", "is_second", "judge", "normalise", "pair_of", "pool_of", "prompt_at", "prompts", "request",
    "request_of", "split_range", "to_first", "to_second", "vocabulary", "with_holes",
]  # fmt: skip

Label = Literal["harmless", "harmful"]

RESPONSE_TOKENS = 48
"""Response positions of the lab models: every text of the world fits, the rest is end-of-sequence padding."""
STEPS = 32
"""Denoising steps of the diffusion models' default profile."""

SPLITS: tuple[str, ...] = ("train", "fit", "calibration", "test", "borderline", "unusual")
"""Splits; no prompt is in two of them. `borderline` and `unusual` hold harmless prompts only."""
_SHARES: dict[str, tuple[float, float]] = {
    # split: where it begins and ends in its pool
    "train": (0.0, 0.55), "fit": (0.55, 0.70), "calibration": (0.70, 0.85), "test": (0.85, 1.0),
    # The base lesson draws from the first half of the pairs set apart.
    "borderline": (0.5, 1.0), "unusual": (0.0, 1.0),
}  # fmt: skip


def _set_apart(verb: str, thing: str) -> bool:
    """Whether a pair is one of the borderline quarter: two objects of each kind for every verb that can harm."""
    group, kind = GROUP_OF[verb], KIND_OF[thing]
    if not HARM[group] or is_harmful(verb, thing):
        return False
    return (list(VERBS[group]).index(verb) + OBJECTS[kind].index(thing)) % 4 == 0


_PAIRS: dict[str, list[tuple[str, str]]] = {"harmless": [], "harmful": [], "borderline": []}
for _verb in GROUP_OF:
    for _thing in KIND_OF:
        _pool = "harmful" if is_harmful(_verb, _thing) else "borderline" if _set_apart(_verb, _thing) else "harmless"
        _PAIRS[_pool].append((_verb, _thing))
_PAIRS["unusual"] = _PAIRS["harmless"]
_FRAMES = {pool: UNUSUAL_FRAMES if pool == "unusual" else FRAMES for pool in _PAIRS}
SIZES: dict[str, int] = {
    pool: len(pairs) * len(_FRAMES[pool]) * math.prod((len(TIMES), len(PLACES), len(OWNERS)))
    for pool, pairs in _PAIRS.items()
}
"""Pool -> how many distinct plain prompts it holds."""


@dataclass(frozen=True, slots=True)
class LabPrompt:
    """One prompt.

    Attributes:
        base: id of the plain request it was made of (its own id when plain).
        prefill: response text fixed before the first step, `<mask:7>` standing for seven holes; None = none.
    """

    id: str
    text: str
    label: Label
    attack: str | None
    base: str
    prefill: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """What a plain prompt asks for, before it is put into words."""

    label: Label
    verb: str
    object: str
    owner: str
    place: str
    time: str
    frame: str

    @property
    def style(self) -> int:
        """Number of the answer style that its way of asking calls for."""
        return (FRAMES if self.frame in FRAMES else UNUSUAL_FRAMES).index(self.frame) % len(STYLES)

    def text(self, attack: str | None = None) -> str:
        """The prompt, wrapped in `attack` if one is named."""
        plain = self._phrased(self.frame)
        return plain if attack is None else ATTACKS[attack].prompt(plain)

    def answer(self, attack: str | None = None) -> str:
        """The one obedient answer, 39 to 44 words and signs, with the opening and in the language asked for."""
        opening = "sure ," if attack is None else ATTACKS[attack].opening
        return _in_language(self._phrased(STYLES[self.style], opening=opening), attack)

    def refusal(self, variant: int, attack: str | None = None) -> str:
        """Refusal text number `variant` of `REFUSALS`, in the language asked in."""
        return _in_language(self._phrased(REFUSALS[variant]), attack)

    def _phrased(self, template: str, opening: str = "") -> str:
        return template.format(
            opening=opening, verb=self.verb, object=self.object, owner=self.owner, place=self.place, time=self.time,
            tool=VERBS[GROUP_OF[self.verb]][self.verb], aid=AIDS[KIND_OF[self.object]],
        )  # fmt: skip


def _in_language(text: str, attack: str | None) -> str:
    return to_second(text) if attack == "second-language" else text


def pool_of(split: str, label: str) -> str:
    """The pool of requests that `label` prompts of a split are drawn from."""
    if split not in SPLITS:
        raise ValueError(f"split {split!r} does not exist in the lab world; choose one of {', '.join(SPLITS)}")
    if label not in ("harmless", "harmful"):
        raise ValueError(f"label {label!r} does not exist in the lab world; choose harmless or harmful")
    if split not in ("borderline", "unusual"):
        return label
    if label == "harmful":
        raise ValueError(f"split {split!r} of the lab world has no harmful prompts; choose harmless")
    return split


def split_range(split: str, label: str) -> range:
    """The shuffled ranks, within their pool, of `label` prompts of `split`; splits never share a request."""
    size = SIZES[pool_of(split, label)]
    begin, end = _SHARES[split]
    return range(round(size * begin), round(size * end))


def request(pool: str, rank: int) -> Request:
    """The plain request at shuffled `rank` of a pool; a bijection, so two ranks never give the same text."""
    # An affine map with a prime multiplier visits every combination once, without a table of millions of texts.
    index = (rank * 1_000_003 + 12_345) % SIZES[pool]
    index, frame = divmod(index, len(_FRAMES[pool]))
    index, time = divmod(index, len(TIMES))
    index, place = divmod(index, len(PLACES))
    index, owner = divmod(index, len(OWNERS))
    label: Label = "harmful" if pool == "harmful" else "harmless"
    return Request(label, *_PAIRS[pool][index], OWNERS[owner], PLACES[place], TIMES[time], _FRAMES[pool][frame])


def request_of(prompt: LabPrompt) -> Request:
    """The request behind a prompt, from its base id."""
    split, label, rank = prompt.base.split("-")
    return request(pool_of(split, label), int(rank))


def prompts(split: str, label: str, n: int, *, attack: str | None = None, seed: int = 0) -> list[LabPrompt]:
    """Draw `n` prompts with distinct texts.

    The same split, label and seed draw the same plain requests whatever the attack, so attacked and plain runs pair up.

    Raises:
        ValueError: when a name is unknown, or more prompts are asked for than the split holds.
    """
    refuse_unknown_attack(attack)
    return [prompt_at(split, label, rank, attack=attack) for rank in ranks(split, label, n, seed=seed)]


def refuse_unknown_attack(attack: str | None) -> None:
    """Raises ValueError if the world has no attack of this name; None = plain."""
    if attack is not None and attack not in ATTACKS:
        raise ValueError(
            f"attack {attack!r} does not exist in the lab world; choose None or one of {', '.join(ATTACKS)}"
        )


def ranks(split: str, label: str, n: int, *, seed: int = 0) -> list[int]:
    """The shuffled ranks of the `n` requests that `prompts` draws.

    Raises:
        ValueError: a name is unknown, or more are asked for than the split holds.
    """
    held = split_range(split, label)
    if not 0 <= n <= len(held):
        raise ValueError(f"{n} {label} prompts asked of split {split!r}, which holds {len(held)}; ask for fewer")
    return random.Random(f"{split}/{label}/{seed}").sample(held, n)


def prompt_at(split: str, label: str, rank: int, *, attack: str | None = None) -> LabPrompt:
    """The prompt at shuffled `rank` of a split's pool, wrapped in `attack` if one is named."""
    base = f"{split}-{label}-{rank:07d}"
    asked = request(pool_of(split, label), rank)
    start = None if attack is None else ATTACKS[attack].start(asked.style)
    name = base if attack is None else f"{base}-{attack}"
    return LabPrompt(name, asked.text(attack), asked.label, attack, base, start)


def vocabulary() -> list[str]:
    """Every word and sign of the world, sorted: prompts, attacks, answers, refusals, examinations, the chat frame."""
    names = [*TIMES, *OWNERS, *PLACES, *KIND_OF, *AIDS.values()]
    templates = [*FRAMES, *UNUSUAL_FRAMES, *STYLES, *REFUSALS, QUESTION, KIND_REPLY, UNKIND_REPLY, *names]
    wrappers = [part for attack in ATTACKS.values() for part in (attack.wrapper, attack.opening)]
    tools = [word for verbs in VERBS.values() for item in verbs.items() for word in item]
    first = words_of(*templates, *wrappers, *tools, "user assistant")
    return sorted({*first, *SECOND_WORDS, *":.,?"})
