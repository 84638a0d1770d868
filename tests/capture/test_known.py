"""What was digested once is not digested again, and nothing that could be noticed before goes unnoticed for that."""

import copy
import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from sri_plugin_causal.hook import CausalHook
from sri_plugin_causal.stand_ins import example
from sri_plugin_toy.hook import ToyHook
from sri_plugin_toy.model import build
from torch import nn

from sri_sdk.capture import known
from sri_sdk.capture.identity import model_circumstances, model_facts
from sri_sdk.capture.stored import elsewhere
from sri_sdk.errors import ModelMismatch


def facts(model: Any) -> tuple[Any, ...]:
    """All that a guard compares of a model."""
    hook = ToyHook(model) if hasattr(model, "places") else CausalHook(model)
    return tuple(model_facts(hook).values()), tuple(model_circumstances(hook, None).values())


def afresh(model: Any) -> tuple[Any, ...]:
    """The same of a model of which nothing is known."""
    known._known.pop(model, None)
    return facts(model)


@pytest.fixture
def digested(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Models whose weights were digested in full."""
    found: list[Any] = []
    honest = known.digest_of_weights

    def noted(model: Any, stored: Any) -> str:
        found.append(model)
        return honest(model, stored)

    monkeypatch.setattr(known, "digest_of_weights", noted)
    yield found


def linear(model: Any) -> nn.Linear:
    return next(m for m in model.modules() if isinstance(m, nn.Linear))


def in_place(model: Any) -> None:
    with torch.no_grad():
        linear(model).weight.add_(0.5)


def through_data(model: Any) -> None:
    version = linear(model).weight._version
    linear(model).weight.data.add_(0.5)
    assert linear(model).weight._version == version, "no counter says so"


def one_value_through_data(model: Any) -> None:
    linear(model).weight.data[-1, -1] += 1


def by_assignment_of_data(model: Any) -> None:
    linear(model).weight.data = linear(model).weight.data + 0.5


def through_shared_memory(model: Any) -> None:
    linear(model).weight.detach().numpy()[:] += np.float32(0.5)


def by_an_optimiser(model: Any) -> None:
    weight = linear(model).weight
    weight.grad = torch.ones_like(weight)
    torch.optim.SGD([weight], lr=0.5).step()


def by_loading(model: Any) -> None:
    model.load_state_dict({name: value + 0.5 for name, value in model.state_dict().items()})


def by_loading_with_assignment(model: Any) -> None:
    model.load_state_dict({name: value + 0.5 for name, value in model.state_dict().items()}, assign=True)


def by_another_parameter(model: Any) -> None:
    linear(model).weight = nn.Parameter(linear(model).weight.detach() + 0.5)


def by_another_module(model: Any) -> None:
    model.blocks[0].look = nn.Linear(16, 16)


def by_two_modules_that_change_places(model: Any) -> None:
    model.blocks[0], model.blocks[1] = model.blocks[1], model.blocks[0]


def by_a_module_more(model: Any) -> None:
    model.blocks[0].more = nn.Identity()


def by_a_module_less(model: Any) -> None:
    model.blocks[0].look = None


def by_another_name(model: Any) -> None:
    model.blocks[0].watch = model.blocks[0].look
    del model.blocks[0].look


def by_a_parameter_more(model: Any) -> None:
    model.blocks[0].register_parameter("more", nn.Parameter(torch.ones(2)))


def by_a_parameter_less(model: Any) -> None:
    linear(model).bias = None


def by_shape_alone(model: Any) -> None:
    look = model.blocks[0].look
    look.bias.data = look.bias.data.reshape(4, 4)


def by_an_adapter(model: Any) -> None:
    model.blocks[0].register_parameter("lora_A", nn.Parameter(torch.ones(4)))


def by_half_precision(model: Any) -> None:
    model.half()


def by_bfloat16(model: Any) -> None:
    model.bfloat16()


def by_whole_numbers(model: Any) -> None:
    packed = linear(model).weight.data.mul(100).round().to(torch.int8)
    linear(model).weight = nn.Parameter(packed, requires_grad=False)


def by_quantising(model: Any) -> None:
    torch.ao.quantization.quantize_dynamic(model.blocks[0], {nn.Linear}, inplace=True)


class Twice(nn.Module):
    """A parametrization without a tensor of its own."""

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return 2 * weight


def by_a_parametrization(model: Any) -> None:
    nn.utils.parametrize.register_parametrization(linear(model), "weight", Twice())


def with_inference_tensors(model: Any) -> None:
    with torch.inference_mode():
        linear(model).weight = nn.Parameter(torch.ones(16, 16), requires_grad=False)


def by_a_saved_buffer(model: Any) -> None:
    model.blocks[0].register_buffer("scales", torch.ones(4))


def by_an_unsaved_buffer(model: Any) -> None:
    model.blocks[0].register_buffer("angles", torch.ones(4), persistent=False)


def by_what_a_checkpoint_has(model: Any) -> None:
    model.blocks[0]._non_persistent_buffers_set.clear()


def by_a_constant(model: Any) -> None:
    model.norm.eps *= 1000


def by_a_new_constant(model: Any) -> None:
    model.norm.scaling = 2.0


def by_a_constant_that_was_a_whole_number(model: Any) -> None:
    model.counter = float(model.counter)


def by_the_sign_of_a_zero(model: Any) -> None:
    model.zero = -0.0


def by_numpys_constant(model: Any) -> None:
    model.norm.eps = np.float64(model.norm.eps)


def by_a_kind_that_computes_its_constants(model: Any) -> None:
    model.norm.rope_type = "dynamic"


class Other(nn.Linear):
    """The same tensors, another function."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return -super().forward(rows)


def by_another_class(model: Any) -> None:
    linear(model).__class__ = Other


def by_a_class_made_on_the_spot(model: Any) -> None:
    linear(model).__class__ = type("Made", (nn.Linear,), {})


def by_config(model: Any) -> None:
    model.config = type(model.config)(blocks=3)


def by_a_hook(model: Any) -> None:
    model.blocks[0].register_forward_hook(lambda _module, _args, output: output * 2)


def by_a_hook_before(model: Any) -> None:
    model.blocks[0].register_forward_pre_hook(lambda _module, args: args)


def by_another_forward(model: Any) -> None:
    model.blocks[0].forward = lambda states, real: states


def by_dropout(model: Any) -> None:
    model.blocks[0].noise = nn.Dropout(0.1)
    model.train()


CHANGES = [
    in_place, through_data, one_value_through_data, by_assignment_of_data, through_shared_memory, by_an_optimiser,
    by_loading, by_loading_with_assignment, by_another_parameter, by_another_module, by_two_modules_that_change_places,
    by_a_module_more, by_a_module_less, by_another_name, by_a_parameter_more, by_a_parameter_less, by_shape_alone,
    by_an_adapter, by_half_precision, by_bfloat16, by_whole_numbers, by_quantising, by_a_parametrization,
    with_inference_tensors, by_a_saved_buffer, by_an_unsaved_buffer, by_what_a_checkpoint_has, by_a_constant,
    by_a_new_constant, by_a_constant_that_was_a_whole_number, by_the_sign_of_a_zero, by_numpys_constant,
    by_a_kind_that_computes_its_constants, by_another_class, by_a_class_made_on_the_spot, by_config, by_a_hook,
    by_a_hook_before, by_another_forward, by_dropout,
]  # fmt: skip


def known_model() -> Any:
    """A model of which everything is known."""
    model = build(0)
    model.counter, model.zero = 3, 0.0
    model.blocks[0].register_buffer("places", torch.ones(4), persistent=False)
    assert facts(model) == facts(model)
    return model


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_is_changed_between_two_watches_is_noticed(change: Callable[[Any], None]) -> None:
    model = known_model()
    before = facts(model)
    change(model)
    assert before != facts(model) == afresh(model)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.filterwarnings("ignore")
def test_a_change_of_a_change_is_noticed_too(change: Callable[[Any], None]) -> None:
    model = known_model()
    change(model)
    before = facts(model), facts(model)
    through_data(model.blocks[1])
    assert before[0] == before[1] != facts(model) == afresh(model)


@pytest.mark.parametrize("persistent", [True, False])
def test_a_buffers_values_are_read_each_time(persistent: bool) -> None:
    model = build(0)
    model.blocks[0].register_buffer("angles", torch.ones(4), persistent=persistent)
    before = facts(model), facts(model)
    model.blocks[0].angles.data[2] = 3.0
    assert before[0] == before[1] != facts(model) == afresh(model)


def test_inference_tensors_have_no_counter_and_are_read_all_the_same(digested: list[Any]) -> None:
    with torch.inference_mode():
        model = build(0)
        before = facts(model), facts(model)
        assert len(digested) == 1
        linear(model).weight.add_(1)
        assert before[0] == before[1] != facts(model) == afresh(model)


def test_a_patched_class_is_noticed_and_its_recovery_too(monkeypatch: pytest.MonkeyPatch) -> None:
    model = known_model()
    before = facts(model)
    with monkeypatch.context() as patched:
        patched.setattr(nn.GELU, "forward", lambda self, rows: rows)
        assert facts(model) != before
    assert facts(model) == before
    with monkeypatch.context() as patched:
        patched.setattr(type(model.blocks[0]).forward, "__code__", Twice.forward.__code__)
        assert facts(model) != before
    assert facts(model) == before
    handle = nn.modules.module.register_module_forward_hook(lambda _module, _args, output: output)
    try:
        assert facts(model) != before
    finally:
        handle.remove()


def test_a_model_whose_weights_went_elsewhere_is_refused_although_it_is_known() -> None:
    model = known_model()
    with pytest.raises(ModelMismatch, match="no weight can be read"):
        facts(model.to("meta"))


# -- models of transformers, adapters, offloading ------------------------------------------------------------------


@pytest.mark.parametrize(("name", "value"), [("rope_parameters", {"rope_theta": 7.0}), ("rms_norm_eps", 1.0)])
def test_a_config_of_transformers_is_read_each_time(name: str, value: Any, digested: list[Any]) -> None:
    model = example.build()
    before = facts(model), facts(model)
    assert len(digested) == 1
    setattr(model.config, name, value)
    changed = facts(model)
    assert before[0] == before[1] != changed == afresh(model)
    if isinstance(value, dict):
        model.config.rope_parameters["rope_theta"] = 7
        assert changed != facts(model) == afresh(model), "7 and 7.0 are different JSON"


def scaled(model: Any) -> None:
    next(m for m in model.modules() if hasattr(m, "merged_adapters")).scaling["default"] *= 4


def trained(model: Any) -> None:
    next(value for name, value in model.named_parameters() if "lora_B.default" in name).data.add_(1)


ADAPTERS: dict[str, Callable[[Any], object]] = {
    "another": lambda model: model.set_adapter("other"),
    "off": lambda model: model.base_model.disable_adapter_layers(),
    "scaled": scaled,
    "trained": trained,
    "merged": lambda model: model.merge_adapter(),
    "deleted": lambda model: model.delete_adapter("other"),
}


@pytest.mark.parametrize("change", ADAPTERS)
def test_an_adapter_that_changes_is_noticed(change: str, peft_model: Any, digested: list[Any]) -> None:
    before = facts(peft_model), facts(peft_model)
    assert len(digested) == 1
    ADAPTERS[change](peft_model)
    assert before[0] == before[1] != facts(peft_model) == afresh(peft_model)


def test_weights_that_accelerate_takes_away_are_read_where_it_keeps_them() -> None:
    accelerate = pytest.importorskip("accelerate")
    model = example.build()
    before = facts(model)
    moved = accelerate.cpu_offload(model, execution_device="cpu")
    assert facts(moved) == before
    name = next(name for name, value in moved.named_parameters() if value.is_meta)
    kept = elsewhere(moved, name)
    assert kept is not None
    kept.add_(1)
    assert facts(moved) != before


@pytest.mark.filterwarnings("ignore")
def test_a_part_in_torchscript_is_digested_each_time(digested: list[Any]) -> None:
    model = build(0)
    plain = facts(model)
    model.head = torch.jit.script(model.head)
    before = facts(model), facts(model)
    assert before[0] == before[1] and before[0][0][:4] == plain[0][:4] and len(digested) > 3
    model.head.weight.data.add_(1)
    assert facts(model) != before[0]


# -- what is known, and of whom ------------------------------------------------------------------------------------


def test_an_unchanged_model_is_digested_once_whatever_it_generates(digested: list[Any]) -> None:
    model = build(0)
    before = facts(model)
    for _ in range(3):
        model.generate(torch.full((1, 3), 5))
        model.counter = 7
        assert facts(model) == before
    assert len(digested) == 2, "a new attribute is looked at once"


def test_a_copy_is_another_model() -> None:
    model = known_model()
    other = copy.deepcopy(model)
    assert other not in known._known and facts(other) == facts(model)
    through_data(other)
    assert facts(other) != facts(model) == afresh(model)


def test_what_is_known_goes_with_the_model_and_never_to_another_at_its_place() -> None:
    seeds = (1, 2, 3)
    expected = [facts(build(seed)) for seed in seeds]
    gc.collect()
    before = len(known._known)
    for _ in range(5):
        # One after the other is built where the one before was.
        assert [facts(build(seed)) for seed in seeds] == expected
    gc.collect()
    assert len(known._known) == before


def test_threads_know_the_same_and_see_each_others_changes() -> None:
    model = known_model()
    before = facts(model)
    found: list[Any] = []

    def look() -> None:
        found.extend(facts(model) for _ in range(20))

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 80 and set(found) == {before}
    changing = threading.Thread(target=through_data, args=(model,))
    changing.start()
    changing.join()
    assert facts(model) != before


def test_a_model_that_another_thread_changes_while_it_is_digested_is_digested_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, honest = build(0), known.modules_digest

    def amid(which: Any) -> str:
        through_data(which)
        return honest(which)

    with monkeypatch.context() as patched:
        patched.setattr(known, "modules_digest", amid)
        before = facts(model)
    assert facts(model) != before and facts(model) == afresh(model)
