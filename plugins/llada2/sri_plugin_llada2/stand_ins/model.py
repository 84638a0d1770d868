"""A stand-in for LLaDA2.0 and 2.1: a tiny model with random weights that has every trait a hook must cope with.

Written from what the published code does, not from its text. What it keeps: the names of class and modules; decoder
layers that return tuples; `generate` calls `self.forward`, past every hook on the root; one prompt at a time; a window
that grows block by block, with blocks counted from the first prompt token, so that the first one may begin inside the
prompt; an additive block-causal mask, -inf where nothing is seen; a block is left as soon as it is filled; 2.0 stops
behind a block with an end token, or at once if asked; 2.1 edits what is filled in, and goes over a full block again.
What it leaves out: experts, caches, half precision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

VOCABULARY, MASK, END, PAD = 61, 60, 59, 0
BLOCK = 8


@dataclass
class TinyConfig:
    """What a checkpoint's config says. Published ones name no mask token: `generate` has it as a default."""

    hidden_size: int = 32
    num_hidden_layers: int = 2
    vocab_size: int = VOCABULARY
    pad_token_id: int = PAD

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return dict(vars(self))


class Layer(nn.Module):
    """One decoder layer: attention with the mask it is given, then a small perceptron; returns a tuple."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.input_layernorm, self.post_attention_layernorm = nn.RMSNorm(width), nn.RMSNorm(width)
        self.query_key_value, self.dense = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))

    def forward(self, states: torch.Tensor, attention_mask: torch.Tensor | None) -> tuple[torch.Tensor]:
        """[B, L, D] states, and an additive mask that broadcasts to [B, 1, L, L]."""
        query, key, value = self.query_key_value(self.input_layernorm(states))[:, None].chunk(3, dim=-1)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, attention_mask)[:, 0]
        states = states + self.dense(mixed)
        return (states + self.mlp(self.post_attention_layernorm(states)),)


class TinyModel(nn.Module):
    """The trunk, at `.model` of the whole."""

    def __init__(self, config: TinyConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config.hidden_size) for _ in range(config.num_hidden_layers))
        self.norm = nn.RMSNorm(config.hidden_size)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None, position_ids: torch.Tensor
    ) -> torch.Tensor:
        """[B, L] ids and places -> [B, L, D] states after the last norm."""
        states: torch.Tensor = self.word_embeddings(input_ids)
        rates = 0.7 ** torch.arange(states.shape[-1] // 2, device=states.device)
        angles = position_ids[..., None] * rates
        states = states + torch.cat([angles.sin(), angles.cos()], dim=-1).to(states.dtype)
        for layer in self.layers:
            states = layer(states, attention_mask)[0]
        states = self.norm(states)
        return states


class LLaDA2MoeModelLM(nn.Module):
    """LLaDA2.0. `passes` counts forward passes, for tests."""

    def __init__(self, config: TinyConfig) -> None:
        super().__init__()
        self.config = config
        self.model = TinyModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.passes = 0

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.lm_head.weight.device

    def get_output_embeddings(self) -> nn.Module:
        """The head."""
        return self.lm_head

    def prepare_inputs_for_generation(self, input_ids: torch.Tensor, **options: Any) -> dict[str, Any]:
        """As transformers' models have it, for [B, L] ids; PEFT asks for it."""
        return {"input_ids": input_ids, **options}

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None, use_cache: bool | None = None, **_: Any,
    ) -> SimpleNamespace:  # fmt: skip
        """Logits [B, L, V]. A mask [B, L] is one of padding, and seen from left to right, as in the published code."""
        self.passes += 1
        length = input_ids.shape[1]
        if position_ids is None:
            position_ids = torch.arange(length, device=input_ids.device)[None]
        if attention_mask is not None and attention_mask.dim() == 2:
            seen = torch.ones(length, length, dtype=torch.bool, device=input_ids.device).tril()
            seen = seen & attention_mask.bool()[:, None] | torch.eye(length, dtype=torch.bool, device=input_ids.device)
            attention_mask = torch.zeros(seen.shape, device=seen.device).masked_fill(~seen, -torch.inf)[:, None]
        if attention_mask is not None:
            attention_mask = attention_mask.to(self.lm_head.weight.dtype)
        logits = self.lm_head(self.model(input_ids, attention_mask, position_ids)).float()
        # Neither a hole nor padding is ever a prediction.
        logits[..., [PAD, MASK]] = -torch.inf
        return SimpleNamespace(logits=logits)

    @torch.no_grad()
    def generate(
        self, inputs: torch.Tensor, temperature: float = 0.0, block_length: int = BLOCK, steps: int = BLOCK,
        gen_length: int = 20, eos_early_stop: bool = False, minimal_topk: int = 1, threshold: float = 0.95,
        eos_id: int = END, mask_id: int = MASK,
    ) -> torch.Tensor:  # fmt: skip
        """LLaDA2.0's loop: [1, L] prompt -> [1, up to gen_length] response, up to its end token.

        As first published, the prompt comes before it if the loop stops early, and else not.
        """
        loop = Loop(self, inputs, temperature, block_length, gen_length, eos_id, mask_id)
        steps = min(steps, gen_length // minimal_topk)
        counts = [block_length // steps + (step < block_length % steps) for step in range(steps)]
        for window in loop.windows():
            for count in counts:
                open_ = window[0, -block_length:] == mask_id
                if not open_.any():
                    break
                guess, sure = loop.guess(window)
                commit = surest(open_, sure, threshold, count)
                window[0, -block_length:][commit] = guess[commit]
                if eos_early_stop and (guess[commit] == eos_id).any() and loop.confirmed():
                    return torch.cat([inputs, loop.response()], dim=1)
            if (loop.response() == eos_id).any():
                break
        return loop.response()


class LLaDA21(LLaDA2MoeModelLM):
    """LLaDA2.1: the same model; its loop edits."""

    @torch.no_grad()
    def generate(  # type: ignore[override]  # its call takes more
        self, inputs: torch.Tensor, temperature: float = 0.0, block_length: int = BLOCK, steps: int = BLOCK,
        gen_length: int = 20, eos_early_stop: bool = False, minimal_topk: int = 1, threshold: float = 0.95,
        editing_threshold: float = 0.9, max_post_steps: int = 16, eos_id: int = END, mask_id: int = MASK,
        num_to_transfer: int = 1,
    ) -> torch.Tensor:  # fmt: skip
        """LLaDA2.1's loop: [1, L] prompt -> [1, P] response, P at most gen_length; see `LLaDA2MoeModelLM.generate`.

        Steps per block are not limited.
        """
        loop = Loop(self, inputs, temperature, block_length, gen_length, eos_id, mask_id)
        for window in loop.windows():
            sweeps, columns = 0, torch.arange(window.shape[1] - block_length, window.shape[1], device=self.device)
            while True:
                block = window[0, -block_length:]
                open_ = block == mask_id
                sweeps += int(not open_.any())
                if sweeps > max_post_steps:
                    break
                guess, sure = loop.guess(window)
                edit = ~open_ & (columns >= inputs.shape[1]) & (sure > editing_threshold) & (guess != block)
                write = edit | surest(open_, sure, threshold, num_to_transfer)
                block[write] = guess[write]
                if sweeps and not edit.any():
                    break
            if eos_early_stop and (loop.response() == eos_id).any():
                break
        return loop.response()


# As published: the same name, another loop.
LLaDA21.__name__ = "LLaDA2MoeModelLM"


class Loop:
    """What both loops share: the sequence with its masks, and one pass over a window of it."""

    def __init__(
        self, model: LLaDA2MoeModelLM, prompt: torch.Tensor, temperature: float, block: int, length: int, end: int,
        mask: int,
    ) -> None:  # fmt: skip
        self._model, self._temperature, self._block = model, temperature, block
        self._prompt, self._length, self._end, self._mask = prompt.shape[1], length, end, mask
        self._blocks = -(-(self._prompt + length) // block)
        self._ids = prompt.new_full((1, self._blocks * block), mask)
        self._ids[:, : self._prompt] = prompt
        number = torch.arange(self._blocks * block, device=prompt.device) // block
        seen = number[None] <= number[:, None]
        self._seen = torch.zeros(seen.shape, device=seen.device).masked_fill(~seen, -torch.inf).to(torch.bfloat16)

    def windows(self) -> Any:
        """Views of the sequence, each a block longer than the one before, from the first block with a mask on."""
        for number in range(self._prompt // self._block, self._blocks):
            self._shown = (number + 1) * self._block
            yield self._ids[:, : self._shown]

    def guess(self, window: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[1, W] window -> tokens [L] of its last block, L its length, and [L] probabilities of those tokens."""
        shown = window.shape[1]
        places = torch.arange(shown, device=window.device)[None]
        # `self.forward`, as published: hooks on the root do not run.
        mask = self._seen[None, None, :shown, :shown]
        logits = self._model.forward(window, attention_mask=mask, position_ids=places).logits[0, -self._block :]
        if self._temperature == 0:
            probabilities = logits.softmax(-1)
            tokens = probabilities.argmax(-1)
        else:
            probabilities = (logits / self._temperature).softmax(-1)
            tokens = probabilities.multinomial(1)[:, 0]
        return tokens, probabilities.gather(1, tokens[:, None])[:, 0]

    def confirmed(self) -> bool:
        """Whether the response has an end token and nothing open before it."""
        ids = self._ids[0, self._prompt : self._shown]
        at = (ids == self._end).nonzero()
        return bool(len(at)) and not bool((ids[: at[0]] == self._mask).any())

    def response(self) -> torch.Tensor:
        """[1, P] ids: what was generated so far, up to the first end token."""
        ids = self._ids[:, self._prompt : self._prompt + self._length]
        at = (ids[0] == self._end).nonzero()
        return ids[:, : at[0] + 1] if len(at) else ids


def surest(open_: torch.Tensor, sure: torch.Tensor, threshold: float, count: int) -> torch.Tensor:
    """[L] bool: all open positions of a block above the threshold, or else the `count` surest ones."""
    above = open_ & (sure > threshold)
    if above.sum() >= count:
        return above
    best = sure.masked_fill(~open_, -torch.inf).topk(min(count, int(open_.sum()))).indices
    return torch.zeros_like(open_).index_fill(0, best, True)


def build(seed: int, family: Callable[[TinyConfig], Any] = LLaDA2MoeModelLM, *, sharp: float = 9.0) -> Any:
    """A stand-in with random weights; the same seed gives the same ones, and no other randomness is touched.

    Higher `sharp` makes it surer of its predictions, so that thresholds are met. What is filled in it mostly predicts
    again, as a trained model does; else 2.1 would write its blocks anew in every pass.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = family(TinyConfig()).eval()
        model.lm_head.weight.data.mul_(sharp).add_(0.5 * model.model.word_embeddings.weight.data)
    return model
