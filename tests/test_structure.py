"""Finding modules inside whatever a model is wrapped in."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from torch import nn

from sri_sdk.errors import SriError
from sri_sdk.records import Match
from sri_sdk.structure import (
    LLAMA_PATHS,
    FixedPaths,
    ModulePaths,
    cache_argument,
    cache_of,
    class_names,
    closest_paths,
    find_paths,
    first_path,
    missing_paths,
    module_at,
    modules_at,
    paths_of,
    submodule,
    takes_argument,
    unwrapped,
    with_older_name,
)


@pytest.fixture
def model() -> Any:
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=16, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
        )
    )


def lora(model: Any) -> Any:
    peft = pytest.importorskip("peft")
    return peft.get_peft_model(model, peft.LoraConfig(target_modules=["q_proj"]))


def lora_of_a_task(model: Any) -> Any:
    peft = pytest.importorskip("peft")
    return peft.get_peft_model(model, peft.LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM"))


WRAPPERS = {
    "nothing": lambda model: model,
    "LoRA": lora,
    "LoRA of a task": lora_of_a_task,
    "DataParallel": lambda model: nn.DataParallel(model),
    "torch.compile": lambda model: torch.compile(model),
    "compiled LoRA": lambda model: torch.compile(lora(model)),
    "LoRA in DataParallel": lambda model: nn.DataParallel(lora(model)),
    "compiled DataParallel": lambda model: torch.compile(nn.DataParallel(model)),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_a_model_is_found_inside_its_wrapper(model: Any, wrap: Any) -> None:
    norm, layers = model.model.norm, model.model.layers
    wrapped = wrap(model)
    assert unwrapped(wrapped) is model
    assert submodule(wrapped, "model.norm") is norm
    assert submodule(wrapped, "model.layers") is layers
    assert class_names(wrapped)[0] == "LlamaForCausalLM"


def test_distributed_wrappers_are_known_by_name(model: Any) -> None:
    class DistributedDataParallel(nn.Module):
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module = module

    assert unwrapped(DistributedDataParallel(model)) is model


def test_something_that_is_no_module_is_itself() -> None:
    thing = object()
    assert unwrapped(thing) is thing
    assert class_names(thing) == ("object",)
    assert submodule(thing, "model.norm") is None


def test_a_wrapper_that_holds_itself_ends() -> None:
    class Odd:
        def get_base_model(self) -> "Odd":
            return self

    odd = Odd()
    assert unwrapped(odd) is odd


def test_a_subclass_still_is_one_of_its_family(model: Any) -> None:
    class MyLlama(transformers.LlamaForCausalLM):
        pass

    names = class_names(MyLlama(model.config))
    assert names.index("MyLlama") < names.index("LlamaForCausalLM")


def test_a_path_that_leads_to_no_module_is_none(model: Any) -> None:
    # A parameter, a method, a config and nothing at all.
    for path in ("model.norm.weight", "model.forward", "config", "model.norms", "nothing.at.all"):
        assert submodule(model, path) is None, path


def test_paths_count_their_way_through_lists(model: Any) -> None:
    assert submodule(model, "model.layers.0.mlp") is model.model.layers[0].mlp
    assert submodule(model, "model.layers.7") is None


def test_the_first_path_and_the_missing_ones_keep_their_order(model: Any) -> None:
    paths = ["transformer.ln_f", "model.norm", "lm_head", "head"]
    assert first_path(model, paths) == "model.norm"
    assert first_path(model, ["a", "b"]) is None
    assert missing_paths(model, paths) == ["transformer.ln_f", "head"]


def test_a_module_that_must_be_there_is_named_where_it_is_not(model: Any) -> None:
    assert module_at(model, "model.norm") is model.model.norm
    with pytest.raises(SriError, match=r"LlamaForCausalLM has no module at model\.norms"):
        module_at(model, "model.norms")


def test_a_block_that_stands_twice_in_a_list_is_two_blocks(model: Any) -> None:
    model.model.layers.append(model.model.layers[0])
    assert modules_at(model, "model.layers") == [model.model.layers[0]] * 2


GPT = ModulePaths("transformer.ln_f", "transformer.h", "transformer.wte")
NO_EMBEDDING = ModulePaths("{base}.norm", "{base}.layers", "{base}.wte")
LLAMA = ModulePaths("{base}.norm", "{base}.layers", "{base}.embed_tokens")


def test_the_first_row_with_every_module_is_the_models_under_its_own_names(model: Any) -> None:
    found = ModulePaths("model.norm", "model.layers", "model.embed_tokens")
    assert find_paths(model, [GPT, NO_EMBEDDING, LLAMA]) == found == paths_of(model, [LLAMA])
    assert find_paths(model, [GPT, NO_EMBEDDING]) is None


def test_a_model_without_a_row_is_refused_with_the_row_that_comes_closest(model: Any) -> None:
    closest = "closest model.norm / model.layers / model.wte, without model.wte"
    assert closest_paths(model, [GPT, NO_EMBEDDING]) == closest
    with pytest.raises(SriError, match=f"LlamaForCausalLM: no known place of norm and blocks: {closest}"):
        paths_of(model, [GPT, NO_EMBEDDING])


def test_an_argument_is_found_behind_keyword_arguments_that_are_passed_on(model: Any) -> None:
    class PassesOn(type(model)):  # type: ignore[misc]
        def forward(self, input_ids: torch.Tensor, **options: Any) -> Any:
            return super().forward(input_ids=input_ids, **options)

    class KeepsThem(type(model)):  # type: ignore[misc]
        def forward(self, input_ids: torch.Tensor) -> Any:
            return super().forward(input_ids=input_ids)

    for kind, takes in ((type(model), True), (PassesOn, True), (KeepsThem, False), (nn.Linear, False)):
        assert takes_argument(kind.__new__(kind), "logits_to_keep") is takes


class HeldCache:
    def __init__(self, tokens: int | None) -> None:
        self.tokens = tokens

    def get_seq_length(self) -> int:
        if self.tokens is None:
            raise ValueError("no sequence")
        return self.tokens


class NewNames(torch.nn.Module):
    def forward(self, input_ids: torch.Tensor, cache: HeldCache | None = None) -> None: ...


class OldNames(torch.nn.Module):
    def forward(self, input_ids: torch.Tensor, past_key_values: HeldCache | None = None) -> None: ...


def test_a_cache_is_handed_over_by_the_name_that_the_release_has() -> None:
    assert cache_argument(NewNames()) == "cache" and cache_argument(OldNames()) == "past_key_values"


def test_hooks_find_a_cache_under_one_name_in_every_release() -> None:
    held = HeldCache(3)
    assert with_older_name({"cache": held}) == {"cache": held, "past_key_values": held}
    for as_it_is in ({"past_key_values": held}, {"cache": None}, {"cache": "a folder"}, {}):
        assert with_older_name(as_it_is) is as_it_is


def test_states_without_a_sequence_are_no_key_value_cache() -> None:
    held = HeldCache(3)
    assert cache_of(SimpleNamespace(cache=held)) is held is cache_of(SimpleNamespace(past_key_values=held))
    assert cache_of(SimpleNamespace(cache=HeldCache(None))) is None and cache_of(SimpleNamespace()) is None


class LlamaAtPaths(FixedPaths):
    CLASSES = ("LlamaForCausalLM",)
    PATHS = LLAMA_PATHS
    PARTS = ("lm_head",)
    calls = ("generate",)
    LOOP = ("_sample",)

    def __init__(self, model: Any) -> None:
        self.model = model

    @classmethod
    def unlike(cls, model: Any) -> str:
        return "" if unwrapped(model).config.hidden_size == 8 else "of another width"


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_a_hook_of_one_layout_finds_its_modules_in_any_wrapper(model: Any, wrap: Any) -> None:
    norm, layers, embedding = model.model.norm, model.model.layers, model.model.embed_tokens
    wrapped = wrap(model)
    hook = LlamaAtPaths(wrapped)
    assert hook.fits(wrapped) == Match(True, "class LlamaForCausalLM, final norm at model.norm")
    assert hook.final_norm() is norm and hook.embedding() is embedding and hook.hidden_size() == 8
    assert len(hook.layers()) == len(layers) == 1 and hook.layers()[0] is layers[0]


def test_a_hook_of_one_layout_says_what_does_not_fit(model: Any) -> None:
    def why(model: Any) -> str:
        match = LlamaAtPaths.fits(model)
        assert not match.ok
        return match.why

    assert why(torch.nn.Linear(2, 2)) == "looked for class LlamaForCausalLM, found Linear"
    model.config.hidden_size = 9
    assert why(model) == "a LlamaForCausalLM of another width"
    # What is missing comes first: `unlike` may rely on it.
    del model.lm_head, model.model.norm
    assert why(model) == "a LlamaForCausalLM without model.norm, lm_head"


def test_a_hook_of_one_layout_leaves_a_subclass_with_its_own_loop_to_users_who_name_it(model: Any) -> None:
    for name in ("generate", "_sample"):
        model.__class__ = type("Mine", (transformers.LlamaForCausalLM,), {name: lambda self: None})
        match = LlamaAtPaths.fits(model)
        assert not match.ok and match.if_named and f"its own Mine.{name}" in match.why
