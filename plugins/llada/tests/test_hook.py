"""The llada hook on its double: every way the family shows its canvas, and what must not be watched."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from sri_plugin_llada.hook import LladaHook
from sri_plugin_llada.stand_ins.example import LENGTH, STEPS, case, prompts
from sri_plugin_llada.stand_ins.mmada import MMadaModelLM
from sri_plugin_llada.stand_ins.model import (
    EOS,
    MASK,
    CachedLLaDAModelLM,
    LLaDAModelLM,
    LLaDAMoEModelLM,
    build,
)
from sri_plugin_llada.stand_ins.sampling import generate, generate_fast

from sri_sdk import ForwardCall, RunView, SriError, StepGrid, watch
from sri_sdk.capture.run import Run
from sri_sdk.capture.settings import WatchSettings
from sri_sdk.errors import ConfigError
from sri_sdk.records import PADDING, Encoded
from sri_sdk.testing import Check, HookCase, hook_checks
from sri_sdk.testing._hook_measure import measure_hook


def fast_case(cache: str | None, threshold: float | None) -> HookCase:
    """Fast-dLLM's sampler, which takes one prompt; the double counts the passes that found something open."""
    hook = LladaHook(build(CachedLLaDAModelLM))
    whole = prompts(("tell me a story of a lantern",))

    def run(encoded: Encoded, left: list[int] | None = None) -> torch.Tensor:
        return generate_fast(hook.model, encoded.input_ids, cache=cache, threshold=threshold, left=left)[0]

    left: list[int] = []
    run(whole, left)
    return HookCase(hook, whole, run, steps=sum(count > 0 for count in left), batched=False)


CASES = {
    "llada": lambda: case(LladaHook),
    "tied head": lambda: case(LladaHook, build(LLaDAModelLM, weight_tying=True)),
    "grouped blocks": lambda: case(LladaHook, build(LLaDAModelLM, block_group_size=2)),
    "moe": lambda: case(LladaHook, build(LLaDAMoEModelLM)),
    "mmada": lambda: case(LladaHook, build(MMadaModelLM)),
    "no cache": lambda: fast_case(None, None),
    "no cache, threshold": lambda: fast_case(None, 0.15),
    "prefix cache": lambda: fast_case("prefix", None),
    "prefix cache, threshold": lambda: fast_case("prefix", 0.15),
    "dual cache": lambda: fast_case("dual", None),
    "dual cache, threshold": lambda: fast_case("dual", 0.15),
}
CHECKS = [
    pytest.param(check, id=f"{name}-{check}") for name, make in CASES.items() for check in hook_checks(make, lazy=True)
]


@pytest.mark.parametrize("check", CHECKS)
def test_the_hook_keeps_its_promises(check: Check) -> None:
    check()


@pytest.mark.parametrize("name", CASES)
def test_every_step_is_seen_and_phi_is_its_mean(name: str) -> None:
    measured = measure_hook(CASES[name]())
    assert measured.seen == measured.expected
    assert measured.gap <= 1e-5 and measured.unchanged and not measured.reasons


def test_a_threshold_makes_generations_shorter_than_the_fixed_number() -> None:
    assert fast_case(None, 0.15).steps < fast_case(None, None).steps == STEPS


# -- which models ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [
        build(LLaDAModelLM),
        build(LLaDAModelLM, weight_tying=True),
        build(LLaDAModelLM, block_group_size=2),
        build(LLaDAMoEModelLM),
        build(MMadaModelLM),
    ],
    ids=["llada", "tied", "grouped", "moe", "mmada"],
)
def test_the_modules_are_found_wherever_they_are(model: torch.nn.Module) -> None:
    hook = LladaHook(model)
    assert LladaHook.fits(model).ok
    assert len(hook.layers()) == 2 and hook.hidden_size() == 32
    assert isinstance(hook.embedding(), torch.nn.Embedding) and isinstance(hook.final_norm(), torch.nn.RMSNorm)


def test_a_subclass_fits_but_not_one_whose_passes_are_its_own() -> None:
    mine = type("MyLLaDA", (LLaDAModelLM,), {})
    # As dllm's: its forward runs the norm again, and its loop inserts and deletes tokens.
    edits = type("EditFlowLLaDAModel", (LLaDAModelLM,), {"forward": lambda self, input_ids: None})
    assert LladaHook.fits(build(mine)).ok
    refusal = LladaHook.fits(build(edits))
    assert not refusal.ok and refusal.if_named and "EditFlowLLaDAModel.forward" in refusal.why


def test_a_class_of_that_name_with_other_modules_is_refused_and_told_what_is_missing() -> None:
    model = build(LLaDAModelLM)
    model.model.transformer.pop("ln_f")
    refusal = LladaHook.fits(model)
    assert not refusal.ok and "model.transformer.ln_f" in refusal.why
    assert "found Linear" in LladaHook.fits(torch.nn.Linear(2, 2)).why


