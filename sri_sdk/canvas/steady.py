"""Steady passes: those that mean what the pass before meant, so that nobody has to be asked about each.

A hook that offers them (`Hook.steady`) is asked about a whole run of passes at once, and mostly at the end. Until then
the tap keeps the tokens and looks at none of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sri_sdk.records import ForwardCall

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class SteadySteps:
    """What `StepPlan` says of S passes that differ in their tokens alone."""

    committed: torch.Tensor | None = None
    """[S, R, P] bool tensor: canvas positions that were fixed before each pass; None = the hook cannot tell."""
    active: torch.Tensor | None = None
    """[S, R] bool tensor: requests still generating in each pass; None = all in all of them."""


class FollowingPasses(ABC):
    """The passes that follow a planned one, over ids of the same shape.

    A hook gives one of two kinds: `SteadyPasses`, which are all steps and differ in their tokens alone, or
    `LaterPasses`, of which it says later what they were.
    """

    def goes_on(self, call: ForwardCall) -> bool:
        """Whether a pass over ids of the same shape is one more of them; else `Hook.plan` is asked about it.

        Called as the pass begins. It never waits for the device, and looks at no token.
        """
        return True


class SteadyPasses(FollowingPasses):
    """The passes that follow a planned one, as long as all of them are steps and only their tokens differ.

    Their rows, shift, canvas and, in masked families, positions are those of the plan before.
    """

    @abstractmethod
    def read(self, input_ids: torch.Tensor) -> SteadySteps:
        """Takes note of passes, in the order in which they ran, as `Hook.plan` would have one by one.

        Each pass is given once. Afterwards the hook's notes on the generation are what they would be, so that `plan`
        can go on from there.

        Args:
            input_ids: [S, B, L] int64 tensor, tokens of S passes.
        """

    def verify(self, input_ids: torch.Tensor) -> None:
        """Looks for signs that passes belong to another generation, and notes them where `plan` would have.

        Each pass is given once, after `read` and as late as possible: what decides meanwhile does not wait for it. The
        default finds none.

        Args:
            input_ids: [S, B, L] int64 tensor, tokens of S passes.
        """


class OneTokenPasses(SteadyPasses):
    """Autoregressive families: each pass holds the token that the one before has decoded.

    Their notes are those of `memory`: `next`, the position of the token to come, `active`, [B] bool tensor, rows still
    generating, and `ends`, [E] int64 tensor, ids that end a row.
    """

    def __init__(self, memory: MutableMapping[str, Any]) -> None:
        """Takes the notes of one generation, `RunView.memory`."""
        self._memory = memory
        self._ends: tuple[torch.Tensor, frozenset[int]] | None = None

    def read(self, input_ids: torch.Tensor) -> SteadySteps:
        """[S, B, 1] int64 tensor: a row is active until the pass that holds its end token."""
        import torch

        memory = self._memory
        memory["next"] += len(input_ids)
        if len(input_ids) == 1 and input_ids.device.type == "cpu":
            # Asked between two passes, where caches are cold and mostly no row ends.
            if self._ends is None or self._ends[0] is not memory["ends"]:
                self._ends = memory["ends"], frozenset(memory["ends"].tolist())
            if self._ends[1].isdisjoint(input_ids.flatten().tolist()):
                return SteadySteps(active=memory["active"][None])
        ended = torch.isin(input_ids[:, :, 0], memory["ends"])
        if len(ended) == 1:
            memory["active"] = memory["active"] & ~ended[0]
            return SteadySteps(active=memory["active"][None])
        active = memory["active"] & ~(ended.cumsum(0) > 0)
        memory["active"] = active[-1]
        return SteadySteps(active=active)
