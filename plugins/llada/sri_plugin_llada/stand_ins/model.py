"""A stand-in for the family's models: random weights, two tiny blocks, and every trap of the real code.

Nothing in this file knows about sri_sdk, and none of it is a copy. What it has in common with the real classes is what
a hook stumbles over: `.model` is never called, only its forward; blocks may hide in groups, return (states, cache) and
have a child called `ff_out` like the head; a tied head is not a module; attention sees both ways and reads padding only
from a bias; Fast-dLLM's variant keeps unrotated keys in a list of pairs and ignores every mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

PAD, EOS, MASK = 0, 2, 5
"""As in iLLaDA, the mask is a small number in the middle of the vocabulary."""
LOWEST = torch.finfo(torch.float32).min


@dataclass(frozen=True)
class DoubleConfig:
    """What a checkpoint's config would say. LLaDA calls the width d_model."""

    d_model: int = 32
    n_heads: int = 2
    n_layers: int = 2
    vocab_size: int = 96
    weight_tying: bool = False
    block_group_size: int = 1
    experts: int = 3
    mask_token_id: int | None = MASK
    eos_token_id: int = EOS
    pad_token_id: int = PAD

    def to_dict(self) -> dict[str, Any]:
        """As JSON types, the way transformers' configs do it."""
        return dict(vars(self))


class Tokenizer:
    """One token per letter; padding, end and mask are not letters."""

    bos_token = ""
    mask_token_id = MASK

    def encode(self, text: str, **_: Any) -> list[int]:
        """Text as token ids, 6 to 45."""
        return [6 + ord(sign) % 40 for sign in text]

    def apply_chat_template(self, chats: list[list[dict[str, str]]], **_: Any) -> dict[str, torch.Tensor]:
        """What the messages of each chat say, padded on the left: `input_ids` and `attention_mask`, [B, L] int64."""
        rows = [self.encode(" ".join(message["content"] for message in chat)) for chat in chats]
        width = max(map(len, rows))
        return {
            "input_ids": torch.tensor([[PAD] * (width - len(row)) + row for row in rows]),
            "attention_mask": torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows]),
        }

    def batch_decode(self, rows: list[list[int]], **_: Any) -> list[str]:
        """Token ids as text; special tokens are left out."""
        return ["".join(chr(40 + token) for token in row if token > MASK) for row in rows]


class Block(nn.Module):
    """One residual block. Its `ff_out` is not the head."""

    def __init__(self, config: DoubleConfig) -> None:
        super().__init__()
        width = config.d_model
        self.heads = config.n_heads
        self.attn_norm, self.ff_norm = nn.RMSNorm(width), nn.RMSNorm(width)
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.attn_out = nn.Linear(width, width, bias=False)
        self.ff_proj, self.ff_out = nn.Linear(width, 2 * width, bias=False), nn.Linear(2 * width, width, bias=False)

    def forward(
        self, x: torch.Tensor, bias: torch.Tensor | None = None, layer_past: Any = None, use_cache: bool = False,
        replace_position: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, Any]:  # fmt: skip
        """[B, L, D] -> the same, and the pair of keys and values if asked for."""
        q, k, v = (self._split(part(self.attn_norm(x))) for part in (self.q_proj, self.k_proj, self.v_proj))
        last = k.shape[-2]
        if layer_past is not None and replace_position is None:
            k, v = torch.cat([layer_past[0], k], dim=-2), torch.cat([layer_past[1], v], dim=-2)
            last = k.shape[-2]
        elif layer_past is not None and replace_position is not None:
            columns = replace_position.nonzero(as_tuple=True)[1]
            layer_past[0][:, :, columns], layer_past[1][:, :, columns] = k, v
            k, v = layer_past
            last = int(columns.max()) + 1
        cache = (k, v) if use_cache else None
        at = torch.arange(k.shape[-2], device=x.device)
        mixed = F.scaled_dot_product_attention(
            _rotated(q, at[last - q.shape[-2] : last]), _rotated(k, at), v, attn_mask=bias
        )
        x = x + self.attn_out(mixed.transpose(1, 2).flatten(2))
        return x + self.ff_out(F.silu(self.ff_proj(self.ff_norm(x)))), cache

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(*x.shape[:-1], self.heads, -1).transpose(1, 2)


class Core(nn.Module):
    """What LLaDA calls `.model`. Nothing ever calls this module, so a hook on it never fires."""

    def __init__(self, config: DoubleConfig) -> None:
        super().__init__()
        self.config = config
        blocks = [Block(config) for _ in range(config.n_layers)]
        size = config.block_group_size
        parts: dict[str, nn.Module] = {
            "wte": nn.Embedding(config.vocab_size, config.d_model),
            "ln_f": nn.RMSNorm(config.d_model),
        }
        if size > 1:
            groups = [nn.ModuleList(blocks[i : i + size]) for i in range(0, len(blocks), size)]
            parts["block_groups"] = nn.ModuleList(groups)
        else:
            parts["blocks"] = nn.ModuleList(blocks)
        if not config.weight_tying:
            parts["ff_out"] = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.transformer: Any = nn.ModuleDict(parts)

    def forward(
        self, input_ids: torch.Tensor, bias: torch.Tensor | None = None, past_key_values: Any = None,
        use_cache: bool = False, replace_position: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, Any]:  # fmt: skip
        """Logits [B, L, V], and a list of one pair per block."""
        x, caches = self.transformer.wte(input_ids), []
        for index, block in enumerate(self.blocks()):
            past = None if past_key_values is None else past_key_values[index]
            x, cache = block(x, bias, past, use_cache, replace_position)
            caches.append(cache)
        x = self.transformer.ln_f(x)
        head = self.transformer.wte.weight if self.config.weight_tying else self.transformer.ff_out.weight
        logits = F.linear(x, head) if self.config.weight_tying else self.transformer.ff_out(x)
        return logits, caches if use_cache else None

    def blocks(self) -> list[Block]:
        """First to last, out of their groups."""
        if "blocks" in self.transformer:
            return list(self.transformer.blocks)
        return [block for group in self.transformer.block_groups for block in group]


