"""Randomness that belongs to a row: the same prompt draws the same numbers alone, in company, and after a restart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import sri_sdk

if TYPE_CHECKING:
    import torch


class RowRandom:
    """One CPU generator per row, seeded by (run seed, prompt id)."""

    def __init__(self, seed: int, prompt_ids: Sequence[str]) -> None:
        import torch

        self._torch = torch
        seeds = [sri_sdk.Sampler.row_seed(seed, prompt_id) for prompt_id in prompt_ids]
        self._generators = [torch.Generator().manual_seed(each) for each in seeds]

    def uniform(self, shape: Sequence[int], device: torch.device) -> torch.Tensor:
        """[B, *shape] float32 in (0, 1), row by row from its own generator."""
        rows = [self._torch.rand(tuple(shape), generator=g) for g in self._generators]
        return self._torch.stack(rows).clamp(1e-20, 1 - 1e-7).to(device)

    def gumbel(self, shape: Sequence[int], device: torch.device) -> torch.Tensor:
        """[B, *shape] standard Gumbel noise: argmax(logits / t + noise) samples from softmax(logits / t)."""
        return -(-self.uniform(shape, device).log()).log()
