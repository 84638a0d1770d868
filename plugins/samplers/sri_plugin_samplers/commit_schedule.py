"""How many positions a row commits at a step: the schedules of published loops, kept within the budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from sri_plugin_samplers.rows import RowRandom

if TYPE_CHECKING:
    import torch

Schedule = Literal["even", "linear-time", "binomial"]
"""Even: the same number per step, what does not divide at the first steps (LLaDA, LLaDA2, SDAR). Linear-time: of the
open positions the share that leaves the mask between two of evenly spaced times, rounded down, the rest at the last
step (Dream's `maskgit_plus`, `topk_margin` and `entropy`). Binomial: each open position with that share as its chance
(Dream's `origin`)."""


class CommitSchedule:
    """The schedule of one block."""

    def __init__(self, schedule: Schedule, steps: int, size: int, eps: float, device: torch.device) -> None:
        """Takes the steps one block has, and its size in tokens; `eps` is the time at which the last step ends."""
        import torch

        self._schedule, self._steps, self._size = schedule, steps, size
        # In float32, as published: the numbers are rounded down, and another precision rounds others.
        times = torch.linspace(1, eps, steps + 1, device=device)
        self._share = 1 - times[1:] / times[:-1]

    def counts(
        self, open_: torch.Tensor, spent: torch.Tensor, left: torch.Tensor, random: RowRandom, given: torch.Tensor
    ) -> torch.Tensor:
        """How many positions each row is to commit now.

        Args:
            open_: [B, W] bool, positions that may be committed.
            spent: [B] int64, steps the row's block has had.
            left: [B] int64, steps it may still have, this one included; at least 1.
            random: of the rows.
            given: [B] int64, positions of the row's block that were filled before its first step.

        Returns:
            [B] int64, at most the number of open positions, and at the last step all of them.
        """
        import torch

        total, step = open_.sum(1), spent.clamp(max=self._steps - 1)
        if self._schedule == "even":
            holes = self._size - given
            planned = holes // self._steps + (step < holes % self._steps)
            # More than planned only where positions were opened again, or the budget ends before the plan does.
            wanted = torch.maximum(planned, (total + left - 1) // left)
        elif self._schedule == "linear-time":
            wanted = (total * self._share[step]).long()
        else:
            drawn = random.uniform(open_.shape[1:], open_.device) < self._share[step][:, None]
            wanted = (drawn & open_).sum(1)
        return torch.where(left <= 1, total, wanted).minimum(total)


def surest(score: torch.Tensor, open_: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """[B, W] bool: each row's `counts` open positions of highest score.

    Ties (many confidences are exactly 1) fall as `topk` lets them fall for just this number of one row, as in published
    loops; asking for more than that would make them depend on the row's company.
    """
    chosen = open_.new_zeros(open_.shape)
    score = score.masked_fill(~open_, float("-inf"))
    for count in {*counts.tolist()} - {0}:
        rows = counts == count
        best = score[rows].topk(count, dim=1).indices
        chosen[rows] = chosen[rows].scatter(1, best, True)
    return chosen & open_
