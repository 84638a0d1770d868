"""Entropy remasking: predictions of positions the model has no doubt about stay (Dream's `entropy`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sri_plugin_samplers.masked import ConfidenceSampler
from sri_plugin_samplers.rows import RowRandom

if TYPE_CHECKING:
    import torch

SRI_PLUGIN_API = 1


class EntropySampler(ConfidenceSampler):
    """Masked diffusion that keeps the predictions of lowest entropy."""

    order = "entropy"

    def confidence(self, logits: torch.Tensor, guess: torch.Tensor, random: RowRandom) -> torch.Tensor:
        """[B, R] float32: negative entropy in nats, at most 0; a `threshold` is in the same unit."""
        likely = logits.softmax(-1)
        # The published form, epsilon included: with another one near ties fall otherwise.
        return (likely * (likely + 1e-10).log()).sum(-1)