def test_a_config_without_a_mask_is_an_error_with_its_cure() -> None:
    with pytest.raises(ConfigError, match=r"model\.config\.mask_token_id"):
        LladaHook(build(LLaDAModelLM, mask_token_id=None))


def test_a_lora_wrapped_model_is_watched_like_itself() -> None:
    peft = pytest.importorskip("peft")
    model = build(LLaDAModelLM)
    plain = case(LladaHook, model)
    tokens = plain.generate(plain.encoded)
    wrapped = peft.get_peft_model(model, peft.LoraConfig(target_modules=["q_proj", "v_proj"], init_lora_weights=True))
    measured = measure_hook(case(LladaHook, wrapped))
    assert measured.seen == (STEPS,) * 3 and measured.gap <= 1e-5 and measured.unchanged
    # Fresh adapters change nothing, so the tokens are those of the plain model.
    assert torch.equal(case(LladaHook, wrapped).generate(plain.encoded), tokens)


# -- what a pass means ----------------------------------------------------------------------------------------


def plan(hook: LladaHook, run: RunView, rows: Sequence[Sequence[int]], **kwargs):
    return hook.plan(ForwardCall(torch.tensor(rows), kwargs), run)


@pytest.fixture
def hook() -> LladaHook:
    return LladaHook(build(CachedLLaDAModelLM))


def cache_of(columns: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(torch.zeros(1, 2, columns, 4), torch.zeros(1, 2, columns, 4))]


def test_behind_a_prefix_cache_the_rows_begin_where_the_cache_ends(hook: LladaHook) -> None:
    run = RunView(None)
    plan(hook, run, [[7, 8, MASK, MASK, MASK, MASK]], use_cache=True)
    found = plan(hook, run, [[9, 9, MASK, MASK]], past_key_values=cache_of(2))
    assert found.positions.tolist() == [[0, 1, 2, 3]]
    assert found.committed.tolist() == [[True, True, False, False]]
    found = plan(hook, run, [[MASK, 9]], past_key_values=cache_of(4))
    assert found.positions.tolist() == [[2, 3]] and found.committed.tolist() == [[True, True, False, True]]


def test_behind_a_dual_cache_the_rows_are_the_block_that_is_replaced(hook: LladaHook) -> None:
    run, cache = RunView(None), cache_of(6)
    plan(hook, run, [[7, 8, MASK, MASK, MASK, MASK]], use_cache=True)
    place = torch.tensor([[0, 0, 0, 0, 1, 1]]).bool()
    found = plan(hook, run, [[9, MASK]], past_key_values=cache, replace_position=place)
    assert found.positions.tolist() == [[2, 3]]
    assert found.committed.tolist() == [[False, False, True, False]]
    assert found.active.tolist() == [True], "the other block is still open"


def test_a_cache_that_fits_no_known_sampler_is_an_error(hook: LladaHook) -> None:
    run = RunView(None)
    plan(hook, run, [[7, 8, MASK, MASK, MASK, MASK]])
    with pytest.raises(SriError, match="prefix, dual"):
        plan(hook, run, [[MASK, MASK]], past_key_values=cache_of(2))
    with pytest.raises(SriError, match="from the first pass on"):
        plan(hook, RunView(None), [[MASK, MASK]], past_key_values=cache_of(2))


def test_the_canvas_of_a_second_generation_is_an_error_and_a_text_that_is_read_is_no_step(hook: LladaHook) -> None:
    run = RunView(None)
    plan(hook, run, [[7, 8, MASK, MASK]])
    assert plan(hook, run, [[7, 8, 9, 9, 9]]) is None
    with pytest.raises(SriError, match="one generation at a time"):
        plan(hook, run, [[7, MASK, MASK]])


def test_text_before_the_generation_is_no_step_and_gaps_in_a_text_are_an_error(hook: LladaHook) -> None:
    run = RunView(None)
    assert plan(hook, run, [[7, 8, 9]]) is None
    assert plan(hook, run, [[7, MASK]]).positions.tolist() == [[-1, 0]]
    with pytest.raises(SriError, match="filling in gaps"):
        plan(hook, RunView(None), [[7, MASK, 8]])


def test_a_finished_canvas_that_is_read_again_is_a_step_of_nobody(hook: LladaHook) -> None:
    run = RunView(None)
    plan(hook, run, [[7, MASK], [7, MASK]])
    assert plan(hook, run, [[7, 9], [7, MASK]]).active.tolist() == [False, True]
    assert plan(hook, run, [[7, 9], [7, 9]]).active.tolist() == [False, False]


def test_rows_padded_on_the_right_have_their_canvas_in_front_of_the_padding(hook: LladaHook) -> None:
    """As the samplers of the dllm repository lay their batches out: filled up with the end token."""
    run = RunView(None)
    found = plan(hook, run, [[7, MASK, MASK, EOS], [7, 8, MASK, MASK]])
    assert found.positions.tolist() == [[-1, 0, 1, PADDING], [-2, -1, 0, 1]]
    assert hook.lengths(torch.tensor([[7, 9, EOS, EOS], [7, 8, 9, 9]]), run) == [2, 2]


