"""A stand-in for Nemotron-Labs-Diffusion: a few thousand random weights behind the family's own interface.

What it keeps of the real one: class name and module paths; a switch per layer, `self_attn.diffusion_lm`, that turns
causal attention into one that sees all; a cache that a pass writes into only if `use_cache` says so; a root that calls
the encoder, and loops that go around it. Its two ways to predict agree now and then, as those of a trained model do:
both lean on the place that is predicted.
"""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from sri_plugin_nemotron_labs.stand_ins.loops import Loops

END, MASK = 2, 95
_switches = threading.local()


@dataclass
class NemotronConfig:
    """What a checkpoint's config says."""

    vocab_size: int = 96
    hidden_size: int = 32
    num_hidden_layers: int = 2
    num_attention_heads: int = 4
    block_size: int = 4
    mask_token_id: int | None = MASK
    eos_token_id: Any = END
    dlm_paradigm: str = "bidirectional"
    model_type: str = "nemotron_labs_diffusion"

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


class Attention(nn.Module):
    """Sees all of its pass with the switch, and only what lies before without; the cache always."""

    def __init__(self, config: NemotronConfig, number: int) -> None:
        super().__init__()
        width = config.hidden_size
        self.number, self.heads = number, config.num_attention_heads
        self._usual = config.dlm_paradigm != "autoregressive"
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(width, width, bias=False) for _ in range(4))

    @property
    def diffusion_lm(self) -> bool:
        """The switch. A real model has one; here each thread has its own, so that two generations can be checked."""
        return bool(getattr(_switches, str(id(self)), self._usual))

    @diffusion_lm.setter
    def diffusion_lm(self, value: bool) -> None:
        setattr(_switches, str(id(self)), value)

    def forward(self, states: torch.Tensor, past: Any, store: bool, real: torch.Tensor | None) -> torch.Tensor:
        """[B, L, D] -> the same; `past` is a DynamicCache, `real` [B, held + L] bool tensor, None = no padding."""
        q, k, v = (
            each(states).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for each in (self.q_proj, self.k_proj, self.v_proj)
        )
        if past is not None and store:
            k, v = past.update(k, v, self.number)
        elif past is not None and past.get_seq_length():
            held = past.layers[self.number]
            k, v = torch.cat([held.keys, k], dim=2), torch.cat([held.values, v], dim=2)
        seen = None
        if not self.diffusion_lm:
            columns = torch.arange(k.shape[2], device=states.device)
            own = columns[-q.shape[2] :, None]
            seen = columns <= own
            if real is not None:
                # Padding sees itself, so that no row of the attention is empty.
                seen = ((seen & real[:, None]) | (columns == own))[:, None]
        looked = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        made: torch.Tensor = self.o_proj(looked.transpose(1, 2).flatten(2))
        return made


class Layer(nn.Module):
    """A residual block."""

    def __init__(self, config: NemotronConfig, number: int) -> None:
        super().__init__()
        width = config.hidden_size
        self.input_layernorm, self.post_attention_layernorm = nn.RMSNorm(width), nn.RMSNorm(width)
        self.self_attn = Attention(config, number)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))

    def forward(self, states: torch.Tensor, past: Any, store: bool, real: torch.Tensor | None) -> torch.Tensor:
        """[B, L, D] -> the same; see `Attention`, `real` is a [B, held + L] bool tensor."""
        states = states + self.self_attn(self.input_layernorm(states), past, store, real)
        thought: torch.Tensor = self.mlp(self.post_attention_layernorm(states))
        return states + thought


class Encoder(nn.Module):
    """Everything but the head."""

    def __init__(self, config: NemotronConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.embed_tokens = nn.Embedding(config.vocab_size, width)
        self.places, self.predicted = nn.Embedding(256, width), nn.Embedding(256, width)
        self.layers = nn.ModuleList(Layer(config, number) for number in range(config.num_hidden_layers))
        self.norm = nn.RMSNorm(width)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None, past_key_values: Any = None, use_cache: bool = False,
        cache_position: torch.Tensor | None = None, use_causal_mask: bool = False, is_training: bool = False,
    ) -> SimpleNamespace:  # fmt: skip
        """[B, L] ids -> `.last_hidden_state` [B, L, D] and `.past_key_values`; `attention_mask` [B, held + L]."""
        held = 0 if past_key_values is None else past_key_values.get_seq_length()
        if position_ids is None:
            position_ids = torch.arange(held, held + input_ids.shape[1], device=input_ids.device)[None]
        first: Any = self.layers[0]
        ahead = 0 if first.self_attn.diffusion_lm else 1
        states = self.embed_tokens(input_ids) + self.places(position_ids) + 3 * self.predicted(position_ids + ahead)
        real = None if attention_mask is None else attention_mask.bool()
        for layer in self.layers:
            states = layer(states, past_key_values, bool(use_cache), real)
        return SimpleNamespace(last_hidden_state=self.norm(states), past_key_values=past_key_values)


class NemotronLabsDiffusionModel(Loops, nn.Module):
    """Encoder and head; the loops are its methods."""

    def __init__(self, config: NemotronConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.diffusion_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def get_output_embeddings(self) -> nn.Module:
        """The head."""
        head: nn.Module = self.diffusion_head
        return head

    def forward(self, input_ids: torch.Tensor, **options: Any) -> SimpleNamespace:
        """[B, L] ids -> `.logits` [B, L, V] and the cache."""
        made = self.encoder(input_ids=input_ids, **options)
        return SimpleNamespace(logits=self.diffusion_head(made.last_hidden_state), past_key_values=made.past_key_values)


def build(seed: int = 0, kind: type[NemotronLabsDiffusionModel] = NemotronLabsDiffusionModel, **config: Any) -> Any:
    """A model with random weights; the same seed gives the same weights, and no other randomness is touched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = kind(NemotronConfig(**config)).eval()
        # As sure of itself as a trained model: thresholds must be passed now and then.
        model.diffusion_head.weight.data.mul_(6)
        # The mask is never a prediction.
        model.diffusion_head.weight.data[MASK] = 0
        return model
