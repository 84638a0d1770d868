"""Random remasking: chance decides which predictions stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sri_plugin_samplers.masked import MaskedSampler
from sri_plugin_samplers.rows import RowRandom

if TYPE_CHECKING:
    import torch

SRI_PLUGIN_API = 1


class RandomSampler(MaskedSampler):
    """Masked diffusion that keeps predictions in random order; with schedule `binomial` the law of Dream's `origin`."""

    order = "random"

    def confidence(self, logits: torch.Tensor, guess: torch.Tensor, random: RowRandom) -> torch.Tensor:
        """[B, R] float32, uniform in (0, 1)."""
        return random.uniform(guess.shape[1:], guess.device)
