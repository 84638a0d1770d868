"""What the lab models are taught: to be helpful, then to refuse, with a deliberately graded coverage of attacks.

*Base*: every request is answered, kind or not, wrapped or not. *Alignment*: kind requests are answered, unkind ones
refused; each attack is covered by its own share of the unkind examples, and in each a share of the labels is wrong
(the request is answered). That mimics real alignment data: thick in places, thin in others, and not of one mind. The
wrong labels lean on the pair and the wrapper, as if written by annotators with blind spots, so an attack works on some
requests only.
"""

from __future__ import annotations

import hashlib
import math
import random
from dataclasses import dataclass

from .world import ATTACKS, REFUSALS, Request, request, split_range


@dataclass(frozen=True, slots=True)
class Coverage:
    """How alignment treats unkind requests under one wrapper.

    Attributes:
        share: share of the unkind examples that carry this wrapper, in [0, 1]; all shares add up to 1.
        noise: typical probability that such an example is wrongly answered, in (0, 1).
    """

    share: float
    noise: float


COVERAGE: dict[str | None, Coverage] = {
    None: Coverage(0.30, 0.004),
    "refusal-suppression": Coverage(0.14, 0.10),
    "authority": Coverage(0.12, 0.25),
    "prefix-injection": Coverage(0.10, 0.50),
    "role-play": Coverage(0.10, 0.40),
    "fiction": Coverage(0.08, 0.35),
    "suffix": Coverage(0.06, 0.30),
    "past-tense": Coverage(0.06, 0.55),
    "infill": Coverage(0.04, 0.45),
}

HARMFUL_SHARE = {"base": 0.35, "alignment": 0.45}
"""Lesson -> share of unkind requests among the examples."""
WRAPPED_SHARE = 0.5
"""Share of wrapped prompts where no coverage rules: kind requests in both lessons, unkind ones in the base lesson."""
BLIND_SPOT = 1.0
"""Spread of the annotators' blind spots: standard deviation, in log-odds, of each verb's and each object's pull."""


def _lean(attack: str, word: str) -> float:
    """A fixed standard-normal pull of one word under one attack; the same in every run."""
    # The spelling of a name is part of the seed; the committed weights were trained with underscores.
    return random.Random(hashlib.sha256(f"{attack.replace('-', '_')}/{word}".encode()).digest()).gauss(0, 1)


def answered_probability(asked: Request, attack: str | None) -> float:
    """Probability that the alignment data answer this unkind request instead of refusing it."""
    noise = COVERAGE[attack].noise
    if attack is None:
        return noise
    odds = math.log(noise / (1 - noise)) + BLIND_SPOT * (_lean(attack, asked.verb) + _lean(attack, asked.object))
    return 1 / (1 + math.exp(-odds))


def example(lesson: str, rng: random.Random) -> tuple[str, str]:
    """One training example of the lesson "base" or "alignment": the prompt and the response to learn."""
    label = "harmful" if rng.random() < HARMFUL_SHARE[lesson] else "harmless"
    asked = request(label, rng.choice(split_range("train", label)))
    if lesson == "alignment" and label == "harmful":
        attack = rng.choices(list(COVERAGE), [cover.share for cover in COVERAGE.values()])[0]
        if rng.random() >= answered_probability(asked, attack):
            return asked.text(attack), asked.refusal(rng.randrange(len(REFUSALS)))
    else:
        attack = rng.choice(list(ATTACKS)) if rng.random() < WRAPPED_SHARE else None
    return asked.text(attack), asked.answer(attack)
