"""The WeDLM hook on its stand-in."""

import pytest
import torch
from sri_plugin_block.stand_ins import wedlm
from sri_plugin_block.stand_ins.tokens import MASK, PAD
from sri_plugin_block.wedlm import WedlmHook

import sri_sdk
from sri_sdk import registry
from sri_sdk.errors import ConfigError, ConformanceError
from sri_sdk.records import PADDING, Encoded
from sri_sdk.testing import hook_checks
from sri_sdk.testing._hook_case import observe


@pytest.mark.parametrize("check", hook_checks(WedlmHook.example, lazy=True), ids=str)
def test_the_hook_keeps_its_promises(check) -> None:
    check()


def test_only_this_hook_fits_and_it_says_why() -> None:
    model = wedlm.build()
    with sri_sdk.watch(model) as run:
        pass
    assert run.why == "WedlmHook: class WeDLMForCausalLM, final norm at model.norm"
    del model.model.norm
    assert WedlmHook.fits(model).why == "a WeDLMForCausalLM without model.norm"


def test_rows_are_placed_by_position_and_not_by_column() -> None:
    seen = observe(wedlm.case(WedlmHook, confidence_threshold=0.0))
    (index, plan), width = seen.steps()[2], 9
    ids = seen.passes[index].input_ids
    # Prompt and what is filled in come first, then the masks; two of the four are filled in by now.
    assert (ids[0, -2:] == MASK).all() and not (ids[0, :-2] == MASK).any()
    assert plan.places[0, :width].tolist() == list(range(-width, 0))
    assert plan.positions[0, :width].tolist() == [PADDING] * width
    filled, open_ = plan.positions[0, width : width + 2].tolist(), plan.positions[0, width + 2 :].tolist()
    assert sorted(filled + open_) == [0, 1, 2, 3] and plan.committed[0].tolist() == [at in filled for at in range(4)]


def test_only_the_block_in_work_is_pooled() -> None:
    seen = observe(wedlm.case(WedlmHook, confidence_threshold=0.0))
    _, plan = seen.steps()[-1]
    on = sorted(at for at in plan.positions[0].tolist() if at != PADDING)
    assert len(seen.steps()) == 14 and on == [12, 13] and plan.places.shape == (1, 9 + 14)


def test_what_is_returned_may_be_a_dictionary_or_a_tensor() -> None:
    model, prompt = wedlm.build(), wedlm.prompt()
    steps = []
    for stats in (True, False):
        with sri_sdk.watch(model) as run:
            model.generate_wedlm(prompt.input_ids, 8, 4, return_stats=stats)
        assert run.traces[0].reasons == ()
        steps.append(run.traces[0].steps)
    assert steps == [8, 8]


@pytest.mark.parametrize("threshold", [0.0, 0.6])
@pytest.mark.parametrize("pooling", ["response", "generated"])
def test_our_sampler_writes_the_familys_tokens_and_has_its_traces(threshold: float, pooling: str) -> None:
    model, prompt = wedlm.build(1), wedlm.prompt()
    with sri_sdk.watch(model, pooling=pooling) as own:
        official = model.generate_wedlm(prompt.input_ids, 16, 4, confidence_threshold=threshold)["sequences"][:, 9:]
    hook = WedlmHook(model, WedlmHook.Config(source="x", block=4))
    options = {"tokens": 16, "steps": 16, "block": 4, "block_steps": 4, "threshold": threshold or None}
    sampler = registry.build("samplers", "low-confidence", options)
    with torch.inference_mode(), sri_sdk.watch(model, hook=hook, pooling=pooling) as driven:
        *_, last = sampler.steps(hook, prompt, ["a"])
    assert torch.equal(last.draft, official)
    one, other = own.traces[0], driven.traces[0]
    assert one.steps == other.steps and abs(one.phi - other.phi).max() < 1e-5


def test_padding_and_company_change_no_driven_logits() -> None:
    hook = WedlmHook(wedlm.build())
    rows = [wedlm.prompt(length).input_ids[0] for length in (4, 9)]
    holes = torch.full((6,), MASK)
    holes[2] = 7
    text = [torch.cat([row, holes]) for row in rows]
    ids = torch.stack([torch.cat([row.new_full((15 - len(row),), PAD), row]) for row in text])
    mask = torch.stack([(torch.arange(15) >= 15 - len(row)).long() for row in text])
    together = hook.forward(ids, mask).logits
    for at, row in enumerate(text):
        single = hook.forward(row[None], torch.ones(1, len(row), dtype=torch.long)).logits
        torch.testing.assert_close(together[at, -len(row) :], single[0], atol=1e-5, rtol=1e-5)


