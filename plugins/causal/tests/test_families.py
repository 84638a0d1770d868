"""Native families of transformers with tiny random weights: every promise of the kit, and our sampler's tokens."""

import os

import pytest
import torch
import transformers
from sri_plugin_causal.hook import CausalHook
from sri_plugin_causal.stand_ins import example

import sri_sdk
from sri_sdk import registry
from sri_sdk.testing import hook_checks, run_checks
from sri_sdk.testing._hook_measure import measure_hook

SPECIAL = {"pad_token_id": example.PAD, "bos_token_id": 1, "eos_token_id": example.EOS}
SHAPE = {
    "vocab_size": 97, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, **SPECIAL,
}  # fmt: skip
HEADS = {**SHAPE, "head_dim": 8}
NO_GROUPS = {name: value for name, value in SHAPE.items() if name != "num_key_value_heads"}
OLD = {"vocab_size": 97, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, **SPECIAL}
SLIDING = {"sliding_window": 4}
"""Shorter than a generation, so that the window moves."""

FAMILIES = {
    "Llama": SHAPE,
    "Qwen2": SHAPE,
    "Qwen3": HEADS,
    "Qwen3Moe": {**HEADS, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
    "Gemma": HEADS,
    "Gemma2": {**HEADS, **SLIDING},
    "Gemma3": {**HEADS, **SLIDING},
    "Mistral": {**SHAPE, **SLIDING},
    "Mixtral": {**SHAPE, "num_local_experts": 4},
    "Phi": SHAPE,
    "Phi3": {**SHAPE, "sliding_window": None},
    "Cohere": SHAPE,
    "Granite": {**SHAPE, "logits_scaling": 8.0},
    "Olmo2": SHAPE,
    "StableLm": SHAPE,
    "GPT2": OLD,
    "GPTJ": {**OLD, "rotary_dim": 8},
    "GPTNeoX": NO_GROUPS,
    "Bloom": {"vocab_size": 97, "hidden_size": 32, "n_layer": 2, "n_head": 4, **SPECIAL},
    "OPT": {
        "vocab_size": 97, "hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "max_position_embeddings": 64, "word_embed_proj_dim": 32, **SPECIAL,
    },
    "Falcon": NO_GROUPS,
    "Mamba": {"vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, **SPECIAL},
}  # fmt: skip
CLASSES = {"Gemma3": ("Gemma3TextConfig", "Gemma3ForCausalLM"), "GPT2": ("GPT2Config", "GPT2LMHeadModel")}


def build(family: str) -> torch.nn.Module:
    config_class, model_class = CLASSES.get(family, (f"{family}Config", f"{family}ForCausalLM"))
    config = getattr(transformers, config_class)(**FAMILIES[family])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = getattr(transformers, model_class)(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            # Random weights of the usual size say the same token again and again.
            if weight.dim() > 1:
                weight.mul_(4 if "embed" in name or "wte" in name else 8)
    return model.eval()


WHOLE_KIT = (
    "Llama", "Gemma3", "Mistral", "GPT2", "GPTNeoX", "OPT",
    *(("Qwen2", "Qwen3", "Gemma", "Gemma2", "Phi", "Phi3", "Falcon") if "SRI_WHOLE_KIT" in os.environ else ()),
)  # fmt: skip
"""One family of each kind: windows on all layers or on some, learned positions, a block in parallel. The others are
built like these, and meet the kit in `make faults`."""


@pytest.mark.parametrize("family", WHOLE_KIT)
def test_a_native_family_keeps_every_promise_of_the_kit(family: str) -> None:
    results = run_checks(hook_checks(lambda: example.case(CausalHook, build(family))))
    assert [result for result in results if result.state != "passed"] == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_token_is_a_step_and_phi_is_the_mean_of_what_the_norm_put_out(family: str, dtype: torch.dtype) -> None:
    found = measure_hook(example.case(CausalHook, build(family).to(dtype)))
    print(family, dtype, found)
    assert found.seen == found.expected and not found.reasons
    assert found.unchanged and found.gap < 1e-5


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "Mamba"])
def test_our_sampler_gives_the_tokens_of_generate(family: str) -> None:
    model, encoded = build(family), example.prompts()
    example.end_early(model, encoded)
    hook = CausalHook(model)
    assert tokens_of_ours(hook, encoded) == official(hook, encoded)


def test_a_family_that_keeps_no_key_value_cache_is_not_driven_on_half_of_its_text() -> None:
    hook = CausalHook(build("Mamba"))
    with pytest.raises(sri_sdk.SriError, match=r"MambaForCausalLM: .*no key-value cache.*sri_sdk.watch"):
        tokens_of_ours(hook, example.prompts())


def official(hook: CausalHook, encoded: sri_sdk.Encoded) -> list[list[int]]:
    tokens = example.generate(hook.model, encoded)[:, encoded.input_ids.shape[1] :]
    return [row[:end] for row, end in zip(tokens.tolist(), hook.lengths(tokens), strict=True)]


def tokens_of_ours(hook: CausalHook, encoded: sri_sdk.Encoded) -> list[list[int]]:
    sampler = registry.build("samplers", "autoregressive", {"tokens": example.TOKENS})
    with torch.inference_mode():
        *_, last = sampler.steps(hook, encoded, ["a", "b", "c"])
    return [row[:end] for row, end in zip(last.draft.tolist(), hook.lengths(last.draft), strict=True)]
