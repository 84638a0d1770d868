import copy
import types
from typing import Any

import pytest
import torch
from sri_plugin_toy.hook import ToyHook
from sri_plugin_toy.model import build

from sri_sdk.capture.identity import model_circumstances, model_facts, weights_digest
from sri_sdk.capture.modules import foreign_code
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


# -- the function that runs, and not the tensors that are stored -------------------------------------------------


class Twice(torch.nn.Module):
    """A parametrization without a tensor of its own."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight * self.by


def facts(model: Any) -> tuple[Any, ...]:
    hook = ToyHook(model)
    return tuple(model_facts(hook).values()), model_circumstances(hook, None)["adapter"]


def linear(model: Any) -> torch.nn.Module:
    return next(m for m in model.modules() if isinstance(m, torch.nn.Linear))


def test_a_parametrized_weight_counts_as_it_is_computed() -> None:
    def parametrized(by: float) -> Any:
        model = build(0)
        torch.nn.utils.parametrize.register_parametrization(linear(model), "weight", Twice(by))
        return model

    assert facts(parametrized(1.0)) == facts(build(0)), "the same function"
    assert len({facts(parametrized(by))[0] for by in (1.0, 2.0, 3.0)}) == 3


def test_reading_a_parametrized_weight_changes_nothing() -> None:
    model = build(0).train()
    torch.nn.utils.parametrizations.spectral_norm(linear(model))
    before = copy.deepcopy(model.state_dict())
    assert weights_digest(model) == weights_digest(model)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())


def test_a_buffer_that_no_checkpoint_has_counts() -> None:
    def with_buffer(value: float) -> Any:
        model = build(0)
        model.blocks[0].register_buffer("angles", torch.full((4,), value), persistent=False)
        return model

    assert facts(with_buffer(1.0)) == facts(with_buffer(1.0)) != facts(with_buffer(2.0))


class Other(torch.nn.Linear):
    """The same tensors, another function."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return -super().forward(rows)


def test_a_module_of_another_class_over_the_same_tensors_is_another_model() -> None:
    model = build(0)
    linear(model).__class__ = Other
    assert weights_digest(model) == weights_digest(build(0)) and facts(model) != facts(build(0))


def test_a_constant_of_a_module_counts() -> None:
    model = build(0)
    next(m for m in model.modules() if isinstance(m, torch.nn.LayerNorm)).eps *= 1000
    assert facts(model) != facts(build(0))


def steer(by: float) -> Any:
    return lambda _module, _args, output: output * by


def test_a_forward_hook_of_somebody_else_is_named_with_what_it_carries() -> None:
    plain, hooked = build(0), build(0)
    handle = hooked.blocks[0].register_forward_hook(steer(2.0))
    told = facts(hooked)[1]
    assert told.startswith("forward hook steer.<locals>.<lambda> on blocks.0 (")
    assert facts(hooked)[0] == facts(plain)[0]
    other = build(0)
    other.blocks[0].register_forward_hook(steer(3.0))
    assert facts(other)[1] != told, "what it carries counts"
    again = build(0)
    again.blocks[0].register_forward_hook(steer(2.0))
    assert facts(again)[1] == told
    handle.remove()
    assert facts(hooked) == facts(plain)


