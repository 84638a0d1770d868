"""Fast-dLLM's sampler on the same weights: blocks, caches, and as many passes as it likes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from sri_plugin_dream.hook import DreamHook
from sri_plugin_dream.stand_ins.cached_model import CachedDreamModel
from sri_plugin_dream.stand_ins.model import MASK, DreamModel, build

import sri_sdk
from sri_sdk import Encoded
from sri_sdk.testing import HookCase, hook_checks

PROMPT = torch.tensor([[21, 22, 23, 24, 25]])
MODES = {
    f"{alg}-{'dual' if dual else 'prefix'}": {"alg": alg, "dual_cache": dual, "steps": 8}
    for alg in ("entropy", "confidence_threshold")
    for dual in (False, True)
}


def generate(model: Any, ids: torch.Tensor = PROMPT, **options: Any) -> torch.Tensor:
    asked = {"max_new_tokens": 16, "block_length": 8, "threshold": 0.4, **options}
    return model.diffusion_generate(ids, **asked)


def lengths(model: DreamModel, **options: Any) -> list[int]:
    """Rows of each pass."""
    seen: list[int] = []
    handle = model.model.norm.register_forward_hook(lambda _m, _a, output: seen.append(output.shape[1]))
    generate(model, **options)
    handle.remove()
    return seen


def case(**options: Any) -> HookCase:
    model = build(1, CachedDreamModel)
    steps = [len(lengths(model, **options))]
    prompts = Encoded(PROMPT, torch.ones_like(PROMPT))
    return HookCase(DreamHook(model), prompts, lambda e: generate(model, e.input_ids, **options), steps, batched=False)


@pytest.mark.parametrize("options", MODES.values(), ids=list(MODES))
def test_it_keeps_the_promises_of_a_hook(options: dict[str, Any]) -> None:
    for check in hook_checks(lambda: case(**options)):
        check()


def test_the_double_shows_what_the_real_sampler_shows() -> None:
    model = build(1, CachedDreamModel)
    assert lengths(model, **MODES["entropy-prefix"]) == [21, 16, 16, 16, 21, 8, 8, 8]
    assert lengths(model, **MODES["entropy-dual"]) == [21, 8, 8, 8, 21, 8, 8, 8]
    many = lengths(model, **MODES["confidence_threshold-dual"])
    assert len(many) < 16, "the threshold commits nothing early: this test says little"


@pytest.mark.parametrize(
    ("mode", "firsts"),
    [("entropy-prefix", [-5, 0, 0, 0, -5, 8, 8, 8]), ("entropy-dual", [-5, 0, 0, 0, -5, 8, 8, 8])],
)
def test_rows_of_a_window_are_numbered_by_what_they_are(
    mode: str, firsts: list[int], plans: Callable[..., Any]
) -> None:
    model = build(1, CachedDreamModel)
    found = plans(model, **MODES[mode])
    assert [int(plan.positions[0, 0]) for plan in found] == firsts
    for plan in found:
        target = plan.positions[0] + plan.shift
        named = ((target >= 0) & (target < plan.canvas)).nonzero()[:, 0].tolist()
        assert named == list(range(*plan.span))


def test_each_step_commits_something_and_nothing_is_forgotten_between_windows(plans: Callable[..., Any]) -> None:
    model = build(1, CachedDreamModel)
    for options in MODES.values():
        counts = [int(plan.committed.sum()) for plan in plans(model, **options)]
        assert counts[0] == 0 and all(a < b for a, b in zip(counts, [*counts[1:], 16], strict=True))


def test_several_prompts_of_one_length_are_watched_together() -> None:
    model = build(1, CachedDreamModel)
    ids = torch.cat([PROMPT, PROMPT + 7])
    with sri_sdk.watch(model) as run:
        generate(model, ids, **MODES["entropy-dual"])
    assert [trace.steps for trace in run.traces] == [8, 8] and run.failure is None


def test_how_many_steps_there_will_be_is_not_promised_and_the_end_is_known_from_the_tokens() -> None:
    model = build(1, CachedDreamModel)
    assert DreamHook(model).expected_steps(32) is None
    with sri_sdk.watch(model) as run:
        tokens = generate(model, **MODES["confidence_threshold-dual"])
    assert not (tokens == MASK).any() and run._coverage.ended == (True,)
    assert run.traces[0].steps == len(lengths(model, **MODES["confidence_threshold-dual"]))


def test_a_generation_that_went_on_unseen_is_not_taken_for_whole() -> None:
    model = build(1, CachedDreamModel)
    options = MODES["confidence_threshold-dual"]
    whole = generate(model, **options)
    hook, planned = DreamHook(model), []
    inner = hook.plan

    def deaf(call: Any, run: Any) -> Any:
        planned.append(None)
        return inner(call, run) if len(planned) < 4 else None

    hook.plan = deaf
    with sri_sdk.watch(model, hook=hook) as run:
        assert torch.equal(generate(model, **options), whole)
    assert run._coverage.ended == (False,)


@pytest.fixture
def plans() -> Callable[..., Any]:
    def run(model: Any, **options: Any) -> list[Any]:
        hook, found = DreamHook(model), []
        inner = hook.plan

        def plan(call: Any, view: Any) -> Any:
            found.append(inner(call, view))
            return found[-1]

        hook.plan = plan
        with sri_sdk.watch(model, hook=hook) as watched:
            generate(model, **options)
        assert watched.failure is None
        return [plan for plan in found if plan is not None]

    return run


def test_adapters_hide_the_arguments_of_a_pass_and_nothing_is_lost(plans: Callable[..., Any]) -> None:
    peft = pytest.importorskip("peft")
    wrapped = peft.get_peft_model(build(1, CachedDreamModel), peft.LoraConfig(target_modules=["q_proj"]))
    found = plans(wrapped, **MODES["entropy-dual"])
    assert [int(plan.positions[0, 0]) for plan in found] == [-5, 0, 0, 0, -5, 8, 8, 8]
