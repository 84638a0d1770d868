"""Margin remasking: predictions without a close rival stay (Dream's `topk_margin`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sri_plugin_samplers.masked import ConfidenceSampler
from sri_plugin_samplers.rows import RowRandom

if TYPE_CHECKING:
    import torch

SRI_PLUGIN_API = 1


class MarginSampler(ConfidenceSampler):
    """Masked diffusion that keeps the predictions furthest ahead of the second likeliest token."""

    order = "margin"

    def confidence(self, logits: torch.Tensor, guess: torch.Tensor, random: RowRandom) -> torch.Tensor:
        """[B, R] float32: probability of the likeliest token, less that of the second."""
        first, second = logits.softmax(-1).topk(2, dim=-1).values.unbind(-1)
        return first - second
