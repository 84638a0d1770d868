"""The hook on the structural double: what it says of each pass of Dream's own sampler."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sri_plugin_dream.hook import DreamHook
from sri_plugin_dream.stand_ins.model import END, MASK, DreamConfig, DreamModel, Settings, build

import sri_sdk
from sri_sdk import ForwardCall, RunView
from sri_sdk.testing import HookCase, hook_checks

from .conftest import ATTENTION, IDS, STEPS, TOKENS, generate, watched

RULES = ("origin", "maskgit_plus", "topk_margin", "entropy")


@pytest.mark.parametrize("check", hook_checks(DreamHook.example, lazy=True), ids=str)
def test_it_keeps_the_promises_of_a_hook(check: Callable[[], None]) -> None:
    check()


# -- which models ----------------------------------------------------------------------------------------------------


def test_it_is_the_only_installed_hook_that_fits(model: DreamModel) -> None:
    with sri_sdk.watch(model) as run:
        generate(model)
    assert run.why == "DreamHook: class DreamModel, final norm at model.norm"


def test_a_subclass_fits_too() -> None:
    assert DreamHook.fits(build(0, type("DiffuCoder", (DreamModel,), {}))).ok


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (lambda: torch.nn.Linear(2, 2), "looked for class DreamModel, found Linear"),
        (lambda: type("DreamModel", (torch.nn.Module,), {})(), "a DreamModel without model.embed_tokens"),
        (lambda: build(0, config=replace(DreamConfig(), mask_token_id=None)), "without mask_token_id"),
    ],
    ids=["another class", "another structure", "no mask token"],
)
def test_what_it_does_not_fit_is_told_why(broken: Callable[[], Any], why: str) -> None:
    fit = DreamHook.fits(broken())
    assert not fit.ok and why in fit.why


# -- every pass is a step --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alg", RULES)
@pytest.mark.parametrize("alg_temp", [None, 0.5])
def test_every_pass_of_every_rule_is_a_step(model: DreamModel, alg: str, alg_temp: float | None) -> None:
    alone = generate(model, alg=alg, alg_temp=alg_temp)
    seen = watched(model, alg=alg, alg_temp=alg_temp)
    assert torch.equal(seen.output, alone)
    assert seen.steps == [STEPS] * 3 and not seen.reasons


def test_a_row_that_chance_filled_early_has_as_many_steps_as_the_others(model: DreamModel) -> None:
    seen = watched(model, alg="origin", max_new_tokens=2)
    full = [bool(plan.committed.all(1).any()) for plan in seen.plans]
    assert any(full), "the seed fills no row early: this test says nothing"
    assert seen.steps == [STEPS] * 3 and not seen.reasons


def test_reading_a_text_without_masks_is_no_step_before_or_after_a_generation(model: DreamModel) -> None:
    finished = generate(model)
    with sri_sdk.watch(model) as run:
        model(finished)
        generate(model)
        model(finished)
        model(finished[:1, :7])
    assert [trace.steps for trace in run.traces] == [STEPS] * 3 and run.failure is None


def test_a_second_generation_in_one_watch_is_noticed(model: DreamModel) -> None:
    alone = generate(model)
    with sri_sdk.watch(model) as run:
        generate(model)
        assert torch.equal(generate(model), alone)
    assert "hook_failed" in run.traces[0].reasons and "one generation at a time" in run.failure


def test_a_call_that_fails_leaves_the_next_one_usable(model: DreamModel) -> None:
    with sri_sdk.watch(model) as run:
        with pytest.raises(TypeError):
            model.diffusion_generate()
        with pytest.raises(TypeError):
            generate(model, steps="many")
        generate(model)
    assert [trace.steps for trace in run.traces] == [STEPS] * 3 and run.failure is None


def test_a_function_of_the_user_that_runs_the_model_is_noticed(model: DreamModel) -> None:
    def guided(step: int, x: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        return logits + 0.1 * model(torch.full_like(x, MASK)).logits

    seen = watched(model, generation_logits_hook_func=guided)
    assert seen.reasons == {"hook_failed"} and "runs the model too" in seen.run.failure


def test_the_number_of_steps_is_part_of_the_profile(model: DreamModel) -> None:
    assert DreamHook(model).expected_steps(32) == 32


# -- which rows ------------------------------------------------------------------------------------------------------


def test_the_last_prompt_row_predicts_the_first_response_token(model: DreamModel) -> None:
    plan = watched(model).plans[0]
    width = IDS.shape[1]
    assert plan.shift == 1 and plan.canvas == TOKENS and plan.span == (width - 1, width + TOKENS - 1)
    assert plan.positions[0].tolist() == list(range(-width, TOKENS))


def test_the_span_and_the_positions_name_the_same_rows(model: DreamModel) -> None:
    for plan in watched(model).plans:
        target = plan.positions + plan.shift
        named = ((target >= 0) & (target < plan.canvas)).nonzero()[:, 1].view(3, -1)
        assert named.tolist() == [list(range(*plan.span))] * 3


def test_padding_beside_a_prompt_changes_nothing(model: DreamModel) -> None:
    together = watched(model)
    for row in range(3):
        ids = IDS[row, ATTENTION[row].bool()][None]
        single = watched(model, ids, torch.ones_like(ids))
        assert torch.equal(single.output[0, ids.shape[1] :], together.output[row, IDS.shape[1] :])
        assert np.allclose(single.run.traces[0].phi, together.run.traces[row].phi, atol=1e-5)


def test_masks_in_the_prompt_are_no_part_of_the_response_and_are_named(model: DreamModel) -> None:
    ids = torch.tensor([[21, 22, MASK, 24, MASK]])
    seen = watched(model, ids, torch.ones_like(ids))
    assert seen.plans[0].canvas == TOKENS and seen.steps == [STEPS] and seen.run.failure is None
    assert seen.reasons == {"special_token_in_prompt"}
    assert not (seen.output == MASK).any()


def test_what_the_user_writes_into_the_canvas_counts_as_committed_from_the_start(model: DreamModel) -> None:
    def ending(step: int | None, x: torch.Tensor, logits: torch.Tensor | None) -> torch.Tensor:
        x[:, -3:] = torch.tensor([7, 8, 9])
        return x

    seen = watched(model, generation_tokens_hook_func=ending)
    assert seen.plans[0].canvas == TOKENS
    assert seen.plans[0].committed.tolist() == [[False] * 9 + [True] * 3] * 3
    assert seen.steps == [STEPS] * 3 and not seen.reasons


def test_what_the_user_masks_again_is_open_again(model: DreamModel) -> None:
    def forgetful(step: int | None, x: torch.Tensor, logits: torch.Tensor | None) -> torch.Tensor:
        if step == 3:
            x[:, -TOKENS:] = MASK
        return x

    seen = watched(model, generation_tokens_hook_func=forgetful)
    counts = [int(plan.committed.sum()) for plan in seen.plans]
    assert counts[3] > 0 == counts[4] and counts[5] > 0
    assert seen.plans[3].committed.any(), "the plan of an earlier step was changed"
    assert seen.steps == [STEPS] * 3 and not seen.reasons


def test_the_mask_and_the_end_can_come_with_the_call(model: DreamModel) -> None:
    model.config = replace(model.config, mask_token_id=MASK)
    seen = watched(model, mask_token_id=62, eos_token_id=[40, 41])
    assert not seen.plans[0].committed.any() and seen.steps == [STEPS] * 3
    assert DreamHook(model).lengths(torch.tensor([[5, 41, 6]]), seen.run._view) == [2]
    settings = Settings(steps=4, max_new_tokens=TOKENS, mask_token_id=62)
    with sri_sdk.watch(model) as run:
        model.diffusion_generate(IDS, settings, attention_mask=ATTENTION)
    assert [trace.steps for trace in run.traces] == [4] * 3 and run.failure is None


def test_a_response_that_ends_in_the_middle_is_watched_to_the_end_of_the_canvas(model: DreamModel) -> None:
    rows = generate(model)[:, IDS.shape[1] :].tolist()
    end = next(token for token in rows[0][2:-2] if token not in rows[2])
    model = build(0, config=replace(DreamConfig(), eos_token_id=end))
    seen = watched(model)
    lengths = DreamHook(model).lengths(seen.output[:, IDS.shape[1] :], seen.run._view)
    assert lengths[0] < lengths[2] == TOKENS
    assert seen.steps == [STEPS] * 3 and not seen.reasons


def test_an_output_with_a_history_is_understood(model: DreamModel) -> None:
    seen = watched(model, output_history=True, return_dict_in_generate=True)
    assert len(seen.output.history) == STEPS and not seen.reasons


def test_a_model_that_resolves_no_settings_is_watched_by_what_the_call_says(model: DreamModel) -> None:
    view = RunView(None)
    bare = torch.nn.Module()
    bare.model, bare.lm_head, bare.config = model.model, model.lm_head, model.config
    hook = DreamHook(bare)
    hook.on_call("diffusion_generate", (IDS,), {"steps": 1, "max_new_tokens": 2}, view)
    ids = torch.cat([IDS, torch.full((3, 2), MASK)], dim=1)
    assert hook.plan(ForwardCall(ids, {}), view).canvas == 2
    with pytest.raises(sri_sdk.SriError, match="after all steps"):
        hook.plan(ForwardCall(ids, {}), view)


def test_columns_that_come_and_go_are_noticed(model: DreamModel) -> None:
    hook, view = DreamHook(model), RunView(None)
    hook.on_call("diffusion_generate", (IDS,), {"steps": 4}, view)
    ids = torch.cat([IDS, torch.full((3, 2), MASK)], dim=1)
    hook.plan(ForwardCall(ids, {}), view)
    for other in (torch.cat([ids, ids[:, -1:]], dim=1), ids[:, :-1], ids[:2]):
        with pytest.raises(sri_sdk.SriError, match="shows prompt and canvas whole"):
            hook.plan(ForwardCall(other, {}), view)


def test_several_responses_per_prompt_are_requests_of_their_own(model: DreamModel) -> None:
    seen = watched(model, num_return_sequences=2, alg="origin", temperature=1.0)
    assert seen.steps == [STEPS] * 6 and not seen.reasons


def test_two_generations_on_one_hook_do_not_hear_each_other(model: DreamModel) -> None:
    hook, first, second = DreamHook(model), RunView(None), RunView(None)
    short = torch.tensor([[5, 6, MASK, MASK]])
    hook.on_call("diffusion_generate", (short[:, :2],), {"steps": 2, "max_new_tokens": 2}, first)
    hook.on_call("diffusion_generate", (), {"inputs": short[:, :3], "steps": 1}, second)
    assert hook.plan(ForwardCall(short, {}), first).canvas == 2
    assert hook.plan(ForwardCall(short, {}), second).canvas == 1
    assert hook.plan(ForwardCall(short, {}), first).canvas == 2


# -- other loops and wrappers ----------------------------------------------------------------------------------------


def test_a_loop_outside_the_model_is_watched_by_what_is_left_to_fill(model: DreamModel) -> None:
    ids = torch.cat([IDS, torch.full((3, 4), MASK)], dim=1)
    with sri_sdk.watch(model) as run:
        model(IDS)
        for column in range(5, 9):
            ids[:, column] = model(ids).logits[:, column - 1].argmax(-1)
        model(ids)
        run.returned(ids)
    assert [trace.steps for trace in run.traces] == [4] * 3 and run.failure is None
    assert END not in ids[:, 5:]


def test_the_unconditional_half_of_guidance_is_not_a_request(model: DreamModel) -> None:
    ids = torch.cat([IDS[2:], torch.full((1, 4), MASK)], dim=1)
    unconditional = torch.full_like(ids, MASK)
    with sri_sdk.watch(model) as run:
        for column in range(5, 9):
            both = model(torch.cat([ids, unconditional])).logits[:, column - 1]
            ids[:, column] = unconditional[:, column] = (2 * both[0] - both[1]).argmax(-1)
    assert [trace.steps for trace in run.traces] == [4] and run.failure is None


def test_a_model_with_adapters_is_watched_like_the_bare_one(model: DreamModel) -> None:
    peft = pytest.importorskip("peft")
    wanted = watched(model)
    wrapped = peft.get_peft_model(build(0), peft.LoraConfig(target_modules=["q_proj", "v_proj"]))
    seen = watched(wrapped)
    assert torch.equal(seen.output, wanted.output) and seen.steps == [STEPS] * 3 and not seen.reasons
    assert all(np.allclose(a.phi, b.phi, atol=1e-6) for a, b in zip(seen.run.traces, wanted.run.traces, strict=True))
    with torch.no_grad():
        logits = DreamHook(wrapped).forward(IDS, ATTENTION).logits
        assert torch.allclose(logits, DreamHook(model).forward(IDS, ATTENTION).logits, atol=1e-5)


@pytest.mark.parametrize("alg", RULES)
def test_the_promises_hold_under_every_rule(alg: str) -> None:
    def make() -> HookCase:
        case = DreamHook.example()
        inner = case.generate

        def seeded(prompts: Any) -> torch.Tensor:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(5)
                return inner(prompts, alg=alg)

        return replace(case, generate=seeded, generate_sampled=None)

    # By chance, what is filled in depends on how many rows draw: there is no comparing with a row alone.
    company = {"padding-excluded", "batch-1-equals-batch-n", "two-runs-coexist"} if alg == "origin" else set()
    for check in hook_checks(make):
        if check.name not in company:
            check()
