"""Autoregressive models: the running mean over tokens."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from sri_sdk.capture.pool import Pooled, Pooler, SteadyPool, steps_of
from sri_sdk.capture.pool_rows import of_requests, span_sum, sum_rows
from sri_sdk.records import PADDING, StepPlan


class RunningPooler(Pooler):
    """Autoregressive models: the running mean over tokens; a row that has ended keeps its last state."""

    def __init__(self, *, ahead: bool) -> None:
        self._ahead = ahead
        self._passes = 0
        self._sum: torch.Tensor | None = None
        self._last: torch.Tensor | None = None
        self._count: torch.Tensor | None = None
        self._open: Pooled | None = None

    def add(self, states: list[torch.Tensor], plan: StepPlan) -> None:
        """Adds the states of this pass, C tensors [B, L, D], to the mean."""
        if self.room is not None:
            self.room.add(states)
            return
        added, rows = self._added(states, plan)
        counts = rows > 0 if plan.active is None else (rows > 0) & plan.active.to(rows.device)
        if self._sum is None or self._last is None or self._count is None:
            self._sum, self._last = torch.zeros_like(added), torch.zeros_like(added)
            self._count = torch.zeros_like(rows)[:, None, None]
        keep, many = counts[:, None, None], rows[:, None, None]
        self._sum = torch.where(keep, self._sum + added, self._sum)
        self._last = torch.where(keep, added / many.clamp(min=1), self._last)
        self._count = torch.where(keep, self._count + many, self._count)
        # The prompt's pass predicts the first token but holds no state of a generated one.
        self._open = self._mean_now(counts) if self._ahead or self._passes else None
        self._passes += 1

    def _added(self, states: list[torch.Tensor], plan: StepPlan) -> tuple[torch.Tensor, torch.Tensor]:
        """[R, C, D] sum over the rows the profile wants of this pass, and [R] how many they are."""
        home = states[-1].device
        if plan.span is not None and self._ahead:
            added = torch.stack([span_sum(s, plan).to(home) for s in states], dim=1)
            return added, torch.full((len(added),), plan.span[1] - plan.span[0], device=home)
        positions = of_requests(plan.positions, plan)
        wanted = (positions != PADDING) & (positions + (plan.shift if self._ahead else 0) >= 0)
        added = torch.stack([sum_rows(of_requests(s, plan), wanted).to(home) for s in states], dim=1)
        return added, wanted.sum(1).to(home)

    def close_step(self, committed: torch.Tensor | None) -> Pooled | None:
        """The mean after this pass. These models commit what they predict, so `committed` [R, P] is not read."""
        opened, self._open = self._open, None
        return opened

    def reopen(self, pooled: Pooled) -> None:
        """Takes back a step that was pooled elsewhere."""
        self._open = pooled

    def steady(self, states: list[torch.Tensor], plan: StepPlan, capacity: int) -> SteadyPool | None:
        """Passes of one generated token each, C tensors [B, 1, D]; None where there are others."""
        one_each = plan.positions.shape[1] == states[-1].shape[1] == 1 and plan.rows is None
        return _SteadyTokens(self, states, capacity) if one_each and self._sum is not None else None

    def take(self, states: torch.Tensor, active: torch.Tensor | None) -> list[Pooled]:
        """Adds the states [S, R, C, D] of passes of one token each, of which `active` [S, R] bool count, None = all."""
        assert self._sum is not None and self._last is not None and self._count is not None
        self._passes += len(states)
        if active is None and len(states) == 1:
            self._last = states[0]
            self._sum, self._count = self._sum + self._last, self._count + 1
            return [Pooled(self._sum / self._count, None, None)]
        if active is None:
            sums, added = _running(self._sum, states), _one_to(len(states), states.device)
            return self._taken(sums, self._count + added, states[-1], None)
        home = states.device
        active = active.to(home)
        sums = _running(self._sum, states.masked_fill(~active[:, :, None, None], 0))
        # The last pass that each row was active in; none = what it was before.
        latest = (active * torch.arange(1, len(active) + 1, device=home)[:, None]).amax(0)
        picked = states[(latest - 1).clamp(min=0), torch.arange(len(latest), device=home)]
        last = torch.where((latest > 0)[:, None, None], picked, self._last)
        return self._taken(sums, self._count + active.cumsum(0)[:, :, None, None], last, active)

    def _taken(
        self, sums: torch.Tensor, counts: torch.Tensor, last: torch.Tensor, active: torch.Tensor | None
    ) -> list[Pooled]:
        """The means of `sums` [S, R, C, D] over `counts` [S, R, 1, 1] tokens; `last` [R, C, D], `active` [S, R]."""
        self._sum, self._count, self._last = sums[-1], counts[-1], last
        return steps_of((sums / counts.clamp(min=1)).unbind(0), active, None)

    def tail(self, count: int) -> Iterator[Pooled]:
        """`predicting` only: after the end the last state repeats and the mean keeps moving (authors' code)."""
        if not self._ahead or self._sum is None or self._last is None or self._count is None:
            return
        for _ in range(count):
            self._sum = self._sum + self._last
            self._count = self._count + 1
            yield self._mean_now(None)

    def states_for(self, budget: int) -> int:
        """`generated` has no state for the last token: it is never fed back."""
        return budget if self._ahead else max(budget - 1, 1)

    def _mean_now(self, active: torch.Tensor | None) -> Pooled:
        assert self._sum is not None and self._count is not None
        return Pooled(self._sum / self._count.clamp(min=1), active, None)


class _SteadyTokens(SteadyPool):
    """Keeps the state of each token; the running mean is made when steps are taken."""

    def __init__(self, pooler: RunningPooler, states: list[torch.Tensor], capacity: int) -> None:
        super().__init__(states, len(states[-1]), capacity)
        self._pooler = pooler

    def _places(self, rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """[R, 1, D] each, as states are: nothing has to be cut out of these."""
        return rows[:, :, None].unbind(0)

    def add(self, states: list[torch.Tensor]) -> None:
        """Copies the C tensors [B, 1, D]."""
        index, self._next = self._next, self._next + 1
        for room, each in zip(self._each, states, strict=True):
            room[index].copy_(each)

    def add_one(self, states: torch.Tensor) -> None:
        """Copies [B, 1, D]."""
        index, self._next = self._next, self._next + 1
        self._each[0][index].copy_(states)

    def take(self, start: int, stop: int, active: torch.Tensor | None, committed: torch.Tensor | None) -> list[Pooled]:
        """The running means after passes start..stop; `active` [S, R], and `committed` is not read."""
        return self._pooler.take(self._stack(start, stop), active)


def _one_to(count: int, home: torch.device) -> torch.Tensor:
    """[S, 1, 1, 1]: 1 to `count`."""
    return torch.arange(1, count + 1, device=home)[:, None, None, None]


def _running(first: torch.Tensor, added: torch.Tensor) -> torch.Tensor:
    """[R, C, D] and [S, R, C, D] float32 -> [S, R, C, D]: the sum after each, added up one after the other."""
    sums = torch.empty_like(added, memory_format=torch.contiguous_format)
    if added.device.type == "cpu" and first.device.type == "cpu" and added.dtype == first.dtype == torch.float32:
        # Rounded after each, as below, and in one call.
        numbers = sums.numpy()
        numbers[...] = added.numpy()
        numbers[0] += first.numpy()
        np.add.accumulate(numbers, axis=0, out=numbers)
        return sums
    for each, total in zip(added.unbind(0), sums.unbind(0), strict=True):
        first = torch.add(first, each, out=total)
    return sums
