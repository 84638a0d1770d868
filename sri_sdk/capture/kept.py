"""States of passes whose rows are told later: kept as they are, and pooled together once it is known which count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from sri_sdk.capture.pool_rows import on_canvas
from sri_sdk.records import StepPlan

MOST_KEPT = 64 * 2**20
"""Bytes of states kept; fewer passes in a row where a block is large."""


def capacity_of(states: list[torch.Tensor], most: int) -> int:
    """How many passes like one with C tensors [B, L, D] can be kept, `most` at most."""
    return min(most, MOST_KEPT // max(sum(each.numel() * each.element_size() for each in states), 1))


class KeptStates:
    """States of up to so many passes of one shape; one copy per tapped layer and pass.

    Attributes:
        dtypes: of the C tensors; those of others would be rounded to them.
    """

    def __init__(self, states: list[torch.Tensor], capacity: int) -> None:
        """Takes the C tensors [B, L, D] of a pass, and the most passes."""
        self.dtypes = [each.dtype for each in states]
        # Written from inside and outside of inference mode.
        with torch.inference_mode(False):
            self._rooms = [each.new_empty((capacity, *each.shape)) for each in states]
            self._each = [room.unbind(0) for room in self._rooms]
        self._next = 0

    def renew(self) -> None:
        """Makes room for as many passes again, numbered from 0."""
        self._next = 0

    def add(self, states: list[torch.Tensor]) -> None:
        """Copies the C tensors [B, L, D] of the next pass."""
        index, self._next = self._next, self._next + 1
        for room, each in zip(self._each, states, strict=True):
            room[index].copy_(each)

    def pool(self, passes: Sequence[int], plans: Sequence[StepPlan]) -> torch.Tensor:
        """[N, R, C, D] float32: the mean of each of N passes over the rows that its plan names.

        All plans have the same rows and shift.
        """
        first, home = plans[0], self._rooms[-1].device
        positions = torch.stack([plan.positions for plan in plans])
        if first.rows is not None:
            positions = positions[:, first.rows]
        _, wanted = on_canvas(replace(first, positions=positions, rows=None))
        sums = [self._sum(room, passes, first, ~wanted[..., None]).to(home) for room in self._rooms]
        return torch.stack(sums, dim=2) / wanted.sum(2).clamp(min=1).to(home)[:, :, None, None]

    def _sum(self, room: torch.Tensor, passes: Sequence[int], plan: StepPlan, out: torch.Tensor) -> torch.Tensor:
        """[S, B, L, D] states -> [N, R, D] float32. Rows in `out` are cleared, since padding may hold NaN."""
        if passes[-1] - passes[0] == len(passes) - 1:
            states = room[passes[0] : passes[-1] + 1]
        else:
            states = room[torch.tensor(passes, device=room.device)]
        if plan.rows is not None:
            states = states[:, plan.rows.to(states.device)]
        return states.masked_fill(out.to(states.device), 0).sum(2, dtype=torch.float32)
