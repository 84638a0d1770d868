"""Which rows of a pass are requests' and count, and their sums and means."""

from __future__ import annotations

import torch

from sri_sdk.records import PADDING, StepPlan


def on_canvas(plan: StepPlan) -> tuple[torch.Tensor, torch.Tensor]:
    """[R, L] int64 position that each row predicts, and [R, L] bool whether it lies on the canvas.

    [S, R, L] each for a plan that has such positions, of S passes, and no `rows`.
    """
    positions = of_requests(plan.positions, plan)
    target = torch.where(positions == PADDING, positions, positions + plan.shift)
    return target, target >= 0 if plan.canvas is None else (target >= 0) & (target < plan.canvas)


def of_requests(rows: torch.Tensor, plan: StepPlan) -> torch.Tensor:
    """[B, ...] -> [R, ...]: drops unconditional and foreign rows."""
    return rows if plan.rows is None else rows[plan.rows.to(rows.device)]


def span_sum(states: torch.Tensor, plan: StepPlan) -> torch.Tensor:
    """[B, L, D] -> [R, D] float32: the sum over the rows of the plan's span."""
    assert plan.span is not None
    return of_requests(states[:, plan.span[0] : plan.span[1]], plan).sum(1, dtype=torch.float32)


def sum_rows(states: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """[R, L, D] states and [R, L] bool -> [R, D] float32. Unwanted rows are cleared, since padding may hold NaN."""
    # A model spread over devices has its norm elsewhere than its embedding, where the plan was made.
    return states.masked_fill(~wanted.to(states.device)[..., None], 0).sum(1, dtype=torch.float32)


def mean_rows(states: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """[R, L, D] states and [R, L] bool -> [R, D] float32; zero where nothing is wanted."""
    return sum_rows(states, wanted) / wanted.sum(1).clamp(min=1).to(states.device)[:, None]
