"""Stand-ins for SDAR and Fast-dLLM v2: a few thousand random weights behind the families' own interfaces.

They stand for the real models in checks and tests, which need no download. What they keep of them: class names and
module paths; block-causal attention by column; a key-value cache that only some passes write into; SDAR's root that is
called, with its flag `store_kv`; Fast-dLLM v2's `generate`, which calls `self.forward` and so goes around the root, and
its second cache for the block in work, of which a pass may replace a part.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from sri_plugin_block.stand_ins.caches import Cache, Caches
from sri_plugin_block.stand_ins.fast_dllm_sampler import generate
from sri_plugin_block.stand_ins.tokens import END, MASK, OTHER_END, PAD


@dataclass(frozen=True)
class BlockConfig:
    """What a checkpoint's config says, SDAR's way."""

    vocab_size: int = 96
    hidden_size: int = 32
    num_hidden_layers: int = 2
    num_attention_heads: int = 4
    block_size: int = 4
    mask_token_id: int = MASK
    pad_token_id: int = PAD
    eos_token_id: int = END
    model_type: str = "sdar"

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class FastConfig:
    """The same, Fast-dLLM v2's way: the block has another name, and the mask is only a default of its methods."""

    vocab_size: int = 96
    hidden_size: int = 32
    num_hidden_layers: int = 2
    num_attention_heads: int = 4
    bd_size: int = 8
    pad_token_id: int = PAD
    eos_token_id: int = END
    model_type: str = "Fast_dLLM_Qwen"

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


class BlockLayer(nn.Module):
    """One residual block."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first_norm, self.second_norm = nn.RMSNorm(width), nn.RMSNorm(width)
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(width, width) for _ in range(4))
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))

    def forward(self, states: torch.Tensor, seen: torch.Tensor | None, caches: Caches, layer: int) -> torch.Tensor:
        """[B, L, D] -> the same; `seen` is a bool tensor that broadcasts to [B, heads, L, columns], None = all."""
        own = self.first_norm(states)
        keys, values = caches.join(layer, self.k_proj(own), self.v_proj(own))
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (self.q_proj(own), keys, values))
        looked = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        states = states + self.o_proj(looked.transpose(1, 2).flatten(2))
        thought: torch.Tensor = self.mlp(self.second_norm(states))
        return states + thought


class BlockTrunk(nn.Module):
    """Everything but the head, under the paths of the real ones."""

    def __init__(self, config: BlockConfig | FastConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.embed_tokens = nn.Embedding(config.vocab_size, width)
        self.places = nn.Embedding(512, width)
        self.layers = nn.ModuleList(
            BlockLayer(width, config.num_attention_heads) for _ in range(config.num_hidden_layers)
        )
        self.norm = nn.RMSNorm(width)

    def forward(
        self, input_ids: torch.Tensor, columns: torch.Tensor, seen: torch.Tensor | None, caches: Caches
    ) -> torch.Tensor:
        """[B, L] ids and their columns -> [B, L, D]."""
        states: torch.Tensor = self.embed_tokens(input_ids) + self.places(columns)
        for number, layer in enumerate(self.layers):
            states = layer(states, seen, caches, number)
        states = self.norm(states)
        return states


class _Causal(nn.Module):
    """A trunk and a head."""

    def __init__(self, config: BlockConfig | FastConfig) -> None:
        super().__init__()
        self.config = config
        self.generation_config = SimpleNamespace(eos_token_id=[END, OTHER_END])
        self.model = BlockTrunk(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def get_output_embeddings(self) -> nn.Module:
        """The head."""
        return self.lm_head

    def _logits(self, states: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.lm_head(states)
        # Neither a hole nor padding is ever a prediction.
        logits[..., [PAD, MASK]] = -torch.inf
        return logits


class SDARForCausalLM(_Causal):
    """Row i predicts token i; a pass writes into the cache where `store_kv` says so."""

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None, past_key_values: Cache | None = None, use_cache: bool = False,
        store_kv: bool = False,
    ) -> SimpleNamespace:  # fmt: skip
        """[B, L] ids; `attention_mask` broadcasts to [B, heads, L, cached + L]; returns `.logits` [B, L, V]."""
        if position_ids is None:
            first = 0 if past_key_values is None else past_key_values.get_seq_length()
            position_ids = torch.arange(first, first + input_ids.shape[1], device=input_ids.device)[None]
        seen = None if attention_mask is None else attention_mask.bool()
        states = self.model(input_ids, position_ids, seen, Caches(past_key_values, store_kv))
        return SimpleNamespace(logits=self._logits(states), past_key_values=past_key_values)


class Fast_dLLM_QwenForCausalLM(_Causal):  # noqa: N801 - the real one's name
    """Row i predicts token i + 1; the mask of attention is the model's own affair, and knows no padding."""

    def forward(
        self, input_ids: torch.Tensor, past_key_values: Cache | None = None, use_cache: bool = False,
        update_past_key_values: bool = False, block_size: int | None = None, use_block_cache: bool = False,
        block_past_key_values: Cache | None = None, replace_position: int | None = None, mask_id: int = MASK,
    ) -> SimpleNamespace:  # fmt: skip
        """[B, L] ids -> `.logits` [B, L, V] and both caches."""
        if use_cache and past_key_values is None:
            past_key_values = Cache()
        before = 0 if past_key_values is None else past_key_values.get_seq_length()
        first = before + (replace_position or 0)
        columns = torch.arange(first, first + input_ids.shape[1], device=input_ids.device)
        whole = block_past_key_values is None
        if use_block_cache and block_past_key_values is None:
            block_past_key_values = Cache()
        seen = None
        if whole:
            assert isinstance(self.config, FastConfig)
            block = block_size or self.config.bd_size
            keys = torch.arange(first + input_ids.shape[1], device=input_ids.device)
            seen = columns[:, None] // block >= keys // block
        caches = Caches(past_key_values, update_past_key_values, block_past_key_values, replace_position or 0)
        states = self.model(input_ids, columns[None], seen, caches)
        return SimpleNamespace(
            logits=self._logits(states), past_key_values=past_key_values, block_past_key_values=block_past_key_values
        )

    def generate(self, input_ids: torch.Tensor, max_new_tokens: int, **options: Any) -> tuple[torch.Tensor, Any]:
        """The family's own call: [B, L] prompts of one length -> (prompts and responses, what else there is)."""
        return generate(self, input_ids, max_new_tokens, **options)


def build(kind: type[_Causal], config: BlockConfig | FastConfig, seed: int) -> Any:
    """A model with random weights; the same seed gives the same weights, and no other randomness is touched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = kind(config).eval()
        # As sure of itself as a trained model: thresholds must be passed now and then.
        model.lm_head.weight.data.mul_(6)
        return model
