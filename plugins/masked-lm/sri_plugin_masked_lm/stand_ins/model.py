"""Small masked models with random weights, and a low-confidence loop for them: no file, no download.

`TinyBertForMaskedLM` is transformers' own BERT. `A2DLlamaLMHeadModel` stands for the class of that name in dllm: a
Llama whose attention looks both ways, and which, in some checkpoints, still predicts the next token.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import BertConfig, BertForMaskedLM, LlamaConfig, LlamaForCausalLM

PAD, CLS, SEP, MASK = 0, 1, 2, 3
TOKENS, STEPS = 8, 4
_SHAPE = {
    "vocab_size": 97, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 64, "pad_token_id": PAD, "eos_token_id": SEP, "mask_token_id": MASK,
    # Random weights of the usual size say the same token at every position.
    "initializer_range": 0.4,
}  # fmt: skip


class TinyBertForMaskedLM(BertForMaskedLM):  # type: ignore[misc]  # mypy does not follow transformers
    """A BERT that generates."""

    def generate(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **options: Any) -> torch.Tensor:
        """[B, L] prompts, padded on the left -> [B, L + TOKENS]."""
        return generate(self, input_ids, attention_mask, **options)


class A2DLlamaLMHeadModel(LlamaForCausalLM):  # type: ignore[misc]  # mypy does not follow transformers
    """A Llama that looks both ways: the mask hides padding and nothing else."""

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None, **options: Any,
    ) -> Any:  # fmt: skip
        """[B, L] ids, mask and positions; no cache."""
        real = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        hidden = torch.zeros(real.shape, dtype=self.dtype).masked_fill(real == 0, torch.finfo(self.dtype).min)
        whole = hidden[:, None, None, :].expand(-1, 1, real.shape[1], -1)
        options = {**options, "position_ids": position_ids, "use_cache": False}
        output = super().forward(input_ids, attention_mask=whole, **options)
        output.logits[..., [PAD, MASK]] = -1e4
        return output


def build_bert(seed: int = 0) -> TinyBertForMaskedLM:
    """Two layers of width 32."""
    model: TinyBertForMaskedLM = say_words_only(_built(lambda: TinyBertForMaskedLM(BertConfig(**_SHAPE)), seed))
    return model


def say_words_only(model: Any) -> Any:
    """Padding and the mask are never predicted, as training brings it about."""
    with torch.no_grad():
        model.get_output_embeddings().bias[[PAD, MASK]] = -1e4
    return model


def build_a2d(seed: int = 0, *, right_shift_logits: bool = False) -> A2DLlamaLMHeadModel:
    """The same, made from a causal model."""
    config = LlamaConfig(**_SHAPE, num_key_value_heads=2, right_shift_logits=right_shift_logits)
    config._attn_implementation = "eager"
    model: A2DLlamaLMHeadModel = _built(lambda: A2DLlamaLMHeadModel(config), seed)
    return model


def _built(make: Any, seed: int) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().eval()


@torch.no_grad()
def generate(
    model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, *, tokens: int = TOKENS, steps: int = STEPS,
    **options: Any,
) -> torch.Tensor:  # fmt: skip
    """[B, L] prompts -> [B, L + tokens]: masks behind the prompts, filled in by `fill`."""
    masks = input_ids.new_full((len(input_ids), tokens), MASK)
    ids, real = torch.cat([input_ids, masks], 1), torch.cat([attention_mask, torch.ones_like(masks)], 1)
    return fill(model, ids, real, steps=steps, **options)


@torch.no_grad()
def fill(
    model: Any, ids: torch.Tensor, real: torch.Tensor, *, steps: int, temperature: float = 0.0, cfg_scale: float = 0.0,
    first: int = 0,
) -> torch.Tensor:  # fmt: skip
    """Low-confidence remasking (arXiv 2502.09992): at each step the surest predictions stay, equally many each time.

    Args:
        ids: [B, L] prompt and masks, wherever they stand; each row holds as many masks.
        real: [B, L] 1 = token, 0 = padding.
        steps: passes; divides the number of masks.
        temperature: 0 = greedy.
        cfg_scale: above 0, each pass also holds every row without its prompt.
        first: number that the family gives its first position.
    """
    ids, given = ids.clone(), (ids != MASK) & (real == 1)
    places, each = (real.cumsum(1) - 1).clamp(min=0) + first, int((ids[0] == MASK).sum()) // steps
    shift = int(getattr(model.config, "right_shift_logits", False))
    for _ in range(steps):
        if cfg_scale:
            both = torch.cat([ids, ids.masked_fill(given, MASK)])
            logits = model(both, attention_mask=real.repeat(2, 1), position_ids=places.repeat(2, 1)).logits
            conditional, unconditional = logits.chunk(2)
            logits = unconditional + (cfg_scale + 1) * (conditional - unconditional)
        else:
            logits = model(ids, attention_mask=real, position_ids=places).logits
        if shift:
            logits = torch.cat([logits[:, :1], logits[:, :-1]], dim=1)
        chosen = logits
        if temperature:
            chosen = logits / temperature - (-torch.rand_like(logits).clamp(1e-20, 1 - 1e-7).log()).log()
        guess = chosen.argmax(-1)
        sure = logits.softmax(-1).gather(-1, guess[..., None])[..., 0].masked_fill(ids != MASK, -1)
        keep = torch.zeros_like(ids, dtype=torch.bool).scatter_(1, sure.topk(each, dim=1).indices, True)
        ids = torch.where(keep, guess, ids)
    return ids
