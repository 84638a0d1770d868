"""Left to right: the order of an autoregressive model, on the weights of a masked one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sri_plugin_samplers.masked import MaskedSampler
from sri_plugin_samplers.rows import RowRandom

if TYPE_CHECKING:
    import torch

SRI_PLUGIN_API = 1


class LeftToRightSampler(MaskedSampler):
    """Masked diffusion that always commits the leftmost open positions."""

    order = "left-to-right"

    def confidence(self, logits: torch.Tensor, guess: torch.Tensor, random: RowRandom) -> torch.Tensor:
        """[B, R] float32: minus the column of each position, so the further left, the higher."""
        import torch

        places = torch.arange(guess.shape[1], device=guess.device, dtype=logits.dtype)
        return -places.expand(guess.shape)
