"""A masked model of 16 numbers per token with random weights: nothing to download, built in milliseconds.

It stands for the model you bring. Nothing in this file knows about sri_sdk, and none of it is needed in a real plugin:
there, this is somebody else's package.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

PAD, MASK, UNKNOWN = 0, 1, 2
LETTERS = "abcdefghijklmnopqrstuvwxyz .?"
CANVAS = 8
"""Response tokens, and steps: one token is fixed per step."""


@dataclass(frozen=True)
class ToyConfig:
    """What a checkpoint's config would say."""

    hidden_size: int = 16
    vocab_size: int = 3 + len(LETTERS)
    blocks: int = 2
    mask_token_id: int = MASK

    def to_dict(self) -> dict[str, Any]:
        """As JSON types, the way transformers' configs do it."""
        return dict(vars(self))


class ToyTokenizer:
    """One token per character; what it does not know is UNKNOWN."""

    def encode(self, text: str) -> list[int]:
        """Text as token ids."""
        return [3 + LETTERS.find(sign) if sign in LETTERS else UNKNOWN for sign in text.lower()]

    def decode(self, tokens: list[int]) -> str:
        """Token ids as text; special tokens are left out."""
        return "".join(LETTERS[token - 3] for token in tokens if token > UNKNOWN)


class ToyBlock(nn.Module):
    """One residual block: looks at the mean of all real positions, then thinks."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.look = nn.Linear(width, width)
        self.think = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, states: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """[B, L, D] states and [B, L, 1] 1 = token, 0 = padding; returns [B, L, D]."""
        mean = (states * real).sum(1, keepdim=True) / real.sum(1, keepdim=True)
        states = states + self.look(mean)
        thought: torch.Tensor = self.think(states)
        return states + thought


class ToyModel(nn.Module):
    """Predicts the token *at* each position; sees both ways."""

    def __init__(self, config: ToyConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)
        self.places = nn.Embedding(CANVAS, config.hidden_size)
        self.blocks = nn.ModuleList(ToyBlock(config.hidden_size) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(config.hidden_size)
        self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **_: Any) -> SimpleNamespace:
        """[B, L] ids, the last CANVAS of them the response; returns `.logits` [B, L, V]. Keeps no cache."""
        real = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        states = self.embed(input_ids)
        response = states[:, -CANVAS:] + self.places.weight
        states = torch.cat([states[:, :-CANVAS], response], dim=1)
        for block in self.blocks:
            states = block(states, real[..., None].to(states.dtype))
        logits = self.head(self.norm(states))
        # Neither a hole nor padding is ever a prediction.
        logits[..., [PAD, MASK]] = -torch.inf
        return SimpleNamespace(logits=logits)

    @torch.no_grad()
    def generate(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """The family's own loop, which `sri_sdk.watch` taps: [B, L] prompts, padded on the left -> [B, L + CANVAS]."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        canvas = input_ids.new_full((len(input_ids), CANVAS), MASK)
        ids, mask = torch.cat([input_ids, canvas], dim=1), torch.cat([mask, torch.ones_like(canvas)], dim=1)
        for position in range(-CANVAS, 0):
            ids[:, position] = self(ids, mask).logits[:, position].argmax(-1)
        return ids


def build(seed: int) -> ToyModel:
    """The model with random weights; the same seed gives the same weights, and no other randomness is touched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ToyModel(ToyConfig()).eval()
