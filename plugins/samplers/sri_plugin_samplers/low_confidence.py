"""Low-confidence remasking: the likeliest predictions stay (LLaDA, arXiv 2502.09992, algorithm 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sri_plugin_samplers.masked import ConfidenceSampler
from sri_plugin_samplers.rows import RowRandom

if TYPE_CHECKING:
    import torch

SRI_PLUGIN_API = 1


class LowConfidenceSampler(ConfidenceSampler):
    """Masked diffusion that keeps the predictions with the highest probability."""

    order = "low-confidence"

    def confidence(self, logits: torch.Tensor, guess: torch.Tensor, random: RowRandom) -> torch.Tensor:
        """[B, R] float32: probability of the predicted token."""
        return logits.softmax(-1).gather(-1, guess[..., None])[..., 0]
