"""A stand-in for Dream: a few thousand random weights, and the official sampler's behaviour.

It stands for the real model in checks and tests, which need no download. What it keeps of the real one, because each
of these can go wrong unnoticed: a row predicts the token *behind* it; every pass shows prompt and canvas whole; the
mask of attention and the places of a padded batch are passed by position, not by name; there are always exactly `steps`
passes, also where no mask is left; functions of the user may write into the canvas between two passes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

PAD, END, MASK = 0, 2, 63
Cache = list[tuple[torch.Tensor, torch.Tensor]]
"""Per layer the keys and values, each [B, L, D]."""


@dataclass(frozen=True)
class DreamConfig:
    """What a checkpoint's config says."""

    vocab_size: int = 64
    hidden_size: int = 32
    num_hidden_layers: int = 2
    num_attention_heads: int = 4
    mask_token_id: int = MASK
    pad_token_id: int = PAD
    eos_token_id: int | list[int] = END
    model_type: str = "Dream"

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class Settings:
    """What one call asks for; the defaults are those of Dream's generation config."""

    steps: int = 512
    eps: float = 1e-3
    alg: str = "origin"
    alg_temp: float | None = None
    temperature: float = 0.0
    max_length: int = 20
    max_new_tokens: int | None = None
    num_return_sequences: int = 1
    return_dict_in_generate: bool = False
    output_history: bool = False
    mask_token_id: int | None = None
    eos_token_id: int | list[int] | None = None


class DreamLayer(nn.Module):
    """One residual block that sees both ways; its states come first in a tuple."""

    def __init__(self, config: DreamConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads = config.num_attention_heads
        self.first_norm, self.second_norm = nn.RMSNorm(width), nn.RMSNorm(width)
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, width) for _ in range(3))
        self.o_proj = nn.Linear(width, width, bias=False)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))

    def forward(
        self, states: torch.Tensor, allowed: torch.Tensor | None, cached: Any = None, at: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """[B, L, D] -> the same and this layer's keys and values; `at` [L] replaces cached columns, None appends."""
        seen = self.first_norm(states)
        keys, values = self.k_proj(seen), self.v_proj(seen)
        if cached is not None:
            keys, values = (_joined(old, new, at) for old, new in zip(cached, (keys, values), strict=True))
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (self.q_proj(seen), keys, values))
        looked = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        states = states + self.o_proj(looked.transpose(1, 2).flatten(-2))
        return states + self.mlp(self.second_norm(states)), (keys, values)


def _joined(old: torch.Tensor, new: torch.Tensor, at: torch.Tensor | None) -> torch.Tensor:
    return torch.cat([old, new], dim=1) if at is None else old.index_copy(1, at, new)


