"""The hook of autoregressive decoding and of self-speculation, on the stand-in."""

import numpy as np
import pytest
import torch
from sri_plugin_nemotron_labs.left_to_right import NemotronLabsArHook
from sri_plugin_nemotron_labs.stand_ins.example import one_by_one_case, prompt, speculation_case
from sri_plugin_nemotron_labs.stand_ins.model import build

import sri_sdk
from sri_sdk import registry
from sri_sdk.errors import ConfigError, ConformanceError
from sri_sdk.records import PADDING
from sri_sdk.testing import hook_checks
from sri_sdk.testing._hook_case import observe
from sri_sdk.testing.check import run_checks

SEEDS = range(6)


@pytest.mark.parametrize("check", hook_checks(NemotronLabsArHook.example, lazy=True), ids=str)
def test_the_hook_keeps_its_promises_where_drafts_are_verified(check) -> None:
    check()


@pytest.mark.parametrize(
    "make",
    [
        lambda: one_by_one_case(NemotronLabsArHook),
        lambda: speculation_case(NemotronLabsArHook, threshold=0.5),
        lambda: speculation_case(NemotronLabsArHook, block_length=1),
    ],
    ids=["one by one", "drafts of several passes", "blocks of one"],
)
def test_it_keeps_them_the_other_ways(make) -> None:
    assert [result for result in run_checks(hook_checks(make)) if result.state != "passed"] == []


def generate(model, method: str, ids=None, hook="nemotron-labs-ar", **options):
    ids = prompt().input_ids if ids is None else ids
    with sri_sdk.watch(model, hook=hook) as run:
        tokens = getattr(model, method)(ids, **options)[0]
    return run, tokens


@pytest.mark.parametrize("pooling", ["predicting", "generated"])
@pytest.mark.parametrize("seed", SEEDS)
def test_verified_drafts_give_the_trace_of_the_same_tokens_decoded_one_by_one(seed: int, pooling: str) -> None:
    model = build(seed, eos_token_id=None)
    hook, ids = NemotronLabsArHook(model), prompt().input_ids
    with sri_sdk.watch(model, hook=hook, pooling=pooling) as drafted:
        tokens, passes = model.linear_spec_generate(ids, max_new_tokens=14, block_length=5)
    with sri_sdk.watch(model, hook=hook, pooling=pooling) as plain:
        same, _ = model.ar_generate(ids, max_new_tokens=tokens.shape[1] - ids.shape[1])
    one, other = drafted.traces[0], plain.traces[0]
    assert torch.equal(tokens, same) and passes > 10
    assert (one.steps, one.reasons) == (other.steps, other.reasons) == (tokens.shape[1] - ids.shape[1], ())
    np.testing.assert_allclose(one.phi, other.phi, atol=1e-5)


def test_what_was_rejected_never_counts() -> None:
    seen = [observe(speculation_case(NemotronLabsArHook, seed=seed)) for seed in SEEDS]
    verified = [one for each in seen for one in each.passes if one.plan is not None and one.plan.tentative]
    kept = [one.accepted for one in verified]
    # Blocks of five, of which all was kept now and then, and mostly not.
    assert {1, 2, 3, 5} <= set(kept) and sum(kept) < 5 * len(kept) / 2
    assert sum(each.run.traces[0].steps for each in seen) == sum(kept) + len(seen)


def test_an_end_token_in_the_middle_of_a_verified_block_ends_the_steps() -> None:
    model = build(1, eos_token_id=None)
    _, tokens = generate(model, "linear_spec_generate", max_new_tokens=14, block_length=5)
    answer = tokens[0, 7:].tolist()
    at = next(at for at in range(11, 15) if answer[at] not in answer[:at])
    run, cut = generate(model, "linear_spec_generate", max_new_tokens=14, block_length=5, eos_token_id=answer[at])
    assert cut.shape[1] == 7 + at + 1
    assert (run.traces[0].steps, run.traces[0].expected, run.traces[0].reasons) == (at + 1, at + 1, ())


@pytest.mark.parametrize("horizon", [1, 3, 4, 9])
def test_a_guard_that_judges_the_first_steps_sees_them_alone_and_counts_the_others(horizon: int) -> None:
    from sri_sdk.capture.run import Run
    from sri_sdk.capture.settings import WatchSettings
    from sri_sdk.capture.tap import tap_of

    model = build(1, eos_token_id=None)
    hook = NemotronLabsArHook(model)
    run = Run(hook, WatchSettings("predicting", ("final",), None, budget=horizon, keep_states=True, horizon=horizon))
    tap = tap_of(model)
    with tap.installed(hook, run), tap.owned_by(run):
        tokens, _ = model.linear_spec_generate(prompt().input_ids, max_new_tokens=14, block_length=5)
    run.finish()
    plain, _ = generate(model, "ar_generate", max_new_tokens=tokens.shape[1] - 7)
    np.testing.assert_allclose(run.traces[0].phi, plain.traces[0].phi[:horizon], atol=1e-5)
    assert run.traces[0].steps == tokens.shape[1] - 7 and run.traces[0].reasons == ()


