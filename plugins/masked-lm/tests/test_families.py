"""Native masked models of transformers with tiny random weights, and the double of dllm's A2D models."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from sri_plugin_masked_lm.hook import MaskedLmHook
from sri_plugin_masked_lm.stand_ins import example
from sri_plugin_masked_lm.stand_ins import model as double

import sri_sdk
from sri_sdk import registry
from sri_sdk.testing import hook_checks, run_checks
from sri_sdk.testing._hook_measure import measure_hook

SPECIAL = {"pad_token_id": double.PAD, "eos_token_id": double.SEP, "mask_token_id": double.MASK}
SHAPE = {
    "vocab_size": 97, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 64, "initializer_range": 0.4, **SPECIAL,
}  # fmt: skip
FAMILIES: dict[str, dict[str, Any]] = {
    "Bert": SHAPE,
    "Roberta": SHAPE,
    "XLMRoberta": SHAPE,
    "Electra": {**SHAPE, "embedding_size": 16},
    "DebertaV2": {**SHAPE, "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_biased_input": False},
    "MPNet": SHAPE,
    "ModernBert": {
        **SHAPE, "bos_token_id": double.CLS, "cls_token_id": double.CLS, "sep_token_id": double.SEP,
        "local_attention": 8, "attn_implementation": "sdpa", "reference_compile": False,
    },
    "DistilBert": {
        "vocab_size": 97, "dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 4, "max_position_embeddings": 64,
        "initializer_range": 0.4, **SPECIAL,
    },
}  # fmt: skip


def build(family: str) -> Any:
    config = getattr(transformers, f"{family}Config")(**FAMILIES[family])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return double.say_words_only(getattr(transformers, f"{family}ForMaskedLM")(config).eval())


MODELS: dict[str, Callable[[], Any]] = {
    **{family: lambda family=family: build(family) for family in FAMILIES},
    "A2D": double.build_a2d,
    "A2D, shifted": lambda: double.build_a2d(right_shift_logits=True),
}


def takes_positions(model: Any) -> bool:
    import inspect

    return "position_ids" in inspect.signature(model.forward).parameters


def case(name: str, dtype: torch.dtype = torch.float32) -> Any:
    model = MODELS[name]().to(dtype)
    if not takes_positions(model):
        pytest.skip(f"{type(model).__name__} of this transformers takes no position_ids, which the loop here needs")
    return example.case(MaskedLmHook, model, own=False)


WHOLE_KIT = ("Roberta", "Electra", "ModernBert", "A2D, shifted")
"""BERT is the example. One kind of head each."""


@pytest.mark.parametrize("name", WHOLE_KIT)
def test_a_model_keeps_every_promise_of_the_kit(name: str) -> None:
    case(name)
    results = run_checks(hook_checks(lambda: case(name)))
    assert [result for result in results if result.state != "passed"] == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", MODELS)
def test_every_pass_is_a_step_and_phi_is_the_mean_of_what_the_matrix_read(name: str, dtype: torch.dtype) -> None:
    found = measure_hook(case(name, dtype))
    print(name, dtype, found)
    assert found.seen == found.expected == (double.STEPS,) * 3 and not found.reasons
    assert found.unchanged and found.gap < 1e-5


@pytest.mark.parametrize("name", MODELS)
def test_our_sampler_gives_the_tokens_of_the_models_own_loop(name: str) -> None:
    made, encoded = case(name), example.prompts()
    official = made.generate(encoded)[:, encoded.input_ids.shape[1] :]
    assert torch.equal(driven(made.hook, encoded), official)


def driven(hook: MaskedLmHook, encoded: sri_sdk.Encoded) -> torch.Tensor:
    sampler = registry.build("samplers", "low-confidence", {"tokens": double.TOKENS, "steps": double.STEPS})
    with torch.inference_mode():
        *_, last = sampler.steps(hook, encoded, ["a", "b", "c"][: len(encoded.input_ids)])
    return last.draft


@pytest.mark.parametrize("name", MODELS)
def test_driven_rows_do_not_depend_on_the_padding_beside_them(name: str) -> None:
    hook, encoded = case(name).hook, example.prompts()
    together = driven(hook, encoded)
    for row in range(3):
        real = encoded.attention_mask[row].bool()
        single = sri_sdk.Encoded(encoded.input_ids[row][real][None], encoded.attention_mask[row][real][None])
        assert torch.equal(driven(hook, single)[0], together[row])


def test_a_model_that_takes_no_positions_is_not_driven_on_padding() -> None:
    class NoPositions(double.TinyBertForMaskedLM):
        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
            return super().forward(input_ids, attention_mask)

    hook = MaskedLmHook(NoPositions(double.build_bert().config))
    encoded = example.prompts()
    with pytest.raises(sri_sdk.SriError, match="takes no position_ids"):
        hook.forward(encoded.input_ids, encoded.attention_mask)
    assert hook.forward(encoded.input_ids).logits.shape == (3, 5, 97)
