import copy
from typing import Any

import pytest
import torch
from sri_plugin_toy.hook import ToyHook
from sri_plugin_toy.model import build

from sri_sdk.capture.identity import model_circumstances, model_facts, weights_digest
from sri_sdk.errors import ModelMismatch


def test_a_changed_weight_in_any_tensor_changes_the_digest() -> None:
    model = build(0)
    whole = weights_digest(model)
    for name, _ in model.named_parameters():
        other = copy.deepcopy(model)
        other.get_parameter(name).data.add_(0.5)
        assert weights_digest(other) != whole, name


def test_weights_published_in_bfloat16_give_one_digest_however_they_are_loaded() -> None:
    published = build(0).bfloat16()
    assert weights_digest(published) == weights_digest(copy.deepcopy(published).float())
    hook, wide = ToyHook(published), ToyHook(copy.deepcopy(published).float())
    assert model_facts(hook) == model_facts(wide)
    assert model_circumstances(hook, None)["dtype"] == "bfloat16" != model_circumstances(wide, None)["dtype"]


def test_quantised_weights_count() -> None:
    model = build(0)
    model.register_buffer("packed", torch.arange(200, dtype=torch.uint8))
    before = weights_digest(model)
    model.packed += 1
    assert weights_digest(model) != before


def adapted(scale: float) -> torch.nn.Module:
    model = build(0)
    model.blocks[0].register_parameter("lora_A", torch.nn.Parameter(scale * torch.ones(4)))
    return model


def test_an_adapter_is_a_soft_fact_by_its_values_and_leaves_the_weights_their_digest() -> None:
    plain, one, two = build(0), adapted(1), adapted(2)
    assert weights_digest(plain) == weights_digest(one) == weights_digest(two)
    names = [model_circumstances(ToyHook(m), None)["adapter"] for m in (plain, one, two)]
    assert names[0] == "none" and len(set(names)) == 3


def test_a_model_whose_weights_are_elsewhere_is_refused() -> None:
    with pytest.raises(ModelMismatch, match="no weight can be read"):
        weights_digest(build(0).to("meta"))


def test_the_system_prompt_is_kept_as_a_digest_only() -> None:
    facts = model_circumstances(ToyHook(build(0)), "the secret house rules")
    assert "secret" not in str(facts) and facts["system_prompt"] != "none"


@pytest.fixture
def peft_model() -> Any:
    """A causal model with two adapters that both change it."""
    peft = pytest.importorskip("peft")
    from sri_plugin_causal.stand_ins import example

    config = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    model = peft.get_peft_model(example.build(), config)
    model.add_adapter("other", config)
    return model.eval()


def adapter_of(model: Any) -> str:
    from sri_plugin_causal.hook import CausalHook

    return str(model_circumstances(CausalHook(model), None)["adapter"])


def test_an_adapter_that_is_switched_off_exchanged_or_scaled_is_another_one(peft_model: Any) -> None:
    whole = adapter_of(peft_model)
    peft_model.set_adapter("other")
    other = adapter_of(peft_model)
    peft_model.set_adapter("default")
    with peft_model.disable_adapter():
        off = adapter_of(peft_model)
    assert adapter_of(peft_model) == whole
    layer = next(m for m in peft_model.modules() if hasattr(m, "merged_adapters"))
    layer.scaling["default"] *= 4
    assert len({whole, other, off, adapter_of(peft_model), "none"}) == 5


def test_an_adapter_that_is_merged_shows(peft_model: Any) -> None:
    whole = (adapter_of(peft_model), weights_digest(peft_model))
    peft_model.merge_adapter()
    assert (adapter_of(peft_model), weights_digest(peft_model)) != whole