def test_a_loop_outside_the_model_says_what_it_returned() -> None:
    """As loops around the published encoder do it: nothing but passes shows, and the tokens in the end."""
    model = build(2, eos_token_id=None)
    method = type(model).linear_spec_generate
    with sri_sdk.watch(model, hook="nemotron-labs-ar") as silent:
        method(model, prompt().input_ids, max_new_tokens=14, block_length=5)
    with sri_sdk.watch(model, hook="nemotron-labs-ar") as run:
        tokens = run.returned(method(model, prompt().input_ids, max_new_tokens=14, block_length=5)[0])
    assert run.traces[0].steps == tokens.shape[1] - 7 and run.traces[0].reasons == ()
    # Of the last block nobody said how much was kept.
    assert silent.traces[0].steps < run.traces[0].steps and "incomplete_coverage" in silent.traces[0].reasons


def test_a_batch_of_prompts_of_one_length_is_watched_and_ends_row_by_row() -> None:
    model, ids = build(7, eos_token_id=None), prompt(rows=3).input_ids
    _, tokens = generate(model, "ar_generate", ids, max_new_tokens=10)
    said = tokens[:, 7:].tolist()
    end = next(token for token in said[0][2:6] if token not in said[1] + said[2])
    run, tokens = generate(model, "ar_generate", ids, max_new_tokens=10, eos_token_id=end)
    assert [trace.steps for trace in run.traces] == [said[0].index(end) + 1, 10, 10]
    assert all(trace.reasons == () for trace in run.traces)


def test_it_must_be_named_for_a_checkpoint_that_diffuses() -> None:
    fit = NemotronLabsArHook.fits(build())
    assert not fit.ok and fit.if_named
    assert "name this hook to watch ar_generate or linear_spec_generate" in fit.why
    assert NemotronLabsArHook.fits(build(dlm_paradigm="autoregressive")).ok


def test_block_diffusion_is_refused_with_the_name_of_the_right_hook() -> None:
    with pytest.raises(ConfigError, match=r"generate\(\): hook nemotron-labs-ar reads tokens.*hook='nemotron-labs'"):
        generate(build(), "generate", max_new_tokens=8, block_length=4)


def test_an_encoder_whose_arguments_nobody_sees_is_unmonitored_and_says_why(caplog) -> None:
    model = build(0, eos_token_id=None)
    inner = type(model.encoder).forward
    hook = NemotronLabsArHook(model)
    with sri_sdk.watch(model, hook=hook) as run, torch.no_grad():
        model._switch(False)
        inner(model.encoder, prompt().input_ids)
    assert run.traces[0].reasons[0] == "hook_failed" and "arguments cannot be seen" in run.failure


def test_our_sampler_writes_the_tokens_of_ar_generate_for_padded_prompts() -> None:
    model = build(0, eos_token_id=2)
    hook = NemotronLabsArHook(model)
    rows = [prompt(length).input_ids[0] for length in (4, 7, 9)]
    ids = torch.stack([torch.cat([row.new_zeros(9 - len(row)), row]) for row in rows])
    mask = torch.stack([(torch.arange(9) >= 9 - len(row)).long() for row in rows])
    model._switch(True)
    sampler = registry.build("samplers", "autoregressive", {"tokens": 8})
    with torch.inference_mode(), sri_sdk.watch(model, hook=hook) as run:
        *_, last = sampler.steps(hook, sri_sdk.Encoded(ids, mask), ["a", "b", "c"])
    assert run.failure is None
    assert all(layer.self_attn.diffusion_lm for layer in model.encoder.layers), "the switch stays turned"
    for row, alone in enumerate(rows):
        tokens = model.ar_generate(alone[None], max_new_tokens=8)[0][0, len(alone) :]
        assert last.draft[row, : len(tokens)].tolist() == tokens.tolist()


def test_drafts_with_an_adapter_that_is_on_for_them_alone_change_no_step() -> None:
    peft = pytest.importorskip("peft")
    plain, _ = generate(build(2, eos_token_id=None), "ar_generate", max_new_tokens=12)
    model = peft.PeftModel(
        build(2, eos_token_id=None), peft.LoraConfig(target_modules=["o_proj"], r=2)
    ).base_model.model
    for layer in model.encoder.layers:
        torch.nn.init.normal_(layer.self_attn.o_proj.lora_B["default"].weight)
    run, tokens = generate(model, "linear_spec_generate", max_new_tokens=12, block_length=5)
    common = min(len(run.traces[0].phi), len(plain.traces[0].phi))
    assert run.failure is None and tokens.shape[1] >= 19
    np.testing.assert_allclose(run.traces[0].phi[:common], plain.traces[0].phi[:common], atol=1e-5)


class CountsAllThatWasVerified(NemotronLabsArHook):
    def accepted_rows(self, run, tokens=None):
        return None if super().accepted_rows(run, tokens) is None else 5


class CountsOneTooFew(NemotronLabsArHook):
    def accepted_rows(self, run, tokens=None):
        kept = super().accepted_rows(run, tokens)
        return kept and max(kept - 1, 0)


class CountsDrafts(NemotronLabsArHook):
    def plan(self, call, run):
        made = super().plan(call, run)
        if made is None:
            here = torch.full_like(call.input_ids, PADDING)
            here[:, 0] = run.memory.get("verified", 0)
            return sri_sdk.StepPlan(here, shift=1)
        return made


@pytest.mark.parametrize("fault", [CountsAllThatWasVerified, CountsOneTooFew, CountsDrafts])
def test_a_planted_fault_is_found(fault) -> None:
    check = next(each for each in hook_checks(fault.example) if each.name == "steps-counted")
    with pytest.raises(ConformanceError):
        check()
