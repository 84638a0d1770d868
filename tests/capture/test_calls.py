"""The model's own generation methods under watch: looked at before they run, handed over when they end, put back."""

import threading
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from sri_plugin_lab.hooks import LabCausalHook
from sri_plugin_lab.models import load, load_tokenizer
from sri_plugin_toy.hook import ToyHook

import sri_sdk
from sri_sdk.errors import ConfigError
from sri_sdk.records import RunView

from .conftest import Toy, toy_prompts


@pytest.fixture(scope="module")
def causal():
    model, tokenizer = load("causal"), load_tokenizer()
    encoded = LabCausalHook(model).encode(tokenizer, ["how do i steal the kite of the baker ?"])
    return model, {"input_ids": encoded.input_ids, "attention_mask": encoded.attention_mask}


class Choosy(ToyHook):
    """Refuses prompts of three rows, and notes what it saw."""

    def on_call(self, call: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], run: RunView) -> None:
        if len(kwargs["input_ids"]) == 3:
            raise ConfigError("three rows cannot be watched")
        run.memory["asked"] = call


def test_what_cannot_be_watched_is_refused_before_anything_is_generated(toy: Toy) -> None:
    model, hook = toy.loaded.model, Choosy(toy.loaded.model)
    with pytest.raises(ConfigError, match="three rows"), sri_sdk.watch(model, hook=hook) as run:
        model.generate(**toy.inputs(toy_prompts(3)))
    assert run._view.forwards == 0 and run.traces[0].reasons[0] == "interrupted"


def test_after_a_refusal_the_same_model_generates_as_before(toy: Toy) -> None:
    model, hook = toy.loaded.model, Choosy(toy.loaded.model)
    inputs = toy.inputs(toy_prompts(2))
    alone = model.generate(**inputs)
    with sri_sdk.watch(model, hook=hook) as run:
        with pytest.raises(ConfigError):
            model.generate(**toy.inputs(toy_prompts(3)))
        assert torch.equal(model.generate(**inputs), alone)
    assert [trace.reasons for trace in run.traces] == [(), ()]


def test_the_method_is_as_it_was_once_the_block_has_ended(toy: Toy) -> None:
    model = toy.loaded.model
    before = model.generate
    with sri_sdk.watch(model):
        assert "generate" in vars(model)
        with sri_sdk.watch(model):
            pass
        assert "generate" in vars(model)
    assert "generate" not in vars(model) and model.generate == before


def test_a_method_bound_to_the_object_is_put_back(toy: Toy) -> None:
    model = toy.loaded.model
    own = type(model).generate.__get__(model)
    model.generate = own
    with sri_sdk.watch(model) as run:
        model.generate(**toy.inputs(toy_prompts(1)))
    assert vars(model)["generate"] is own
    assert run.traces[0].steps == 8


def test_an_error_of_the_method_comes_through_and_leaves_the_next_call_usable(toy: Toy) -> None:
    model = toy.loaded.model
    with sri_sdk.watch(model) as run:
        with pytest.raises(TypeError):
            model.generate(tokens=3)
        model.generate(**toy.inputs(toy_prompts(1)))
    assert run.traces[0].reasons == ()


def test_what_generate_returns_is_handed_over(causal) -> None:
    model, inputs = causal
    with sri_sdk.watch(model, hook="lab-causal") as run:
        tokens = model.generate(**inputs, max_new_tokens=48, do_sample=False)
    (trace,) = run.traces
    assert trace.expected == trace.steps == int((tokens[0, inputs["input_ids"].shape[1] :] != 0).sum())


def test_an_output_object_is_handed_over_too(causal) -> None:
    model, inputs = causal
    with sri_sdk.watch(model, hook="lab-causal") as run:
        model.generate(**inputs, max_new_tokens=48, do_sample=False, return_dict_in_generate=True)
    assert run.traces[0].expected == run.traces[0].steps


def test_rows_that_do_not_match_are_noticed_in_what_generate_returns(causal) -> None:
    model, inputs = causal
    with sri_sdk.watch(model, hook="lab-causal") as run:
        model.generate(**inputs, max_new_tokens=6, do_sample=False, num_beams=3, num_return_sequences=1)
    assert "rows_differ" in run.traces[0].reasons


def test_a_watch_in_another_thread_is_not_asked(toy: Toy) -> None:
    model = toy.loaded.model
    seen: list[Any] = []

    def other() -> None:
        seen.append(model.generate(**toy.inputs(toy_prompts(3))))

    with sri_sdk.watch(model, hook=Choosy(model)) as run:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        model.generate(**toy.inputs(toy_prompts(1)))
    assert len(seen[0]) == 3 and run.traces[0].steps == 8
    # The hook was not asked, but passes that no watch owns might have been this generation's own.
    assert run.traces[0].reasons == ("end_not_seen",) and "other threads or contexts" in run.failure


def test_it_says_which_hook_watches_and_why(toy: Toy) -> None:
    with sri_sdk.watch(toy.loaded.model) as run:
        toy.loaded.model.generate(**toy.inputs(toy_prompts(1)))
    assert run.why == "ToyHook: class ToyModel with embed, blocks, norm and head"
