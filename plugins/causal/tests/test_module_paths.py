"""Which models are taken, and which are left to others, with the reason."""

from types import MethodType
from typing import Any

import pytest
import torch
import transformers
from sri_plugin_causal.hook import CausalHook
from sri_plugin_causal.module_paths import TABLE
from sri_plugin_causal.proof import contradiction
from sri_plugin_causal.stand_ins import example

from sri_sdk import registry
from sri_sdk.structure import paths_of

SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
SMALL = {
    "vocab_size": 97, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, **SPECIAL,
}  # fmt: skip


def why_not(model: Any) -> str:
    fit = CausalHook.fits(model)
    assert not fit.ok
    assert "looked for a causal model of transformers" in fit.why
    return fit.why


def test_a_model_with_a_mask_token_is_left_to_others() -> None:
    assert "mask_token_id" in why_not(transformers.LlamaForCausalLM(transformers.LlamaConfig(**SMALL, mask_token_id=5)))


@pytest.mark.parametrize("name", ["lab-causal", "lab-diffusion", "toy"])
def test_the_models_of_the_other_plugins_are_theirs(name: str) -> None:
    hook = registry.load("hooks", name)
    model = hook.load(hook.Config()).model
    assert hook.fits(model).ok
    why_not(model)


class OwnLoop(transformers.LlamaForCausalLM):
    def generate(self, input_ids: torch.Tensor, steps: int = 4) -> torch.Tensor:
        return input_ids


def test_a_class_with_a_generate_of_its_own_is_left_to_others() -> None:
    assert "`generate` of its own (of OwnLoop)" in why_not(OwnLoop(transformers.LlamaConfig(**SMALL)))


def test_a_generate_bound_to_the_object_is_no_generate_of_transformers() -> None:
    model = example.build()
    model.generate = MethodType(lambda self, input_ids: input_ids, model)
    assert "`generate` of its own" in why_not(model)


def test_a_model_that_is_being_watched_still_fits() -> None:
    import sri_sdk

    model = example.build()
    with sri_sdk.watch(model):
        assert CausalHook.fits(model).ok


class BothWays(transformers.LlamaForCausalLM):
    """A Llama whose every layer is handed a mask that hides nothing."""

    def forward(self, input_ids: torch.Tensor, attention_mask: Any = None, **options: Any) -> Any:
        length = input_ids.shape[1]
        return super().forward(input_ids, torch.zeros(len(input_ids), 1, length, length), **options)


def test_a_model_that_looks_both_ways_is_found_out_by_trying() -> None:
    model = BothWays(transformers.LlamaConfig(**SMALL, attn_implementation="eager")).eval()
    assert "attention goes both ways" in why_not(model)


def test_a_diffusion_family_is_known_by_name_where_it_cannot_be_tried() -> None:
    named = type("A2DLlamaLMHeadModel", (transformers.LlamaForCausalLM,), {})
    with torch.device("meta"):
        model = named(transformers.LlamaConfig(**SMALL))
    assert "diffusion family" in why_not(model)


def test_a_model_without_weights_is_judged_by_its_structure() -> None:
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SMALL))
    assert CausalHook.fits(model).ok


def test_an_encoder_decoder_is_refused() -> None:
    model = transformers.T5ForConditionalGeneration(
        transformers.T5Config(vocab_size=97, d_model=32, d_ff=64, num_layers=1, num_heads=4, d_kv=8)
    )
    assert "encoder and a decoder" in why_not(model)


def test_a_bidirectional_model_is_refused() -> None:
    bert = transformers.BertConfig(
        vocab_size=97, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4
    )
    why_not(transformers.BertForMaskedLM(bert))
    assert "known places" in why_not(transformers.BertLMHeadModel(bert))
    gemma = transformers.Gemma3TextConfig(**SMALL, head_dim=8, use_bidirectional_attention=True)
    assert "use_bidirectional_attention" in why_not(transformers.Gemma3ForCausalLM(gemma))


def test_something_else_is_refused_and_a_reason_given() -> None:
    assert "GenerationMixin" in why_not(torch.nn.Linear(2, 2))


def test_a_norm_that_is_not_the_last_one_is_found_out() -> None:
    model = example.build()
    model.model.norm, between = torch.nn.Identity(), model.model.norm
    model.lm_head = torch.nn.Sequential(between, model.lm_head)
    model.get_output_embeddings = lambda: model.lm_head[1]
    # The path is there, and what lies at it is not what the head reads.
    with torch.no_grad():
        between.weight.copy_(torch.rand(32) + torch.arange(32))
    assert "the head does not read what model.norm puts out" in why_not(model)


def test_a_norm_that_serves_twice_is_found_out() -> None:
    model = example.build()
    norm = model.model.norm
    model.model.embed_tokens.register_forward_hook(lambda _module, _args, output: norm(output))
    assert "model.norm ran 2 times" in why_not(model)


def test_the_proof_costs_one_pass_per_model() -> None:
    model, passes = example.build(), []
    model.register_forward_hook(lambda *_: passes.append(1))
    for _ in range(3):
        assert CausalHook.fits(model).ok
    assert len(passes) == 1


def test_the_proof_draws_no_random_numbers_and_leaves_no_gradients() -> None:
    model = example.build().train()
    before = torch.get_rng_state()
    assert contradiction(model, paths_of(model, TABLE)) is None
    assert torch.equal(before, torch.get_rng_state())
    assert all(weight.grad is None for weight in model.parameters())


def test_the_text_model_inside_a_model_that_also_sees_is_found() -> None:
    text = {**SMALL, "head_dim": 8}
    seeing = {
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 16,
        "patch_size": 8,
    }  # fmt: skip
    config = transformers.Gemma3Config(text_config=text, vision_config=seeing, mm_tokens_per_image=4)
    model = transformers.Gemma3ForConditionalGeneration(config).eval()
    fit = CausalHook.fits(model)
    assert fit.ok and "model.language_model.norm" in fit.why

    import sri_sdk

    hook = CausalHook(model)
    assert hook.hidden_size() == 32 and len(hook.layers()) == 2
    with sri_sdk.watch(model, hook=hook) as run:
        example.generate(model, example.prompts())
    assert not any(trace.reasons for trace in run.traces)


def test_a_model_whose_states_are_projected_before_the_head_is_refused() -> None:
    config = transformers.OPTConfig(
        vocab_size=97, hidden_size=32, ffn_dim=64, num_hidden_layers=2, num_attention_heads=4, word_embed_proj_dim=16,
        max_position_embeddings=64, **SPECIAL,
    )  # fmt: skip
    assert "the head reads 16 numbers per token" in why_not(transformers.OPTForCausalLM(config))
