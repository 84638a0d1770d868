"""Models of a few thousand weights, for the conformance kit and for tests."""

from __future__ import annotations

from typing import Any

import sri_sdk

NUMBERS = 12
TEMPLATE = "{% for message in messages %}{{ message['role'] }} : {{ message['content'] }} {% endfor %}verdict :"


def small_model(seed: int = 0) -> sri_sdk.LoadedModel:
    """Random weights, words as tokens; the same for the same seed.

    Args:
        seed: of the weights.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = small_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=1024, pad_token_id=0, eos_token_id=1, bos_token_id=None,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config).eval()
    return sri_sdk.LoadedModel(model, tokenizer, "small random model")


def counting_model() -> sri_sdk.LoadedModel:
    """A model to which the number after `n3` is `n4`, and anything else a surprise."""
    import torch

    loaded = small_model()
    model, first = loaded.model, loaded.tokenizer.convert_tokens_to_ids("n0")
    with torch.no_grad():
        for weights in (model.model.layers[0].self_attn.o_proj, model.model.layers[0].mlp.down_proj):
            weights.weight.zero_()
        # What remains is one step: from a token to the next.
        model.model.embed_tokens.weight.zero_()
        model.lm_head.weight.zero_()
        for number in range(NUMBERS - 1):
            model.model.embed_tokens.weight[first + number, number] = 1
            model.lm_head.weight[first + number + 1, number] = 1
    return loaded


def numbers(order: str) -> str:
    """The numbers the counting model knows, `in-order` or `mixed`."""
    found = list(range(NUMBERS))
    return " ".join(f"n{number}" for number in (found if order == "in-order" else found[::3] + found[::-2]))


def small_tokenizer() -> Any:
    """Words and signs, most of them unknown, with a chat template."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "<eos>", "<unk>", "safe", "unsafe", ":", *(f"n{number}" for number in range(NUMBERS))]
    words += ["user", "assistant", "verdict", "the", "a", "i", "find", "window", "bread", "open", "house", "no", "."]
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer: Any = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer
