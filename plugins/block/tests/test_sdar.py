"""The SDAR hook on its structural double."""

import pytest
import sri_plugin_block.stand_ins.example as example
import torch
from sri_plugin_block.sdar import SdarHook
from sri_plugin_block.stand_ins.model import BlockConfig, SDARForCausalLM, build
from sri_plugin_block.stand_ins.sdar_sampler import block_diffusion_generate
from sri_plugin_block.stand_ins.tokens import MASK

import sri_sdk
from sri_sdk import registry
from sri_sdk.errors import ConfigError
from sri_sdk.records import PADDING, Encoded
from sri_sdk.testing import HookCase, hook_checks
from sri_sdk.testing._hook_case import observe

STRATEGIES = {"low_confidence_static": "low-confidence", "low_confidence_dynamic": "low-confidence",
              "sequential": "left-to-right"}  # fmt: skip


def never_ending(**options) -> HookCase:
    case = example.sdar_case(SdarHook, stopping_criteria_idx=None, confidence_threshold=0.6, **options)
    case.hook.model.generation_config.eos_token_id = []
    return case


def alone(case: HookCase, row: int = 0) -> Encoded:
    real = case.encoded.attention_mask[row].bool()
    return Encoded(case.encoded.input_ids[row][real][None], case.encoded.attention_mask[row][real][None])


@pytest.mark.parametrize("check", hook_checks(SdarHook.example, lazy=True), ids=str)
def test_the_hook_keeps_its_promises(check) -> None:
    check()


def test_only_this_hook_fits_and_it_says_why() -> None:
    model = build(SDARForCausalLM, BlockConfig(), 0)
    with sri_sdk.watch(model) as run:
        pass
    assert run.why == "SdarHook: class SDARForCausalLM, final norm at model.norm"
    del model.model.norm
    assert SdarHook.fits(model).why == "a SDARForCausalLM without model.norm"


def test_the_mixture_of_experts_is_of_the_family() -> None:
    class SDARMoeForCausalLM(SDARForCausalLM):
        pass

    assert SdarHook.fits(build(SDARMoeForCausalLM, BlockConfig(), 0)).ok


def test_the_first_block_holds_the_end_of_each_prompt_and_rows_are_numbered_by_their_own_columns() -> None:
    seen = observe(never_ending())
    _, first = seen.steps()[0]
    assert first.positions.tolist() == [[-3, -2, -1, 0], [-1, 0, 1, 2], [-1, 0, 1, 2]]
    assert first.shift == 0 and first.committed.sum() == 0
    _, last = seen.steps()[-1]
    assert last.positions[:, 0].tolist() == [13, 15, 15] and last.active.tolist() == [True, False, False]


def test_reading_the_prompt_and_storing_a_block_are_no_steps() -> None:
    case = never_ending(remasking_strategy="low_confidence_static")
    seen = observe(case, encoded=alone(case, 2))
    kinds = "".join("." if one.plan is None else "s" for one in seen.passes)
    assert kinds == ".sss.ssss.ssss.ssss."


def test_a_model_whose_arguments_nobody_saw_gives_the_same_traces() -> None:
    case = never_ending()
    own = alone(case, 1)
    around = lambda *args, **kwargs: case.hook.model.forward(*args, **kwargs)  # noqa: E731 - the root is bypassed
    with sri_sdk.watch(case.hook.model) as seen:
        case.generate(own)
    with sri_sdk.watch(case.hook.model) as unseen:
        block_diffusion_generate(
            around, {"input_ids": own.input_ids, "attention_mask": own.attention_mask}, MASK, gen_length=14,
            confidence_threshold=0.6,
        )  # fmt: skip
    assert unseen.failure is None
    assert (unseen.traces[0].phi == seen.traces[0].phi).all()


def test_the_end_is_known_once_the_tokens_are_handed_over(watched) -> None:
    case = SdarHook.example()
    width = case.encoded.input_ids.shape[1]
    with watched(case.hook) as silent:
        tokens = case.generate(case.encoded)
    assert {trace.reasons for trace in silent.traces} == {(), ("end_not_seen",)}
    with watched(case.hook) as run:
        run.returned(tokens := case.generate(case.encoded)[:, width:])
    assert (tokens == MASK).any(), "no row ended early"
    assert [trace.reasons for trace in run.traces] == [()] * 3


def test_tokens_behind_the_last_block_seen_are_missed(watched) -> None:
    case = never_ending()
    with watched(case.hook) as run:
        tokens = case.generate(alone(case, 2))
        run.returned(torch.cat([tokens, tokens.new_full((1, 4), 7)], 1))
    assert run.traces[0].reasons == ("end_not_seen",)


def test_a_second_generation_in_one_watch_is_not_trusted(caplog) -> None:
    case = never_ending()
    with sri_sdk.watch(case.hook.model) as run:
        case.generate(alone(case, 1))
        case.generate(alone(case, 1))
    assert run.traces[0].reasons == ("hook_failed",) and "one generation at a time" in run.failure


def test_a_generation_that_continues_a_cache_is_not_trusted(caplog) -> None:
    case = never_ending()
    from sri_plugin_block.stand_ins.caches import Cache

    cache, ids = Cache(), torch.full((1, 4), 7)
    case.hook.model(ids, past_key_values=cache, store_kv=True)
    with sri_sdk.watch(case.hook.model) as run:
        case.hook.model(ids, past_key_values=cache, store_kv=False)
    assert "the first pass continues a cache of 4 tokens" in run.failure


def test_transformers_own_generate_is_refused_with_the_name_of_the_right_one() -> None:
    class Borrowed(SDARForCausalLM):
        def generate(self):
            raise AssertionError("must not run")

    Borrowed.generate.__module__ = "transformers.generation.utils"
    Borrowed.__name__ = "SDARForCausalLM"
    model = build(Borrowed, BlockConfig(), 0)
    with pytest.raises(ConfigError, match="block_diffusion_generate"), sri_sdk.watch(model):
        model.generate()


def test_a_checkpoint_that_does_not_name_its_mask_says_what_to_do() -> None:
    model = build(SDARForCausalLM, BlockConfig(mask_token_id=None, block_size=None), 0)
    with pytest.raises(ConfigError, match=r"set.*mask_token_id|mask_token_id.*set"):
        SdarHook(model)
    hook = SdarHook(model, SdarHook.Config(source="x", mask_id=5))
    assert hook.mask_id() == 5
    with pytest.raises(ConfigError, match="block_size is not set"):
        hook.block_length()
    assert SdarHook(model, SdarHook.Config(source="x", mask_id=5, block=8)).block_length() == 8


@pytest.mark.parametrize("steps", [2, 4])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_our_samplers_write_the_familys_tokens(strategy: str, steps: int) -> None:
    case = never_ending(remasking_strategy=strategy, denoising_steps=steps)
    official = case.generate(case.encoded)[:, case.encoded.input_ids.shape[1] :]
    options = {"threshold": 0.6} if strategy.endswith("dynamic") else {}
    assert torch.equal(_driven(case, STRATEGIES[strategy], block_steps=steps, **options), official)


@pytest.mark.parametrize("pooling", ["response", "generated"])
def test_a_driven_generation_has_the_traces_of_the_familys_own(pooling: str) -> None:
    case = never_ending(remasking_strategy="low_confidence_static")
    with sri_sdk.watch(case.hook.model, pooling=pooling) as own:
        case.generate(case.encoded)
    with sri_sdk.watch(case.hook.model, pooling=pooling) as driven:
        _driven(case, "low-confidence", block_steps=4)
    for one, two in zip(own.traces, driven.traces, strict=True):
        # The driven one is done with its last token, the other with its last block. What a step committed is known from
        # the next pass only: the last step in common counts everything as committed.
        common = min(len(one.phi), len(two.phi)) - 1
        assert common >= 12
        assert abs(one.phi[:common] - two.phi[:common]).max() < 1e-5


def test_padding_and_company_change_no_driven_logits() -> None:
    case = never_ending()
    together = case.hook.forward(*_with_window(case.encoded)).logits
    for row in range(3):
        single = case.hook.forward(*_with_window(alone(case, row))).logits
        torch.testing.assert_close(together[row, -6:], single[0, -6:], atol=1e-5, rtol=1e-5)


def test_rows_behind_a_requests_own_block_belong_to_nothing() -> None:
    case = never_ending()
    seen = []
    inner = case.hook.plan
    vars(case.hook)["plan"] = lambda call, run: seen.append(inner(call, run)) or seen[-1]
    with sri_sdk.watch(case.hook.model, hook=case.hook):
        case.hook.forward(*_with_window(case.encoded))
    own = [[at for at in row if at != PADDING] for row in seen[0].positions.tolist()]
    assert own == [[-3, -2, -1, 0], [-1, 0, 1, 2], [-1, 0, 1, 2]]


def test_a_lora_model_is_watched_like_its_base() -> None:
    peft = pytest.importorskip("peft")
    case = never_ending()
    with sri_sdk.watch(case.hook.model) as base:
        case.generate(case.encoded)
    adapted = peft.PeftModel(case.hook.model, peft.LoraConfig(target_modules=["q_proj"], r=2))
    with sri_sdk.watch(adapted) as run:
        case.generate(case.encoded)
    assert SdarHook.fits(adapted).ok and SdarHook(adapted).final_norm() is case.hook.final_norm()
    assert [trace.steps for trace in run.traces] == [trace.steps for trace in base.traces] == case.steps
    assert abs(run.traces[0].phi - base.traces[0].phi).max() < 1e-5


def test_the_family_needs_leave_to_run_its_code_and_its_own_environment() -> None:
    with pytest.raises(ConfigError) as raised:
        SdarHook.load(SdarHook.Config(source="JetLM/SDAR-4B-Chat"))
    assert "transformers" in str(raised.value) or "trust_remote_code" in str(raised.value)


def _driven(case: HookCase, name: str, **options) -> torch.Tensor:
    sampler = registry.build("samplers", name, {"tokens": 14, "steps": 40, **options})
    with torch.inference_mode():
        *_, last = sampler.steps(case.hook, case.encoded, ["a", "b", "c"])
    return last.draft


def _with_window(encoded: Encoded) -> tuple[torch.Tensor, torch.Tensor]:
    window = encoded.input_ids.new_full((len(encoded.input_ids), 6), MASK)
    return (
        torch.cat([encoded.input_ids, window], 1),
        torch.cat([encoded.attention_mask, torch.ones_like(window)], 1),
    )