class LLaDAModelLM(nn.Module):
    """LLaDA: no cache, and no `position_ids`."""

    def __init__(self, config: DoubleConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Core(config)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = self.model.transformer.wte.weight.device
        return device

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None,
        attention_bias: torch.Tensor | None = None,
    ) -> SimpleNamespace:  # fmt: skip
        """[B, L] ids -> `.logits` [B, L, V]."""
        if attention_bias is None and attention_mask is not None and not attention_mask.all():
            attention_bias = attention_mask.bool()[:, None, None, :]
        logits, _ = self.model.forward(input_ids, _as_floats(attention_bias))
        return SimpleNamespace(logits=logits)

    def get_output_embeddings(self) -> nn.Module:
        """A tied head answers with the embedding, which is never called as a head."""
        parts = self.model.transformer
        head: nn.Module = parts.wte if self.config.weight_tying else parts.ff_out
        return head


class CachedLLaDAModelLM(LLaDAModelLM):
    """Fast-dLLM's code for LLaDA: it can keep keys and values, and ignores every mask."""

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, past_key_values: Any = None,
        use_cache: bool = False, replace_position: torch.Tensor | None = None,
    ) -> SimpleNamespace:  # fmt: skip
        """[B, L] ids, of the columns the cache lacks or of the block that `replace_position` [B, W] marks."""
        logits, caches = self.model.forward(input_ids, None, past_key_values, use_cache, replace_position)
        return SimpleNamespace(logits=logits, past_key_values=caches)


# Fast-dLLM's class has LLaDA's name, and code of its own.
CachedLLaDAModelLM.__name__ = "LLaDAModelLM"


class MoeBlock(Block):
    """A block whose second half is a mixture: each token asks one expert."""

    def __init__(self, config: DoubleConfig) -> None:
        super().__init__(config)
        self.gate = nn.Linear(config.d_model, config.experts, bias=False)
        self.experts = nn.ModuleList(nn.Linear(config.d_model, config.d_model) for _ in range(config.experts))

    def forward(self, x: torch.Tensor, bias: torch.Tensor | None = None, *_: Any) -> tuple[torch.Tensor, None]:
        """[B, L, D] -> the same; it keeps no cache."""
        x, _ = super().forward(x, bias)
        weight, chosen = self.gate(x).softmax(-1).max(-1)
        said = torch.stack([expert(x) for expert in self.experts])
        picked = said.gather(0, chosen[None, ..., None].expand(1, *x.shape))[0]
        return x + weight[..., None] * picked, None


class MoeCore(nn.Module):
    """What LLaDA-MoE calls `.model`; this one is called."""

    def __init__(self, config: DoubleConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.d_model)
        self.layers = nn.ModuleList(MoeBlock(config) for _ in range(config.n_layers))
        self.norm = nn.RMSNorm(config.d_model)

    def forward(self, input_ids: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        """[B, L] -> [B, L, D]."""
        x: torch.Tensor = self.embed_tokens(input_ids)
        for layer in self.layers:
            x, _ = layer(x, bias)
        x = self.norm(x)
        return x


class LLaDAMoEModelLM(nn.Module):
    """LLaDA-MoE: laid out like most models of transformers, and it takes an attention mask."""

    def __init__(self, config: DoubleConfig) -> None:
        super().__init__()
        self.config = config
        self.model = MoeCore(config)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.lm_head.weight.device

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> SimpleNamespace:
        """[B, L] ids -> `.logits` [B, L, V]."""
        bias = None if attention_mask is None else _as_floats(attention_mask.bool()[:, None, None, :])
        return SimpleNamespace(logits=self.lm_head(self.model(input_ids, bias)))

    def get_output_embeddings(self) -> nn.Module:
        """The head."""
        return self.lm_head


def build(family: type[nn.Module] = LLaDAModelLM, seed: int = 0, **config: Any) -> Any:
    """A model with random weights; the same seed gives the same, and no other randomness is touched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        said = DoubleConfig(**config)
        model = family(said).eval()
        for weight in model.parameters():
            if weight.dim() == 2:
                nn.init.normal_(weight, std=2 * weight.shape[1] ** -0.5)
        for module in model.modules():
            if isinstance(module, nn.Embedding):
                # A tied head says what it reads unless the blocks have their say; so let them.
                nn.init.normal_(module.weight, std=0.3)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.shape[0] == said.vocab_size:
                # A trained model never says "mask".
                weight[MASK] *= 0.1
    return model


def _rotated(x: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """[B, H, L, d] turned by the positions [L]: only distances count (RoPE)."""
    half = x.shape[-1] // 2
    angle = at[:, None] * 10_000.0 ** (-torch.arange(half, device=x.device) / half)
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    one, two = x[..., :half], x[..., half:]
    return torch.cat([one * cos - two * sin, two * cos + one * sin], dim=-1)


def _as_floats(seen: torch.Tensor | None) -> torch.Tensor | None:
    """[B, 1, Q, L] bool, True = seen and Q = 1 or L, as a float32 number to add to the attention scores."""
    return None if seen is None else torch.zeros(seen.shape, device=seen.device).masked_fill(~seen, LOWEST)
