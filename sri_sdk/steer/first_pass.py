"""What a model would say first: distributions over tokens in one pass, and what steering does to them.

Of an autoregressive model it is the next token behind the prompt; of a masked one, every position of a canvas of masks.
Logits are compared row by row in float32, so that no more than two passes' logits are held.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sri_sdk.capture.encoded import encode
from sri_sdk.errors import ConfigError
from sri_sdk.hook import Hook
from sri_sdk.records import LoadedModel, Prompt

MOST_READ = 64
"""Positions of a canvas that are compared at most, from its beginning; the model sees all of it."""
_NEVER = -1e30
"""Log-probability of a token that no sampler writes."""


@dataclass(frozen=True, slots=True)
class FirstPass:
    """Runs prompts as a generation begins with them."""

    hook: Hook
    loaded: LoadedModel
    canvas: int
    """Response tokens that a masked model is shown; not used for an autoregressive one."""
    system_prompt: str | None = None

    def logits(self, prompts: Sequence[Prompt]) -> torch.Tensor:
        """[B, R, V], in the model's dtype: R = 1, or positions of the canvas.

        Raises:
            ConfigError: the family generates in another way.
        """
        encoded = encode(self.hook, self.loaded.tokenizer, prompts, self.system_prompt)
        ids, seen, shift = encoded.input_ids, encoded.attention_mask, self.hook.shift()
        with torch.inference_mode():
            if self.hook.scheme == "autoregressive":
                return self.hook.forward(ids, seen).logits[:, -1:].clone()
            mask = self.hook.mask_id()
            if self.hook.scheme != "masked" or mask is None:
                raise ConfigError(
                    f"{type(self.hook).__name__}: a first pass is known of autoregressive and of masked models, and "
                    f"this one is of scheme {self.hook.scheme}. Choose block and place yourself."
                )
            ids = torch.cat([ids, ids.new_full((len(ids), self.canvas), mask)], dim=1)
            seen = torch.cat([seen, seen.new_ones(len(ids), self.canvas)], dim=1)
            start = encoded.input_ids.shape[1] - shift
            logits = self.hook.forward(ids, seen).logits[:, start : start + min(self.canvas, MOST_READ)].clone()
            logits[..., mask] = _NEVER
            return logits


def canvas_of(hook: Hook, canvas: int) -> int:
    """Response tokens of a first pass: the sampler's canvas, or the first block of a family that works in blocks."""
    block = hook.block_length()
    return canvas if block is None else min(canvas, block)


def kl(base: torch.Tensor, steered: torch.Tensor) -> list[float]:
    """How far steering moves each prompt's distributions: KL(base || steered) in nats, the mean over positions.

    Args:
        base: [B, R, V] logits without steering.
        steered: [B, R, V] logits with it.
    """
    found = []
    for one, other in zip(base, steered, strict=True):
        log_p, log_q = one.float().log_softmax(-1), other.float().log_softmax(-1)
        found.append(float((log_p.exp() * (log_p - log_q)).sum(-1).mean()))
    return found


class RefusingTokens:
    """Tokens that responses to harmful prompts begin with more often than those to harmless ones, by position.

    Attributes:
        tokens: [R, V] bool tensor.
        gap: how far the two kinds lie apart in the share of these tokens, 0 to 1: their total variation distance.
    """

    def __init__(self, first: FirstPass, harmless: Sequence[Sequence[Prompt]], harmful: Sequence[Sequence[Prompt]]):
        """Takes batches of prompts of both kinds, as the model answers them without steering."""
        means = [self._mean(first, batches) for batches in (harmless, harmful)]
        self.tokens = means[1] > means[0]
        self.gap = float(((means[1] - means[0]) * self.tokens).sum(-1).mean())

    @staticmethod
    def _mean(first: FirstPass, batches: Sequence[Sequence[Prompt]]) -> torch.Tensor:
        """[R, V] float32: the mean distribution over prompts."""
        total, count = None, 0
        for batch in batches:
            for row in first.logits(batch):
                share = row.float().softmax(-1)
                total, count = share if total is None else total + share, count + 1
        assert total is not None, "there are prompts of each kind"
        mean: torch.Tensor = total / count
        return mean

    def mass(self, logits: torch.Tensor) -> list[float]:
        """The share of these tokens in each prompt's [B, R, V] logits, 0 to 1, the mean over positions."""
        return [float((row.float().softmax(-1) * self.tokens.to(row.device)).sum(-1).mean()) for row in logits]