# -- guidance, caches and early ends in whole generations -------------------------------------------------------


def test_guidance_doubles_the_batch_and_only_requests_are_watched() -> None:
    made = case(LladaHook)
    with watch(made.hook.model, hook=made.hook) as run:
        run.returned(made.generate_guided(made.encoded))
    assert [trace.steps for trace in run.traces] == [STEPS] * 3
    assert not any(trace.reasons for trace in run.traces)


def test_two_equal_prompts_are_no_guidance() -> None:
    made = case(LladaHook)
    twice = prompts(("who are you", "who are you"))
    with watch(made.hook.model, hook=made.hook) as run:
        made.generate(twice)
    assert len(run.traces) == 2


@pytest.mark.parametrize("cache", ["prefix", "dual"])
def test_the_pass_that_a_full_block_costs_is_counted_only_while_something_is_open(cache: str) -> None:
    made = fast_case(cache, 0.0)  # any confidence will do: each block is filled by its first pass
    left: list[int] = []
    generate_fast(made.hook.model, made.encoded.input_ids, cache=cache, threshold=0.0, left=left)
    assert left == [16, 8, 8, 0]
    with watch(made.hook.model, hook=made.hook) as run:
        made.generate(made.encoded)
    assert run.traces[0].steps == 3


def guarded(budget: int) -> WatchSettings:
    """A run that knows its budget, as one with a guard does."""
    return WatchSettings("response", grid=StepGrid(4, "step", budget), budget=budget, keep_states=True)


def reasons_of(made: HookCase, budget: int, *, say: bool) -> tuple[str, ...]:
    """Reasons not to trust a generation of one prompt."""
    from sri_sdk.capture.tap import tap_of

    run = Run(made.hook, guarded(budget))
    tap = tap_of(made.hook.model)
    with tap.installed(made.hook, run), tap.owned_by(run):
        tokens = made.generate(made.encoded)
    if say:
        assert run.returned(tokens) is tokens
    run.finish()
    return run.traces[0].reasons


def test_a_generation_that_stops_when_it_likes_is_covered_once_its_tokens_are_handed_over() -> None:
    made = fast_case("dual", 0.15)
    assert made.steps < 16
    assert reasons_of(made, 16, say=False) == ("end_not_seen",)
    assert reasons_of(made, 16, say=True) == ()


def test_a_fixed_profile_is_covered_when_all_its_steps_were_seen() -> None:
    made = fast_case(None, None)
    assert reasons_of(made, STEPS, say=False) == ()
    assert reasons_of(made, STEPS - 1, say=False) == ("over_budget",)


def test_mmada_stops_between_blocks_and_its_end_token_is_noted() -> None:
    model = build(MMadaModelLM)
    hook, prompt = LladaHook(model), prompts(("who are you",)).input_ids
    end = int(model.mmu_generate_fast(prompt)[0, prompt.shape[1] + 7])
    with watch(model, hook=hook) as run:
        tokens = model.mmu_generate_fast(prompt, eot_token=end)
    assert bool((tokens[0, -8:] == MASK).all()), "the second block was never begun"
    assert run.traces[0].steps == STEPS // 2
    assert run.failure is None


def test_pictures_are_refused_before_anything_is_drawn() -> None:
    model = build(MMadaModelLM)
    with pytest.raises(ConfigError, match="draws a picture"), watch(model, hook=LladaHook(model)):
        model.t2i_generate(torch.tensor([[MASK]]))


def test_an_end_token_in_the_middle_changes_no_count() -> None:
    """The canvas is filled to its end, whatever stands in it."""
    made = case(LladaHook, build(LLaDAModelLM, eos_token_id=int(case(LladaHook).generate(prompts())[0, -8])))
    tokens = made.generate(made.encoded)
    assert min(made.hook.lengths(tokens[:, -LENGTH:])) < LENGTH
    with watch(made.hook.model, hook=made.hook) as run:
        run.returned(made.generate(made.encoded))
    assert [trace.steps for trace in run.traces] == [STEPS] * 3


@pytest.mark.parametrize("cfg_scale", [0.0, 1.0])
def test_a_batch_gives_each_request_what_it_gets_alone(cfg_scale: float) -> None:
    made = case(LladaHook)

    def states(encoded: Encoded) -> list[np.ndarray]:
        with watch(made.hook.model, hook=made.hook) as run:
            generate(made.hook.model, encoded.input_ids, encoded.attention_mask, cfg_scale=cfg_scale)
        return [trace.phi for trace in run.traces]

    together = states(made.encoded)
    for row, text in enumerate(("who are you", "how is bread made", "tell me a story of a lantern")):
        assert np.abs(states(prompts((text,)))[0] - together[row]).max() < 1e-4
