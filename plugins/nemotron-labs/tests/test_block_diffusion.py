"""The hook of block diffusion on the stand-in."""

import pytest
import torch
from sri_plugin_nemotron_labs.block_diffusion import NemotronLabsHook
from sri_plugin_nemotron_labs.stand_ins.example import BLOCK, TOKENS, diffusion_case, prompt
from sri_plugin_nemotron_labs.stand_ins.model import MASK, NemotronLabsDiffusionModel, build

import sri_sdk
from sri_sdk.errors import ConfigError, ConformanceError, ModelMismatch
from sri_sdk.testing import hook_checks
from sri_sdk.testing._hook_case import observe
from sri_sdk.testing.check import run_checks


@pytest.mark.parametrize("check", hook_checks(NemotronLabsHook.example, lazy=True), ids=str)
def test_the_hook_keeps_its_promises(check) -> None:
    check()


@pytest.mark.parametrize("options", [{"threshold": None}, {"causal_context": False}], ids=str)
def test_it_keeps_them_without_a_threshold_and_without_causal_context(options) -> None:
    found = run_checks(hook_checks(lambda: diffusion_case(NemotronLabsHook, **options)))
    assert [result for result in found if result.state != "passed"] == []


def test_a_plain_watch_takes_this_hook_and_says_why() -> None:
    with sri_sdk.watch(build()) as run:
        pass
    assert run.why == "NemotronLabsHook: class NemotronLabsDiffusionModel, final norm at encoder.norm"


def without(path: str):
    model = build()
    *parents, name = path.split(".")
    delattr(model.get_submodule(".".join(parents)), name)
    return model


def switchless():
    model = build()
    model.encoder.layers[1].self_attn = torch.nn.Linear(2, 2)
    return model


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (lambda: torch.nn.Linear(2, 2), "looked for class NemotronLabsDiffusionModel, found Linear"),
        (lambda: without("encoder.norm"), "without encoder.norm"),
        (lambda: without("diffusion_head"), "without diffusion_head"),
        (switchless, "without self_attn.diffusion_lm, which switches attention, in layer 1"),
        (
            lambda: build(dlm_paradigm="block_diff"),
            "whose dlm_paradigm is block_diff; .*bidirectional and autoregressive",
        ),
        (lambda: build(mask_token_id=None), "without mask_token_id"),
    ],
    ids=["class", "norm", "head", "switch", "paradigm", "mask"],
)
def test_a_structure_it_does_not_know_is_refused_by_name(model, why) -> None:
    with pytest.raises(ModelMismatch, match=why), sri_sdk.watch(model(), hook="nemotron-labs"):
        raise AssertionError("must not run")


def test_a_model_whose_rows_may_predict_the_next_token_is_refused() -> None:
    model = build()
    model.config.dlm_type = "dream"
    assert "dlm_type is dream" in NemotronLabsHook.fits(model).why


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("ar_generate", {}, r"reads block diffusion. Use watch\(model, hook='nemotron-labs-ar'\)"),
        ("linear_spec_generate", {}, "hook='nemotron-labs-ar'"),
        ("generate", {"max_new_tokens": 4, "block_length": 1}, "block_length=1.*nothing is denoised"),
    ],
)
def test_another_way_to_decode_is_refused_before_anything_runs(method, options, message) -> None:
    model = build()
    model.encoder.forward = None
    with pytest.raises(ConfigError, match=message), sri_sdk.watch(model):
        getattr(model, method)(prompt().input_ids, **options)


def test_a_method_of_earlier_code_that_no_hook_reads_is_refused() -> None:
    def self_spec_generate(self, prompt_ids):
        raise AssertionError("must not run")

    kind = type("NemotronLabsDiffusionModel", (NemotronLabsDiffusionModel,), {"self_spec_generate": self_spec_generate})
    model = build(kind=kind)
    said = r"no hook reads its passes. Watched are generate \(nemotron-labs\)"
    with pytest.raises(ConfigError, match=said), sri_sdk.watch(model, hook="nemotron-labs"):
        model.self_spec_generate(prompt().input_ids)


def test_reading_the_prompt_and_storing_a_block_are_no_steps() -> None:
    case = diffusion_case(NemotronLabsHook, threshold=None)
    seen = observe(case)
    kinds = "".join("." if one.plan is None else "s" for one in seen.passes)
    # One token of four is known from the pass before.
    assert kinds == "." + 4 * "sss." and case.steps == 12


def test_the_first_token_of_each_block_is_committed_when_the_block_is_first_shown() -> None:
    seen = observe(diffusion_case(NemotronLabsHook, threshold=None))
    _, plan = seen.steps()[3]
    assert plan.positions.tolist() == [[4, 5, 6, 7]] and plan.shift == 0
    assert plan.committed[0].tolist() == 5 * [True] + 3 * [False]


