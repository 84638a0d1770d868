"""What chance finds: the best of many random directions, chosen as the difference of means is.

Directions are tried on the validation prompts of the candidates, with the same limit on harmless answers and as many
finalists; they need not bring refusals when added. What is left of a refusal under the best of them is what searching
alone gives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sri_sdk.errors import ConfigError
from sri_sdk.hook import Hook
from sri_sdk.steer.direction import Direction
from sri_sdk.steer.first_pass import FirstPass, RefusingTokens, canvas_of, kl
from sri_sdk.steer.select import Limits, Rate, Trial, ablated


@dataclass(frozen=True, slots=True, eq=False)
class RandomSearch:
    """Random directions, and the one that takes most refusals away on validation prompts."""

    directions: tuple[Direction, ...]
    taken: int
    """Number of the best."""
    refused: Rate
    """Harmful validation prompts refused while it is ablated."""

    @property
    def best(self) -> Direction:
        """The best of them."""
        return self.directions[self.taken]


def random_directions(hook: Hook, count: int, *, seed: int) -> tuple[Direction, ...]:
    """Directions that mean nothing: uniform on the sphere of the model's width.

    Args:
        hook: the model family, with its live model.
        count: how many.
        seed: of the draw.
    """
    drawn: NDArray[np.float64] = np.random.default_rng(seed).standard_normal((count, hook.hidden_size()))
    units = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
    means = np.zeros((2, len(hook.layers())), dtype=np.float32)
    return tuple(Direction("random", unit[None], "nothing", means, {"random": seed}) for unit in units)


def random_search(
    trial: Trial, count: int, limits: Limits | None = None, *, seed: int,
    advance: Callable[[str, int, int], None] | None = None,
) -> RandomSearch:  # fmt: skip
    """Tries random directions.

    Args:
        trial: model, sampler, judge and validation prompts.
        count: directions that are tried.
        limits: how many generate, and how far harmless answers may move; None = the defaults.
        seed: of the draw.
        advance: called with the name of a stage, how much of it is done, and of how much.

    Raises:
        ConfigError: every one of them moves harmless answers by more than the limit.
    """
    limits, tell = limits or Limits(), advance or (lambda *_: None)
    first = FirstPass(
        trial.hook, trial.loaded, canvas_of(trial.hook, trial.sampler.canvas()), trial.system_prompt
    )  # fmt: skip
    harmless, harmful = trial.batches(trial.harmless), trial.batches(trial.harmful)
    refusing = RefusingTokens(first, harmless, harmful)
    found = random_directions(trial.hook, count, seed=seed)
    left: list[tuple[float, int]] = []
    for number, direction in enumerate(found):
        moved: list[float] = []
        mass: list[float] = []
        for batch in harmless:
            base = first.logits(batch)
            with ablated(trial.hook, direction):
                moved += kl(base, first.logits(batch))
        with ablated(trial.hook, direction):
            for batch in harmful:
                mass += refusing.mass(first.logits(batch))
        if sum(moved) / len(moved) <= limits.kl:
            left.append((sum(mass) / len(mass), number))
        tell("random directions", number + 1, count)
    if not left:
        raise ConfigError(
            f"random directions: each of {count} moves harmless answers by more than {limits.kl:g} nats. Raise "
            "limits.kl, or try more."
        )
    best: tuple[int, float, int] | None = None
    for mass_left, number in sorted(left)[: limits.finalists]:
        with ablated(trial.hook, found[number]):
            refused = trial.outcomes(trial.harmful).count("refusal")
        best = min(filter(None, (best, (refused, mass_left, number))))
    assert best is not None
    return RandomSearch(found, best[2], Rate(best[0], len(trial.harmful)))
