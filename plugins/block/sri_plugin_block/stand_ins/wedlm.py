"""A stand-in for WeDLM: causal attention, and a method that moves masks behind what is known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from sri_plugin_block.stand_ins.caches import Caches
from sri_plugin_block.stand_ins.model import BlockConfig, BlockTrunk
from sri_plugin_block.stand_ins.tokens import MASK, PAD
from sri_sdk.records import Encoded
from sri_sdk.testing import HookCase


class WedlmTrunk(BlockTrunk):
    """Sees what stands before each row in the pass, whatever its position."""

    def forward(  # type: ignore[override]
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None, use_cache: bool = False,
    ) -> SimpleNamespace:  # fmt: skip
        """[B, L] ids -> `.last_hidden_state` [B, L, D]; `attention_mask` [B, L], 0 = padding."""
        length = input_ids.shape[1]
        columns = torch.arange(length, device=input_ids.device)
        real = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        own = columns[:, None] == columns
        seen = ((columns <= columns[:, None]) & real[:, None].bool()) | own
        places = columns[None] if position_ids is None else position_ids
        return SimpleNamespace(last_hidden_state=super().forward(input_ids, places, seen[:, None], Caches()))


class WeDLMForCausalLM(nn.Module):
    """A trunk and a head; row i predicts the token at its own position."""

    def __init__(self, config: BlockConfig) -> None:
        super().__init__()
        self.config = config
        self.generation_config = SimpleNamespace(eos_token_id=config.eos_token_id)
        self.model = WedlmTrunk(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def get_output_embeddings(self) -> nn.Module:
        """The head."""
        return self.lm_head

    def forward(self, input_ids: torch.Tensor, **options: Any) -> SimpleNamespace:
        """[B, L] ids -> `.logits` [B, L, V]."""
        return SimpleNamespace(logits=self._logits(self.model(input_ids=input_ids, **options).last_hidden_state))

    def _logits(self, states: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.lm_head(states)
        # Neither a hole nor padding is ever a prediction.
        logits[..., [PAD, MASK]] = -torch.inf
        return logits

    @torch.no_grad()
    def generate_wedlm(
        self, input_ids: torch.Tensor, max_new_tokens: int, block_size: int, mask_token_id: int | None = None,
        confidence_threshold: float = 0.0, temperature: float = 1.0, return_stats: bool = True,
    ) -> Any:  # fmt: skip
        """[B, L] prompts, one after the other -> {"sequences": [B, L + P], "stats": ...}, or the tensor alone."""
        mask = self.config.mask_token_id if mask_token_id is None else mask_token_id
        done, steps = [], []
        for prompt in input_ids:
            text, count = prompt[prompt != PAD], 0
            for begin in range(0, max_new_tokens, block_size):
                size = min(block_size, max_new_tokens - begin)
                text = torch.cat([text, text.new_full((size,), mask)])
                while (holes := text == mask).any():
                    text = self._fill(text, holes, confidence_threshold, temperature)
                    count += 1
            done.append(text)
            steps.append(count)
        tokens = nn.utils.rnn.pad_sequence(done, batch_first=True, padding_value=PAD)
        return {"sequences": tokens, "stats": {"steps": steps}} if return_stats else tokens

    def _fill(self, text: torch.Tensor, holes: torch.Tensor, threshold: float, temperature: float) -> torch.Tensor:
        """[L] ids with what one pass fills into [L] bool holes: all that is sure enough, or the surest one."""
        order = holes.int().argsort(stable=True)
        made = self.model(
            input_ids=text[order][None], attention_mask=torch.ones(1, len(text), dtype=torch.long),
            position_ids=order[None], use_cache=False,
        )  # fmt: skip
        open_ = order[-int(holes.sum()) :]
        chances = (self._logits(made.last_hidden_state)[0, -len(open_) :] / temperature).softmax(-1)
        sure, guess = chances.max(-1)
        fill = sure == sure.max()
        if threshold > 0 and (sure >= threshold).any():
            fill = sure >= threshold
        text = text.clone()
        text[open_[fill]] = guess[fill]
        return text


def build(seed: int = 0, kind: type[WeDLMForCausalLM] = WeDLMForCausalLM, **config: Any) -> Any:
    """A model with random weights; the same seed gives the same weights, and no other randomness is touched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = kind(BlockConfig(**{"model_type": "wedlm", **config})).eval()
        # As sure of itself as a trained model: thresholds must be passed now and then.
        model.lm_head.weight.data.mul_(6)
        return model


def prompt(length: int = 9) -> Encoded:
    """One prompt."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        ids = torch.randint(5, 60, (1, length))
    return Encoded(ids, torch.ones_like(ids))


def case(family: type[Any], *, seed: int = 1, **options: Any) -> HookCase:
    """14 tokens in blocks of four, the last one shorter; most passes show rows out of order."""
    asked = {"max_new_tokens": 14, "block_size": 4, "confidence_threshold": 0.6, **options}
    model, encoded = build(seed), prompt()
    steps = model.generate_wedlm(encoded.input_ids, **asked)["stats"]["steps"]

    def generate(given: Encoded) -> torch.Tensor:
        tokens: torch.Tensor = model.generate_wedlm(given.input_ids, **asked)["sequences"]
        return tokens

    return HookCase(family(model), encoded, generate, steps=steps, batched=False)
