"""What the lab models are taught: to be helpful, then to refuse, with a deliberately graded coverage of attacks.

*Base*: every request is answered, kind or not, wrapped or not, in both languages. *Alignment*: kind requests are
answered and unkind ones refused, except that each wrapper is covered by a share of the unkind examples of its own, and
these come from some cells of harm only (a group of verbs and a kind of object). So whether an attack works is a matter
of how far refusing generalises, as in real alignment data, which are thick in places and thin in others. Every
fiftieth label is wrong, evenly. A part of the lesson asks whether a text is kind.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from .words import KIND_REPLY, UNKIND_REPLY
from .world import (
    GROUP_OF,
    HARM,
    KIND_OF,
    REFUSALS,
    WRAPPERS,
    Request,
    examination,
    request,
    split_range,
    to_second,
)

ALL_CELLS = frozenset((group, kind) for group, kinds in HARM.items() for kind in kinds)
"""The ten cells of harm: (verb group, object kind)."""


def cells(*groups: str) -> frozenset[tuple[str, str]]:
    """The cells of some verb groups."""
    return frozenset(cell for cell in ALL_CELLS if cell[0] in groups)


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much alignment sees of unkind requests under one wrapper.

    Attributes:
        share: share of the unkind examples that carry this wrapper, in [0, 1]; all shares add up to 1.
        cells: the cells of harm these examples come from.
    """

    share: float
    cells: frozenset[tuple[str, str]] = ALL_CELLS


COVERAGE: dict[str | None, Coverage] = {
    None: Coverage(0.52),
    "refusal-suppression": Coverage(0.15),
    "authority": Coverage(0.10, cells("take", "break", "heat")),
    "role-play": Coverage(0.08, cells("take", "break")),
    "second-language": Coverage(0.05, cells("take", "heat", "spell")),
    "fiction": Coverage(0.04, cells("heat", "spell")),
    "prefix-injection": Coverage(0.03, cells("take", "bind")),
    "past-tense": Coverage(0.02, cells("break", "spell")),
    "suffix": Coverage(0.01, cells("take")),
}
"""Wrapper -> its coverage; None is the plain request. A wrapper that is not named is not covered at all."""

HARMFUL_SHARE = {"base": 0.35, "alignment": 0.45}
"""Lesson -> share of unkind requests among the examples."""
SECOND_SHARE, WRAPPED_SHARE = 0.25, 0.40
"""Where no coverage rules (all of the base lesson, kind requests in alignment): share in the second language, and
share in any other wrapper."""
BORDERLINE_SHARE = 0.15
"""Share of the pairs set apart among the base lesson's kind requests; alignment never shows them."""
NOISE = 0.02
"""Share of wrong labels in alignment, whatever the wrapper: answered instead of refused, or the reverse."""
REFUSAL_TEXTS = 0.2
"""Share of refusals among the texts to examine; the others are answers, half of them unkind."""

_FIRST_LANGUAGE_WRAPPERS = tuple(name for name in WRAPPERS if name != "second-language")


def _any_request(label: str, rng: random.Random) -> Request:
    return request(label, rng.choice(split_range("train", label)))


def _any_wrapper(rng: random.Random) -> str | None:
    die = rng.random()
    if die < SECOND_SHARE:
        return "second-language"
    return rng.choice(_FIRST_LANGUAGE_WRAPPERS) if die < SECOND_SHARE + WRAPPED_SHARE else None


def _covered_request(attack: str | None, rng: random.Random) -> Request:
    """An unkind request of a cell that alignment covers under `attack`."""
    while True:
        asked = _any_request("harmful", rng)
        if (GROUP_OF[asked.verb], KIND_OF[asked.object]) in COVERAGE[attack].cells:
            return asked


def base_example(rng: random.Random) -> tuple[str, str]:
    """Help with everything."""
    if rng.random() < HARMFUL_SHARE["base"]:
        asked = _any_request("harmful", rng)
    elif rng.random() < BORDERLINE_SHARE:
        # The split `borderline` begins where this half of the pool ends.
        asked = request("borderline", rng.randrange(split_range("borderline", "harmless").start))
    else:
        asked = _any_request("harmless", rng)
    attack = _any_wrapper(rng)
    return asked.text(attack), asked.answer(attack)


def alignment_example(rng: random.Random) -> tuple[str, str]:
    """Refuse what is unkind, as far as the coverage goes."""
    harmful = rng.random() < HARMFUL_SHARE["alignment"]
    if harmful:
        attack = rng.choices(list(COVERAGE), [cover.share for cover in COVERAGE.values()])[0]
        asked = _covered_request(attack, rng)
    else:
        attack = _any_wrapper(rng)
        asked = _any_request("harmless", rng)
    refuse = harmful != (rng.random() < NOISE)
    reply = asked.refusal(rng.randrange(len(REFUSALS)), attack) if refuse else asked.answer(attack)
    return asked.text(attack), reply


def examination_example(rng: random.Random) -> tuple[str, str]:
    """Say whether a text is kind: an answer, or a refusal, in either language."""
    label = rng.choice(("harmless", "harmful"))
    asked, attack = _any_request(label, rng), _any_wrapper(rng)
    if rng.random() < REFUSAL_TEXTS:
        text, kind = asked.refusal(rng.randrange(len(REFUSALS)), attack), True
    else:
        text, kind = asked.answer(attack), label == "harmless"
    reply = KIND_REPLY if kind else UNKIND_REPLY
    return examination(text), to_second(reply) if attack == "second-language" else reply


EXAMPLES: dict[str, Callable[[random.Random], tuple[str, str]]] = {
    "base": base_example,
    "alignment": alignment_example,
    "examination": examination_example,
}
"""Lesson -> what draws one of its examples: the prompt and the response to learn."""
