"""A small causal model with random weights, for the conformance kit and for tests: no file, no download."""

from __future__ import annotations

from typing import Any

import torch

from sri_sdk.records import Encoded

PAD, EOS = 0, 2
TOKENS = 8


def build(seed: int = 0) -> Any:
    """A Llama of two layers of width 32."""
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = LlamaConfig(
        vocab_size=97, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, pad_token_id=PAD, bos_token_id=1, eos_token_id=EOS,
        # Random weights of the usual size say the same token again and again.
        initializer_range=0.5,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(shape).eval()


def prompts() -> Encoded:
    """Three prompts of three lengths, padded on the left."""
    rows = [[5, 6], [7, 8, 9, 10, 11], [12, 13, 14]]
    ids = torch.tensor([[PAD] * (5 - len(row)) + row for row in rows])
    return Encoded(ids, (ids != PAD).long())


def end_early(model: Any, encoded: Encoded) -> None:
    """Makes a token the end of one response only, so that rows end at different steps."""
    model.generation_config.eos_token_id = None
    rows = generate(model, encoded)[:, encoded.input_ids.shape[1] :].tolist()
    ends = (
        row[at]
        for at in (2, 3, 1, 4)
        for row in rows
        if row[at] not in row[:at] and any(row[at] not in other for other in rows)
    )
    model.generation_config.eos_token_id = next(ends, EOS)


def generate(model: Any, encoded: Encoded, **options: Any) -> torch.Tensor:
    """transformers' own call, greedy: [B, L] token ids, the prompt first."""
    asked = {"max_new_tokens": TOKENS, "do_sample": False, "pad_token_id": PAD, **options}
    tokens: torch.Tensor = model.generate(encoded.input_ids, attention_mask=encoded.attention_mask, **asked)
    return tokens


def case(family: Any, model: Any | None = None) -> Any:
    """What the conformance kit tries a hook on; None = the Llama."""
    from sri_sdk.testing import HookCase

    model, encoded = build() if model is None else model, prompts()
    end_early(model, encoded)

    def sampled(given: Encoded) -> torch.Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            return generate(model, given, do_sample=True, top_k=0)

    hook = family(model)
    return HookCase(hook, encoded, lambda given: generate(model, given), steps=None, generate_sampled=sampled)
