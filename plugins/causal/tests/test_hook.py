"""One generation as the hook sees it: rows, ends, padding, wrappers."""

from typing import Any

import numpy as np
import pytest
import torch
from sri_plugin_causal.hook import CausalHook
from sri_plugin_causal.stand_ins import example

import sri_sdk
from sri_sdk import ForwardCall, RunView
from sri_sdk.records import PADDING
from sri_sdk.structure import cache_argument, cache_of
from sri_sdk.testing import Check, hook_checks


@pytest.mark.parametrize("check", hook_checks(CausalHook.example, lazy=True), ids=str)
def test_the_example_keeps_every_promise_of_the_kit(check: Check) -> None:
    check()


@pytest.fixture
def model() -> Any:
    found = example.build()
    example.end_early(found, example.prompts())
    return found


def watched(model: Any, hook: CausalHook | None = None, **options: Any) -> tuple[Any, torch.Tensor]:
    encoded = example.prompts()
    with sri_sdk.watch(model, hook=hook or CausalHook(model)) as run:
        tokens = example.generate(model, encoded, **options)
    return run, tokens[:, encoded.input_ids.shape[1] :]


def lengths(tokens: torch.Tensor, end: int) -> list[int]:
    return [row.index(end) + 1 if end in row else len(row) for row in tokens.tolist()]


def test_rows_that_ended_are_padding_and_not_pooled(model: Any) -> None:
    end = model.generation_config.eos_token_id
    run, tokens = watched(model)
    expected = lengths(tokens, end)
    assert len(set(expected)) > 1
    assert [trace.steps for trace in run.traces] == expected
    assert not any(trace.reasons for trace in run.traces)


def test_end_tokens_given_only_to_the_call_count(model: Any) -> None:
    end = model.generation_config.eos_token_id
    model.generation_config.eos_token_id = None
    run, tokens = watched(model, eos_token_id=[end, 96])
    assert [trace.steps for trace in run.traces] == lengths(tokens, end)
    assert not any(trace.reasons for trace in run.traces)


def test_end_tokens_that_the_call_takes_away_do_not_count(model: Any) -> None:
    run, tokens = watched(model, eos_token_id=None)
    assert [trace.steps for trace in run.traces] == [example.TOKENS] * 3
    assert model.generation_config.eos_token_id in tokens
    assert not any(trace.reasons for trace in run.traces)


def test_an_end_token_inside_a_prompt_ends_nothing(model: Any) -> None:
    end = model.generation_config.eos_token_id
    prompt = torch.tensor([[5, end, 6, end]])
    with sri_sdk.watch(model, hook=CausalHook(model)) as run:
        model.generate(prompt, max_new_tokens=3, do_sample=False, eos_token_id=96)
    assert run.traces[0].steps == 3


def test_what_comes_back_as_a_dictionary_is_counted_too(model: Any) -> None:
    with sri_sdk.watch(model, hook=CausalHook(model)) as run:
        example.generate(model, example.prompts(), return_dict_in_generate=True, output_scores=True)
    assert not any(trace.reasons for trace in run.traces)


def test_a_request_alone_has_the_states_it_has_in_company(model: Any) -> None:
    together, _ = watched(model)
    encoded = example.prompts()
    for row, trace in enumerate(together.traces):
        prompt = encoded.input_ids[row][encoded.attention_mask[row].bool()][None]
        with sri_sdk.watch(model, hook=CausalHook(model)) as run:
            model.generate(prompt, max_new_tokens=example.TOKENS, do_sample=False, pad_token_id=example.PAD)
        assert run.traces[0].steps == trace.steps
        assert np.allclose(run.traces[0].phi, trace.phi, atol=1e-4)


def test_prompt_padding_belongs_to_nothing(model: Any) -> None:
    encoded, hook = example.prompts(), CausalHook(model)
    plan = hook.plan(ForwardCall(encoded.input_ids, {"attention_mask": encoded.attention_mask}), RunView(None))
    assert plan is not None
    assert plan.positions.tolist() == [
        [PADDING, PADDING, PADDING, -2, -1], [-5, -4, -3, -2, -1], [PADDING, PADDING, -3, -2, -1],
    ]  # fmt: skip


def test_padding_is_guessed_as_generate_guesses_it(model: Any) -> None:
    seen = []
    hook = CausalHook(model)
    inner = hook.plan
    hook.plan = lambda call, run: seen.append(inner(call, run)) or seen[-1]
    with sri_sdk.watch(model, hook=hook):
        # The prompt alone: which of its tokens are padding, generate() tells by their id.
        model.generate(example.prompts().input_ids, max_new_tokens=2, pad_token_id=example.PAD)
    assert (seen[0].positions[0] == PADDING).tolist() == [True, True, True, False, False]


