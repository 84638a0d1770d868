"""Passes that are looked at together: how many may wait."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sri_sdk.records import StepPlan

MOST_WAITING = 64
"""Passes, at most; as many steps are pooled on the device before they move, with the final rule."""
AT_ONCE = 16
"""Steps that are looked at together with the rule `online`, where an alarm stops nothing and nobody asks before."""
MOST_TOKENS = 2**20
"""Tokens of all of them, at most: 8 MiB."""


def enough(passes: int, input_ids: torch.Tensor) -> bool:
    """Whether so many passes over [B, L] int64 ids are to be looked at before another one waits."""
    return passes > 0 and (passes >= MOST_WAITING or (passes + 1) * input_ids.numel() > MOST_TOKENS)


def active_in(plans: Sequence[StepPlan]) -> torch.Tensor | None:
    """[S, R] bool: requests still generating in each of S steps; None = all in all of them."""
    some = next((plan.active for plan in plans if plan.active is not None), None)
    if some is None:
        return None
    return torch.stack([torch.ones_like(some) if plan.active is None else plan.active for plan in plans])
