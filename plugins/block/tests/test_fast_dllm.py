"""The Fast-dLLM v2 hook on its structural double."""

import os
import types

import pytest
import sri_plugin_block.stand_ins.example as example
import torch
from sri_plugin_block.fast_dllm import FastDllmHook
from sri_plugin_block.stand_ins.fast_dllm_sampler import Counts, batch_sample
from sri_plugin_block.stand_ins.model import Fast_dLLM_QwenForCausalLM, FastConfig, build
from sri_plugin_block.stand_ins.tokens import MASK

import sri_sdk
from sri_sdk import registry
from sri_sdk.errors import ConfigError
from sri_sdk.testing import HookCase, hook_checks
from sri_sdk.testing._hook_case import observe

NEVER = -5
"""A stop token that no model says."""


def single(length: int = 11, **options) -> HookCase:
    """The family's own `generate`, which takes prompts of one length."""
    model = build(Fast_dLLM_QwenForCausalLM, FastConfig(), 0)
    encoded = example.prompts(length)

    def generate(given, counts=None):
        settings = {"threshold": 0.9, "stop_token": NEVER, **options}
        return model.generate(given.input_ids, 24, counts=counts, **settings)[0]

    counts = Counts()
    generate(encoded, counts)
    return HookCase(FastDllmHook(model), encoded, generate, steps=counts.steps[0], batched=False)


@pytest.mark.parametrize("check", hook_checks(FastDllmHook.example, lazy=True), ids=str)
def test_the_hook_keeps_its_promises_with_the_sampler_for_batches(check) -> None:
    check()


LENGTHS = [(5, True), (11, False), (16, True)]
if "SRI_WHOLE_KIT" in os.environ:
    LENGTHS += [(length, not block_cache) for length, block_cache in LENGTHS]
"""Less than a block, in the middle of one, and at its end; each with and without the cache in `make faults`."""


@pytest.mark.parametrize(("length", "block_cache"), LENGTHS)
def test_the_hook_keeps_its_promises_with_the_models_own_generate(length: int, block_cache: bool) -> None:
    for check in hook_checks(lambda: single(length, use_block_cache=block_cache)):
        check()


def test_only_this_hook_fits_and_it_says_why() -> None:
    with sri_sdk.watch(build(Fast_dLLM_QwenForCausalLM, FastConfig(), 0)) as run:
        pass
    assert run.why == "FastDllmHook: class Fast_dLLM_QwenForCausalLM, final norm at model.norm"


def test_reading_the_prompt_and_storing_a_block_are_no_steps_although_the_latter_gives_a_token() -> None:
    case = single(16, threshold=2.0)
    seen = observe(case)
    assert "".join("." if one.plan is None else "s" for one in seen.passes) == "." + ("s" * 7 + ".") * 3
    first, second = (plan for index, plan in seen.steps() if index in (1, 9))
    # The pass before gave position 0, and later position 8: both are filled in when their block is first shown.
    assert first.positions.tolist()[0][0] == 0 and first.committed[0].nonzero()[:, 0].tolist() == [0]
    assert second.positions.tolist()[0][0] == 8 and second.committed[0, :9].all()


def test_a_pass_over_a_sub_block_is_placed_where_it_is() -> None:
    seen = observe(single(11, use_block_cache=True))
    parts = [plan.positions[0].tolist() for _, plan in seen.steps() if plan.positions.shape[1] == 4]
    assert parts and all(part[0] % 4 == (-11) % 4 for part in parts)


def test_the_end_of_the_models_own_generate_is_seen(watched) -> None:
    for length in (5, 16):
        case = single(length)
        with watched(case.hook) as run:
            tokens = case.generate(case.encoded)
        assert tokens.shape[1] % 8 == 1, "the last token comes from the pass that stores the last block"
        assert run.traces[0].reasons == ()


def test_a_stop_token_ends_it_early_and_that_is_seen(watched) -> None:
    free = single(11)
    stop = int(free.generate(free.encoded)[0, 11 + 9])
    case = single(11, stop_token=stop)
    with watched(case.hook) as run:
        tokens = case.generate(case.encoded)
    assert int(tokens[0, -1]) == stop and run.traces[0].steps == case.steps < free.steps
    assert run.traces[0].reasons == ()


def test_rows_that_have_ended_leave_the_batch_and_the_others_keep_their_request() -> None:
    case = FastDllmHook.example()
    seen = observe(case)
    smaller = [plan for _, plan in seen.steps() if len(plan.positions) == 2]
    assert smaller, "no row left the batch"
    assert smaller[0].rows.tolist() == [0, 0, 1] and not smaller[0].active[0]
    assert [trace.steps for trace in seen.run.traces] == case.steps


def test_the_sampler_for_batches_hands_over_its_tokens_by_hand(watched) -> None:
    model = build(Fast_dLLM_QwenForCausalLM, FastConfig(), 0)
    model.mdm_sample = types.MethodType(batch_sample, model)
    encoded, lengths = example.prompts(5, 11, 19), [5, 11, 19]
    rows = [row[real.bool()] for row, real in zip(encoded.input_ids, encoded.attention_mask, strict=True)]
    text = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=MASK)
    hook = FastDllmHook(model)
    with watched(hook) as run:
        done = model.mdm_sample(text, None, 8, 16, 4, 5, torch.tensor(lengths), stop_token=NEVER)
        responses = run.returned(hook.responses(done, lengths))
    assert responses.shape == (3, 28) and (responses[2, 14:] == -1).all()
    assert [trace.reasons for trace in run.traces] == [()] * 3