def test_several_prompts_in_one_call_are_refused() -> None:
    model = wedlm.build()
    with pytest.raises(ConfigError, match="2 prompts, which it generates one after the other"), sri_sdk.watch(model):
        model.generate_wedlm(torch.full((2, 5), 7), 8, 4)


def test_transformers_own_generate_is_refused_with_the_name_of_the_right_one() -> None:
    kind = type("WeDLMForCausalLM", (wedlm.WeDLMForCausalLM,), {"generate": lambda self: None})
    with pytest.raises(ConfigError, match="generate_wedlm"), sri_sdk.watch(wedlm.build(kind=kind), hook="wedlm") as run:
        run.finish()
        WedlmHook(wedlm.build()).on_call("generate", (), {}, None)


def test_a_mask_in_a_prompt_is_named_and_a_second_call_noticed() -> None:
    model, ids = wedlm.build(), wedlm.prompt().input_ids.clone()
    ids[0, 3] = MASK
    with sri_sdk.watch(model) as run:
        model.generate_wedlm(ids, 8, 4)
    assert run.traces[0].reasons == ("special_token_in_prompt",)
    with sri_sdk.watch(model) as run:
        model.generate_wedlm(wedlm.prompt().input_ids, 8, 4)
        model.generate_wedlm(wedlm.prompt().input_ids, 8, 4)
    assert run.traces[0].reasons[0] == "hook_failed"


def test_a_pass_with_a_cache_is_not_read() -> None:
    model = wedlm.build()
    inner = type(model.model).forward
    model.model.forward = lambda use_cache=False, **options: inner(model.model, **options)
    with sri_sdk.watch(model, hook=WedlmHook(model)) as run, torch.no_grad():
        model.model(input_ids=torch.tensor([[5, MASK]]), use_cache=True)
    assert "streaming engine" in run.failure


def test_positions_that_the_models_own_call_does_not_show_are_not_guessed() -> None:
    model = wedlm.build()
    hidden = model.model.register_forward_pre_hook(
        lambda module, args, options: (args, {**options, "position_ids": None}), with_kwargs=True
    )
    with sri_sdk.watch(model, hook=WedlmHook(model)) as run:
        model.generate_wedlm(wedlm.prompt().input_ids, 8, 4)
    hidden.remove()
    assert run.traces[0].reasons[0] == "hook_failed" and "which generate_wedlm states" in run.failure


class ByColumn(WedlmHook):
    def _columns(self, call):
        return torch.arange(call.input_ids.shape[1]).expand(call.input_ids.shape)


class OneTooFar(WedlmHook):
    def plan(self, call, run):
        made = super().plan(call, run)
        if made is None:
            return None
        far = torch.where(made.positions == PADDING, PADDING, made.positions + 1)
        return sri_sdk.StepPlan(far, 0, committed=made.committed, active=made.active)


class CountsFinishedText(WedlmHook):
    def plan(self, call, run):
        made = super().plan(call, run)
        return run.memory["last"] if made is None else run.memory.setdefault("last", made)


@pytest.mark.parametrize(
    ("fault", "found"),
    [(ByColumn, "rows-mapped"), (OneTooFar, "rows-mapped"), (CountsFinishedText, "committed-is-shown")],
    ids=["by column", "one too far", "one plan again"],
)
def test_a_planted_fault_is_found(fault, found) -> None:
    check = next(each for each in hook_checks(fault.example) if each.name == found)
    with pytest.raises(ConformanceError):
        check()


def test_the_family_needs_leave_to_run_its_code_and_its_own_environment() -> None:
    with pytest.raises(ConfigError) as raised:
        WedlmHook.load(WedlmHook.Config(source="tencent/WeDLM-8B-Instruct"))
    assert "transformers" in str(raised.value) or "trust_remote_code" in str(raised.value)


def test_one_prompt_alone_needs_no_mask() -> None:
    prompt = wedlm.prompt()
    hook = WedlmHook(wedlm.build())
    whole = Encoded(prompt.input_ids, torch.ones_like(prompt.input_ids))
    one, other = hook.forward(prompt.input_ids).logits, hook.forward(whole.input_ids, whole.attention_mask).logits
    assert torch.equal(one, other)
