"""Pooling: the rows of one forward pass become one vector per request, on the device, in float32.

Which rows count differs between paper and published code, so it is a named, recorded choice:

| profile | scheme | phi_t is the mean of | source |
|---|---|---|---|
| `generated` | masked | states of positions committed after the update of step t | arXiv 2602.02600, 3.1 |
| `response` | masked | states of every canvas position, masked ones too | the authors' LLaDA wrapper |
| `response` | canvas | states of every canvas position of the block in work | as above |
| `predicting` | autoregressive | states that predicted each token so far, the last prompt token first | authors' code |
| `generated` | autoregressive | states of the generated tokens so far; one fewer than tokens | arXiv 2602.02600, 3.1 |

For masked models the state that *predicts* a position stands for it, whatever the family's shift.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from sri_sdk.records import StepPlan


@dataclass(frozen=True, slots=True)
class Pooled:
    """What one step gave."""

    phi: torch.Tensor
    """[R, C, D] float32."""
    active: torch.Tensor | None
    """[R] bool: requests this step belongs to; None = all."""
    committed: torch.Tensor | None
    """[R] int64: committed positions before the step; None = not known."""


class Pooler(ABC):
    """Pools one generation. Every pass goes through `add`, then `close_step` once its commits are known.

    Attributes:
        room: takes the states of steady passes, whose steps are made later; None = passes come one by one.
        by_plan_alone: whether a pass's plan alone says which of its states count.
    """

    room: SteadyPool | None = None
    by_plan_alone = False

    @abstractmethod
    def add(self, states: list[torch.Tensor], plan: StepPlan) -> None:
        """Takes the states of a step: C tensors [B, L, D]."""

    @abstractmethod
    def close_step(self, committed: torch.Tensor | None) -> Pooled | None:
        """Closes the step that `add` opened; `committed` [R, P] bool is the canvas after its update.

        Returns:
            The step's vector, or None if no step is open or the profile has none for it.
        """

    def tail(self, count: int) -> Iterator[Pooled]:
        """States the profile defines after the end of a generation, up to `count` of them."""
        yield from ()

    def steady(self, states: list[torch.Tensor], plan: StepPlan, capacity: int) -> SteadyPool | None:
        """Room for up to `capacity` passes like the last one, whose C tensors `states` are [B, L, D].

        None = this profile must know of each pass what it committed, or shapes do not suit.
        """
        return None

    @abstractmethod
    def reopen(self, pooled: Pooled) -> None:
        """Takes back a step that was pooled elsewhere: `close_step` gives it."""

    def states_for(self, budget: int) -> int:
        """Number of vectors a generation of `budget` steps gives."""
        return budget


class SteadyPool(ABC):
    """Pools passes that differ in their states alone: one reduction each, into memory that is there already.

    A pass costs no look at its tokens; `take` makes steps of several passes at once. Memory that was given out is not
    written again.
    """

    def __init__(self, states: list[torch.Tensor], requests: int, capacity: int) -> None:
        """Takes the C tensors [B, L, D] of a pass, R and the most passes."""
        self._shape = (capacity, requests, states[-1].shape[-1])
        self._homes = [each.device for each in states]
        self._next = 0
        self._rows: list[torch.Tensor] = []
        self._all: torch.Tensor | None = None
        self._each: list[tuple[torch.Tensor, ...]] = []
        self.renew()

    def renew(self) -> None:
        """Makes room for as many passes again, numbered from 0."""
        self._next = 0
        capacity, requests, width = self._shape
        # Written from inside and outside of inference mode.
        with torch.inference_mode(False):
            if len(set(self._homes)) == 1:
                # [S, R, C, D], so that nothing has to be put together.
                shape = (capacity, requests, len(self._homes), width)
                self._all = torch.empty(shape, dtype=torch.float32, device=self._homes[0])
                self._rows = list(self._all.unbind(2))
            else:
                self._rows = [torch.empty(self._shape, dtype=torch.float32, device=home) for home in self._homes]
            self._each = [self._places(rows) for rows in self._rows]

    def _places(self, rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Where each pass writes: S parts of `rows` [S, R, D]."""
        return rows.unbind(0)

    @abstractmethod
    def add(self, states: list[torch.Tensor]) -> None:
        """Takes the C tensors [B, L, D] of the next pass."""

    def add_one(self, states: torch.Tensor) -> None:
        """As `add`, of the only tensor [B, L, D] that a pass has. Most passes cost this, so it may take a short cut."""
        self.add([states])

    @abstractmethod
    def take(self, start: int, stop: int, active: torch.Tensor | None, committed: torch.Tensor | None) -> list[Pooled]:
        """The steps of passes start..stop, each taken once and in order.

        Args:
            start: first of them.
            stop: behind the last.
            active: [S, R] bool; None = all.
            committed: [S, R, P] bool; None = not known.
        """

    def take_one(self, index: int, active: torch.Tensor | None, committed: torch.Tensor | None) -> Pooled:
        """As `take`, of one pass: `active` [1, R] bool, `committed` [1, R, P] bool."""
        return self.take(index, index + 1, active, committed)[0]

    def _stack(self, start: int, stop: int) -> torch.Tensor:
        """[S, R, C, D] of passes start..stop."""
        if self._all is not None:
            return self._all[start:stop]
        home = self._homes[-1]
        return torch.stack([rows[start:stop].to(home) for rows in self._rows], dim=2)


def steps_of(phi: tuple[torch.Tensor, ...], active: torch.Tensor | None, counts: torch.Tensor | None) -> list[Pooled]:
    """S steps of `phi`, S of [R, C, D], `active` and `counts` [S, R]."""
    none = (None,) * len(phi)
    each_active = none if active is None else active.unbind(0)
    each_count = none if counts is None else counts.unbind(0)
    return [Pooled(*each) for each in zip(phi, each_active, each_count, strict=True)]


def with_active(steps: Sequence[Pooled], active: Sequence[torch.Tensor | None]) -> list[Pooled]:
    """Steps of which somebody else says as well which requests they belong to: for each [R] bool, None = all."""
    known = [each for each in (*active, *(step.active for step in steps)) if each is not None]
    if not known:
        return list(steps)
    every = torch.ones_like(known[0])
    theirs, ours = (
        torch.stack([every if each is None else each.to(every.device) for each in said])
        for said in ([step.active for step in steps], active)
    )
    return [replace(step, active=each) for step, each in zip(steps, (theirs & ours).unbind(0), strict=True)]