def test_a_sampler_called_as_a_function_is_watched_where_its_start_can_be_told(caplog) -> None:
    model = build(Fast_dLLM_QwenForCausalLM, FastConfig(), 0)
    common = {"tokenizer": None, "block_size": 8, "max_new_tokens": 16, "small_block_size": 4, "stop_token": NEVER}

    def run_of(*lengths: int) -> sri_sdk.capture.run.Run:
        ids = example.prompts(*lengths).input_ids
        own = {"min_len": min(lengths), "seq_len": torch.tensor(lengths)}
        with sri_sdk.watch(model) as run:
            batch_sample(model, ids, **own, **common)
        return run

    assert run_of(11).failure is None
    # The first token of the first block: the prompt's last, or the response's first?
    assert "cannot be told" in run_of(16).failure and "cannot be told" in run_of(11, 11).failure


def test_a_second_call_in_one_watch_is_not_trusted(caplog) -> None:
    case = single()
    with sri_sdk.watch(case.hook.model) as run:
        case.generate(case.encoded)
        case.generate(case.encoded)
    assert run.traces[0].reasons == ("hook_failed",) and "one generation at a time" in run.failure


def test_a_call_that_continues_an_earlier_one_is_refused() -> None:
    class Continued(Fast_dLLM_QwenForCausalLM):
        def generate(self, input_ids, max_new_tokens, **kwargs):
            raise AssertionError("must not run")

    model = build(Continued, FastConfig(), 0)
    with (
        pytest.raises(ConfigError, match="continues an earlier call"),
        sri_sdk.watch(model, hook="fast-dllm-v2"),
    ):
        model.generate(torch.ones(1, 3).long(), 8, past_key_values=object())


def test_the_mask_is_the_default_of_the_models_own_method_unless_the_config_names_one() -> None:
    model = build(Fast_dLLM_QwenForCausalLM, FastConfig(), 0)
    assert FastDllmHook(model).mask_id() == MASK
    model.config = types.SimpleNamespace(**model.config.to_dict(), mask_token_id=7)
    assert FastDllmHook(model).mask_id() == 7


def test_our_left_to_right_sampler_writes_the_tokens_of_sub_blocks_of_one() -> None:
    case = example.fast_case(FastDllmHook, small_block_size=1, threshold=2.0, stop_token=NEVER)
    official = case.generate(case.encoded)
    case.hook.model.generation_config.eos_token_id = []
    sampler = registry.build("samplers", "left-to-right", {"tokens": 16, "steps": 40, "block_steps": 8})
    with torch.inference_mode():
        *_, last = sampler.steps(case.hook, case.encoded, ["a", "b", "c"])
    assert ((last.draft == official) | (official == -1)).all()
    assert (official != -1).sum(1).tolist() == [16, 16, 14]


def test_a_driven_pass_has_the_states_of_the_familys_own() -> None:
    case = single(11, threshold=2.0, small_block_size=8)
    with sri_sdk.watch(case.hook.model) as own:
        tokens = case.generate(case.encoded)
    with sri_sdk.watch(case.hook.model) as driven, torch.inference_mode():
        # The first block: four steps fill what the prompt has left of it.
        case.hook.forward(torch.cat([case.encoded.input_ids, torch.full((1, 5), MASK)], 1))
        # The second, whose first token the family's own pass knows already.
        case.hook.forward(torch.cat([tokens[:, :17], torch.full((1, 7), MASK)], 1))
    assert abs(own.traces[0].phi[0] - driven.traces[0].phi[0]).max() < 1e-5
    assert abs(own.traces[0].phi[5] - driven.traces[0].phi[1]).max() < 1e-5


def test_padding_and_company_change_no_driven_logits() -> None:
    hook = FastDllmHook(build(Fast_dLLM_QwenForCausalLM, FastConfig(), 0))
    encoded = example.prompts(5, 11, 19)
    window = torch.full((3, 9), MASK)
    mask = torch.cat([encoded.attention_mask, torch.ones_like(window)], 1)
    together = hook.forward(torch.cat([encoded.input_ids, window], 1), mask).logits
    for row, length in enumerate((5, 11, 19)):
        own = torch.cat([encoded.input_ids[row : row + 1, 19 - length :], window[:1]], 1)
        torch.testing.assert_close(hook.forward(own).logits[0], together[row, 19 - length :], atol=1e-5, rtol=1e-5)


def test_a_lora_model_is_watched_like_its_base() -> None:
    peft = pytest.importorskip("peft")
    case = single(16)
    with sri_sdk.watch(case.hook.model) as base:
        tokens = case.generate(case.encoded)
    adapted = peft.PeftModel(case.hook.model, peft.LoraConfig(target_modules=["q_proj"], r=2))
    with sri_sdk.watch(adapted) as run:
        again = adapted.generate(case.encoded.input_ids, 24, threshold=0.9, stop_token=NEVER)[0]
    assert torch.equal(tokens, again) and run.failure is None
    assert run.traces[0].steps == base.traces[0].steps == case.steps


def test_the_family_needs_leave_to_run_its_code_or_another_release() -> None:
    with pytest.raises(ConfigError, match=r"transformers|trust_remote_code"):
        FastDllmHook.load(FastDllmHook.Config(source="Efficient-Large-Model/Fast_dLLM_v2_7B"))