def test_prompts_padded_on_the_right_are_unmonitored(model: Any) -> None:
    with sri_sdk.watch(model, hook=CausalHook(model)) as run:
        model.generate(
            torch.tensor([[5, 6, 0], [7, 8, 9]]), attention_mask=torch.tensor([[1, 1, 0], [1, 1, 1]]), max_new_tokens=2
        )
    assert all("hook_failed" in trace.reasons for trace in run.traces)
    assert "padded on the right" in str(run.failure)


@pytest.mark.parametrize("prompt", [[[5, 6, 7]], [[5]]], ids=["long", "one token"])
def test_a_second_generation_is_never_laid_on_the_first(model: Any, prompt: list[list[int]]) -> None:
    with sri_sdk.watch(model, hook=CausalHook(model)) as run:
        for _ in range(2):
            model.generate(torch.tensor(prompt), max_new_tokens=3, do_sample=False)
    assert "hook_failed" in run.traces[0].reasons
    assert "a second generation" in str(run.failure)


def test_a_second_prompt_of_one_token_in_a_loop_of_ones_own_is_told_by_its_empty_cache(model: Any) -> None:
    from transformers import DynamicCache

    with sri_sdk.watch(model, hook=CausalHook(model)) as run, torch.no_grad():
        for _ in range(2):
            cache = DynamicCache(config=model.config)
            for token in (5, 6, 7):
                model(torch.tensor([[token]]), use_cache=True, **{cache_argument(model): cache})
    assert "hook_failed" in run.traces[0].reasons


def test_a_loop_without_a_cache_is_unmonitored_and_says_why(model: Any) -> None:
    ids = torch.tensor([[5, 6]])
    with sri_sdk.watch(model, hook=CausalHook(model)) as run, torch.no_grad():
        for _ in range(2):
            token = model(ids, use_cache=False).logits[:, -1:].argmax(-1)
            ids = torch.cat([ids, token], dim=1)
    assert "hook_failed" in run.traces[0].reasons
    assert "use_cache=True" in str(run.failure)


def test_a_loop_that_begins_on_a_filled_cache_is_unmonitored(model: Any) -> None:
    with torch.no_grad():
        cache = cache_of(model(torch.tensor([[5, 6]]), use_cache=True))
        with sri_sdk.watch(model, hook=CausalHook(model)) as run:
            model(torch.tensor([[7]]), use_cache=True, **{cache_argument(model): cache})
    assert "continues a cache of 2 tokens" in str(run.failure)


def test_the_hook_is_found_by_itself_and_by_name() -> None:
    model = example.build()
    for name in (None, "causal"):
        with sri_sdk.watch(model, hook=name) as run:
            example.generate(model, example.prompts())
        assert run.why.startswith("CausalHook: class LlamaForCausalLM")
        assert not any(trace.reasons for trace in run.traces)


def test_under_a_lora_adapter_rows_and_counts_stay_right(model: Any) -> None:
    peft = pytest.importorskip("peft")
    plain, tokens = watched(model)
    # The adapter's second matrix is zero at first: same tokens, same states.
    wrapped = peft.get_peft_model(model, peft.LoraConfig(target_modules=["q_proj", "v_proj"])).eval()
    assert CausalHook.fits(wrapped).ok
    run, again = watched(wrapped)
    assert torch.equal(tokens, again)
    assert [trace.steps for trace in run.traces] == [trace.steps for trace in plain.traces]
    assert not any(trace.reasons for trace in run.traces)
    for before, after in zip(plain.traces, run.traces, strict=True):
        assert np.allclose(before.phi, after.phi, atol=1e-5)


def test_under_a_lora_adapter_padding_is_known_from_the_call(model: Any) -> None:
    peft = pytest.importorskip("peft")
    wrapped = peft.get_peft_model(model, peft.LoraConfig(target_modules=["q_proj"])).eval()
    hook, seen = CausalHook(wrapped), []
    inner = hook.plan
    hook.plan = lambda call, run: seen.append(inner(call, run)) or seen[-1]
    watched(wrapped, hook)
    assert (seen[0].positions[0] == PADDING).tolist() == [True, True, True, False, False]


def test_prompt_tuning_is_refused(model: Any) -> None:
    peft = pytest.importorskip("peft")
    wrapped = peft.get_peft_model(model, peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2))
    fit = CausalHook.fits(wrapped)
    assert not fit.ok and "before the prompt" in fit.why


def test_a_compiled_wrapper_is_watched_where_generate_goes_around_it(model: Any) -> None:
    compiled = torch.compile(model)
    assert CausalHook.fits(compiled).ok
    run, _ = watched(compiled)
    assert not any(trace.reasons for trace in run.traces)
