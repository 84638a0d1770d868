import copy

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