class DreamBaseModel(nn.Module):
    """Embedding, blocks, last norm."""

    def __init__(self, config: DreamConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(DreamLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.RMSNorm(config.hidden_size)

    def forward(
        self, ids: torch.Tensor, allowed: torch.Tensor | None, places: torch.Tensor, cache: Any, at: Any
    ) -> tuple[torch.Tensor, Cache]:
        """[B, L] ids at [B, L] or [1, L] places -> [B, L, D] states after the last norm, and the cache."""
        states = self.embed_tokens(ids)
        half = torch.arange(states.shape[-1] // 2, device=ids.device)
        angles = places[..., None] / 30.0 ** (half / len(half))
        states = states + torch.cat([angles.sin(), angles.cos()], dim=-1).to(states.dtype)
        made: Cache = []
        for number, layer in enumerate(self.layers):
            states, kept = layer(states, allowed, None if cache is None else cache[number], at)
            made.append(kept)
        return self.norm(states), made


class DreamModel(nn.Module):
    """Predicts in row i the token at column i + 1."""

    def __init__(self, config: DreamConfig) -> None:
        super().__init__()
        self.config, self.generation_config = config, Settings()
        self.model = DreamBaseModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.lm_head.weight.device

    def get_output_embeddings(self) -> nn.Module:
        """The head."""
        return self.lm_head

    def forward(
        self, input_ids: torch.Tensor, attention_mask: Any = None, position_ids: torch.Tensor | None = None, **_: Any
    ) -> SimpleNamespace:
        """[B, L] ids, the word "full" or [B, 1, L, L] bool; returns `.logits` [B, L, V]."""
        return self._pass(input_ids, attention_mask, position_ids)

    def _pass(self, ids: Any, allowed: Any, places: Any, cache: Any = None, at: Any = None) -> SimpleNamespace:
        if isinstance(allowed, torch.Tensor) and allowed.dim() != 4:
            raise ValueError(f"attention_mask {list(allowed.shape)}: [B, 1, L, L] is needed")
        if places is None:
            begin = 0 if cache is None or at is not None else cache[0][0].shape[1]
            places = torch.arange(begin, begin + ids.shape[1], device=ids.device)[None] if at is None else at[None]
        states, made = self.model(ids, allowed if isinstance(allowed, torch.Tensor) else None, places, cache, at)
        logits = self.lm_head(states)
        # Random weights would now and then predict the mask itself; trained ones do not.
        logits[..., self.config.mask_token_id] = torch.finfo(logits.dtype).min
        return SimpleNamespace(logits=logits, past_key_values=made)

    def _prepare_generation_config(self, generation_config: Any = None, **kwargs: Any) -> Any:
        """The settings of one call, as the official mixin resolves them."""
        base = generation_config or Settings(
            mask_token_id=self.config.mask_token_id, eos_token_id=self.config.eos_token_id
        )
        return replace(base, **{name: value for name, value in kwargs.items() if hasattr(base, name)})

    @torch.no_grad()
    def diffusion_generate(self, inputs: torch.Tensor, generation_config: Any = None, **kwargs: Any) -> Any:
        """[B, L] prompts, padded on the left -> [B, L + new] tokens, or an output that holds them as `sequences`."""
        asked = self._prepare_generation_config(generation_config, **kwargs)
        attention = kwargs.get("attention_mask")
        inputs = inputs.repeat_interleave(asked.num_return_sequences, dim=0)
        new = asked.max_length - inputs.shape[1] if asked.max_new_tokens is None else asked.max_new_tokens
        ids = nn.functional.pad(inputs, (0, new), value=asked.mask_token_id)
        allowed: torch.Tensor | str = "full"
        places = None
        if attention is not None and not attention.bool().all():
            real = nn.functional.pad(attention.repeat_interleave(asked.num_return_sequences, dim=0), (0, new), value=1)
            places = (real.cumsum(1) - 1).masked_fill(real == 0, 1)
            allowed = (real[:, None, None, :] * real[:, None, :, None]).bool()
        tokens_hook = kwargs.get("generation_tokens_hook_func", lambda step, x, logits: x)
        logits_hook = kwargs.get("generation_logits_hook_func", lambda step, x, logits: logits)
        ids = tokens_hook(None, ids, None)
        history = []
        for step in range(asked.steps):
            logits = self(ids, allowed, places).logits
            logits = logits_hook(step, ids, torch.cat([logits[:, :1], logits[:, :-1]], dim=1))
            fill(ids, logits, asked, step)
            ids = tokens_hook(step, ids, logits)
            history.append(ids.clone())
        if not asked.return_dict_in_generate:
            return ids
        return SimpleNamespace(sequences=ids, history=history if asked.output_history else None)


def fill(ids: torch.Tensor, logits: torch.Tensor, asked: Settings, step: int) -> None:
    """One update, in place: some masks of [B, L] become what [B, L, V] logits, already shifted, say."""
    assert asked.mask_token_id is not None
    masked = ids == asked.mask_token_id
    times = torch.linspace(1, asked.eps, asked.steps + 1)
    share = 1.0 if step == asked.steps - 1 else float(1 - times[step + 1] / times[step])
    guess, sure = guesses(logits, asked)
    if asked.alg == "origin":
        chosen = masked & (torch.rand(ids.shape) < share)
    else:
        # One number for all rows, the mean of what they have left.
        count = int(masked.sum() / len(ids) * share)
        chosen = picked(sure.masked_fill(~masked, -torch.inf), count, asked.alg_temp) & masked
    ids[chosen] = guess[chosen]


def guesses(logits: torch.Tensor, asked: Settings) -> tuple[torch.Tensor, torch.Tensor]:
    """[B, L] tokens, and [B, L] how sure the model is of each, by the rule the call names."""
    if asked.temperature > 0:
        logits = logits / asked.temperature
    odds = logits.softmax(-1)
    guess = odds.argmax(-1)
    if asked.temperature > 0:
        guess = torch.multinomial(odds.flatten(0, 1), 1).view_as(guess)
    if asked.alg == "topk_margin":
        best = odds.topk(2, dim=-1).values
        return guess, best[..., 0] - best[..., 1]
    if asked.alg == "entropy":
        return guess, (odds * (odds + 1e-10).log()).sum(-1)
    return guess, odds.gather(-1, guess[..., None])[..., 0]


def picked(sure: torch.Tensor, count: int, temperature: float | None) -> torch.Tensor:
    """[B, L] bool: the `count` surest columns of each row, or as many drawn by how sure they are."""
    chosen = torch.zeros_like(sure, dtype=torch.bool)
    if not count:
        return chosen
    if temperature:
        return chosen.scatter(1, torch.multinomial((sure / temperature).softmax(-1), count), True)
    return chosen.scatter(1, sure.topk(count, dim=1).indices, True)


Family = Callable[[DreamConfig], DreamModel]


def build(seed: int, family: Family = DreamModel, config: DreamConfig | None = None) -> DreamModel:
    """The model with random weights; the same seed gives the same weights, and no other randomness is touched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = family(config or DreamConfig()).eval()
        # Far enough from uniform that what a row sees decides what it says.
        model.lm_head.weight.data *= 8
    return model