def test_a_forward_that_was_replaced_shows_on_a_module_and_on_a_class(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(0)
    block = model.blocks[0]
    before = block.forward
    block.forward = lambda *args, **kwargs: before(*args, **kwargs)
    assert facts(model)[1].startswith("replaced forward ") and "on blocks.0" in facts(model)[1]
    plain = build(0)
    monkeypatch.setattr(torch.nn.Linear, "forward", lambda self, rows: rows @ self.weight.T)
    assert "on class Linear" in facts(plain)[1]


class Chooses(torch.nn.Module):
    """Chooses a method when it is built, as some families do."""

    def __init__(self, *, otherwise: bool = False) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        if otherwise:
            self.forward = self.slow

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return rows

    def slow(self, rows: torch.Tensor) -> torch.Tensor:
        return rows * 1


def negated(_module: Any, rows: torch.Tensor) -> torch.Tensor:
    return -rows


def test_a_replacement_written_beside_the_class_shows_and_a_method_of_it_does_not(monkeypatch: Any) -> None:
    assert foreign_code(Chooses()) == foreign_code(Chooses(otherwise=True)) == ""
    patched = Chooses()
    patched.forward = types.MethodType(negated, patched)
    assert foreign_code(patched).startswith("replaced forward negated ")
    monkeypatch.setattr(Chooses, "forward", negated)
    assert "on class Chooses" in foreign_code(Chooses())


def test_a_hook_for_all_modules_shows() -> None:
    handle = torch.nn.modules.module.register_module_forward_hook(steer(2.0))
    try:
        assert facts(build(0))[1].startswith("forward hook for all modules ")
    finally:
        handle.remove()
    assert facts(build(0))[1] == "none"


def test_dropout_that_is_on_shows() -> None:
    model = build(0)
    model.blocks[0].noise = torch.nn.Dropout(0.1)
    assert "dropout in training mode" in facts(model.train())[1] and facts(model.eval())[1] == "none"


def test_the_hooks_of_a_watch_are_no_other_code() -> None:
    import sri_sdk

    model = build(0)
    whole = facts(model)
    with sri_sdk.watch(model, hook=ToyHook(model)):
        assert facts(model) == whole
    assert facts(model) == whole


def test_blocks_that_are_compiled_by_themselves_keep_their_weights_in_the_digest() -> None:
    model, other = build(0), build(0)
    for each in (model, other):
        each.blocks[0] = torch.compile(each.blocks[0])
    assert facts(model) == facts(build(0))
    other.blocks[0]._orig_mod.get_parameter(next(iter(dict(other.blocks[0]._orig_mod.named_parameters())))).data.add_(1)
    assert weights_digest(other) != weights_digest(model)


def test_weights_that_accelerate_keeps_elsewhere_are_read_there(tmp_path: Any) -> None:
    accelerate = pytest.importorskip("accelerate")
    from sri_plugin_causal.stand_ins import example

    whole = example.build()
    moved = accelerate.cpu_offload(example.build(), execution_device="cpu")
    disk = accelerate.disk_offload(example.build(), str(tmp_path), execution_device="cpu")
    assert any(each.is_meta for each in moved.parameters()) and any(each.is_meta for each in disk.parameters())
    assert weights_digest(moved) == weights_digest(disk) == weights_digest(whole)
    other = example.build()
    next(other.parameters()).data.add_(1)
    assert weights_digest(accelerate.cpu_offload(other, execution_device="cpu")) != weights_digest(whole)
    from sri_plugin_causal.hook import CausalHook

    assert model_facts(CausalHook(moved)) == model_facts(CausalHook(whole))
    assert adapter_of(moved) == adapter_of(whole) == "none"


def test_weights_that_are_elsewhere_in_part_are_refused_by_name() -> None:
    model = build(0)
    linear(model).to("meta")
    with pytest.raises(ModelMismatch, match=r"\d weights? cannot be read, such as .*not in this process"):
        weights_digest(model)


@pytest.mark.filterwarnings("ignore")
def test_dynamically_quantised_weights_count() -> None:
    def quantised(more: float) -> Any:
        model = torch.nn.Sequential(torch.nn.Linear(8, 8))
        with torch.no_grad():
            model[0].weight.fill_(1.0)
            model[0].weight[0, 0] += more
            model[0].bias.zero_()
        return torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear})

    assert weights_digest(quantised(0)) == weights_digest(quantised(0)) != weights_digest(quantised(2))


def test_constants_that_the_usual_wrappers_bring_change_nothing(peft_model: Any) -> None:
    from sri_plugin_causal.hook import CausalHook
    from sri_plugin_causal.stand_ins import example

    plain = model_facts(CausalHook(example.build()))
    assert model_facts(CausalHook(peft_model))["modules_digest"] == plain["modules_digest"]
    assert model_facts(CausalHook(torch.compile(example.build())))["modules_digest"] == plain["modules_digest"]


def test_a_guard_of_an_older_release_is_still_admitted() -> None:
    from sri_sdk.fingerprint import Fingerprint

    hook = ToyHook(build(0))
    shown, soft = model_facts(hook), model_circumstances(hook, None)
    old = Fingerprint({name: value for name, value in shown.items() if name != "modules_digest"}, soft)
    assert old.admit(Fingerprint(shown, soft), subject="watch") == ()
