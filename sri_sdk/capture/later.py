"""Passes that are looked at together: how many may wait."""

from __future__ import annotations

import torch

MOST_WAITING = 64
"""Passes, at most; as many steps are pooled on the device before they move, with the final rule."""
MOST_TOKENS = 2**20
"""Tokens of all of them, at most: 8 MiB."""


def enough(passes: int, input_ids: torch.Tensor) -> bool:
    """Whether so many passes over [B, L] int64 ids are to be looked at before another one waits."""
    return passes > 0 and (passes >= MOST_WAITING or (passes + 1) * input_ids.numel() > MOST_TOKENS)