def test_a_batch_of_prompts_of_one_length_has_the_traces_of_each_alone() -> None:
    case = diffusion_case(NemotronLabsHook)
    many = prompt(rows=3)
    with sri_sdk.watch(case.hook.model) as together:
        case.generate(many)
    for row in range(3):
        with sri_sdk.watch(case.hook.model) as alone:
            case.generate(sri_sdk.Encoded(many.input_ids[row : row + 1], many.attention_mask[row : row + 1]))
        one, other = together.traces[row], alone.traces[0]
        assert one.steps == other.steps and abs(one.phi - other.phi).max() < 1e-5


def test_an_end_token_ends_a_row_and_what_is_written_behind_it_is_no_step(watched) -> None:
    case = diffusion_case(NemotronLabsHook, seed=4)
    model, many = case.hook.model, prompt(rows=3)
    said = case.generate(many)[:, many.input_ids.shape[1] :].tolist()
    # A token of one row's second block that no other row says: the others go on.
    model.config.eos_token_id = next(t for t in said[1][4:8] if sum(t in row for row in said) == 1)
    with watched(case.hook, "response") as run:
        tokens = case.generate(many)
    assert tokens.shape[1] == many.input_ids.shape[1] + TOKENS
    assert run.traces[1].steps < min(run.traces[0].steps, run.traces[2].steps)
    assert run.traces[1].reasons == ()


def test_a_mask_in_a_prompt_is_named() -> None:
    case = diffusion_case(NemotronLabsHook)
    ids = prompt().input_ids.clone()
    ids[0, 2] = MASK
    with sri_sdk.watch(case.hook.model) as run:
        case.hook.model.generate(ids, TOKENS, BLOCK)
    assert run.traces[0].reasons == ("special_token_in_prompt",)


def test_a_switch_that_another_generation_has_turned_makes_the_run_unmonitored() -> None:
    case = diffusion_case(NemotronLabsHook)
    model = case.hook.model
    norm, passes = model.encoder.norm, []

    def turn(*_) -> None:
        passes.append(None)
        if len(passes) == 2:
            model._switch(False)

    handle = norm.register_forward_hook(turn)
    with sri_sdk.watch(model) as run:
        case.generate(prompt())
    handle.remove()
    assert run.traces[0].reasons[0] == "hook_failed" and "Generate one at a time per model" in run.failure


def test_a_generation_that_continues_a_cache_is_not_trusted() -> None:
    from transformers import DynamicCache

    model, cache, ids = build(), DynamicCache(), torch.full((1, 4), 7)
    model._switch(False)
    model(ids, past_key_values=cache, use_cache=True)
    with sri_sdk.watch(model) as run:
        model(ids, past_key_values=cache, use_cache=True)
    assert "the first pass continues a cache of 4 tokens" in run.failure


def test_it_is_watched_and_not_driven() -> None:
    with pytest.raises(sri_sdk.SriError, match=r"watched, not driven.*nemotron-labs-ar"):
        NemotronLabsHook(build()).forward(prompt().input_ids)


def test_a_lora_model_is_watched_like_its_base() -> None:
    peft = pytest.importorskip("peft")
    case = diffusion_case(NemotronLabsHook)
    with sri_sdk.watch(case.hook.model) as base:
        case.generate(prompt())
    adapted = peft.PeftModel(case.hook.model, peft.LoraConfig(target_modules=["o_proj"], r=2))
    with sri_sdk.watch(adapted) as run:
        adapted.generate(prompt().input_ids, max_new_tokens=TOKENS, block_length=BLOCK, threshold=0.6)
    assert run.traces[0].steps == base.traces[0].steps and abs(run.traces[0].phi - base.traces[0].phi).max() < 1e-5


class CountsStoredBlocks(NemotronLabsHook):
    def plan(self, call, run):
        made = super().plan(call, run)
        if made is None and run.steps and call.kwargs["use_cache"]:
            return sri_sdk.StepPlan(run.shown[0], shift=0, committed=run.memory["sri_sdk.canvas"].committed)
        return made


class OffByOne(NemotronLabsHook):
    def plan(self, call, run):
        made = super().plan(call, run)
        return made and sri_sdk.StepPlan(made.positions + 1, 0, committed=made.committed, active=made.active)


@pytest.mark.parametrize(
    ("fault", "found"), [(CountsStoredBlocks, "steps-counted"), (OffByOne, "rows-mapped")], ids=lambda x: str(x)[:30]
)
def test_a_planted_fault_is_found(fault, found) -> None:
    check = next(each for each in hook_checks(fault.example) if each.name == found)
    with pytest.raises(ConformanceError):
        check()
