"""Nothing that was not watched whole is clear: the ways a tap can miss something, each by its reason."""

import asyncio
import contextvars
import threading

import numpy as np
import pytest
import torch
from sri_plugin_lab.hooks import LabCausalHook
from sri_plugin_lab.models import load, load_tokenizer
from sri_plugin_toy.hook import ToyHook

import sri_sdk
from sri_sdk.capture.conclude import Coverage
from sri_sdk.capture.run import Run
from sri_sdk.capture.settings import WatchSettings
from sri_sdk.capture.tap import tap_of
from sri_sdk.errors import ConfigError
from sri_sdk.grid import StepGrid

from .conftest import Toy, toy_prompts


@pytest.mark.parametrize(
    ("coverage", "reasons"),
    [
        (Coverage(8, 8, 8, ended=False), []),
        (Coverage(7, 8, 8, ended=False), ["incomplete_coverage"]),
        (Coverage(9, 8, 8, ended=False), ["incomplete_coverage"]),
        (Coverage(0, None, 8, ended=False), ["tap_silent"]),
        (Coverage(8, None, 8, ended=False), []),
        (Coverage(5, None, 8, ended=True), []),
        (Coverage(5, None, 8, ended=False), ["end_not_seen"]),
        (Coverage(9, None, 8, ended=True), ["over_budget"]),
        (Coverage(9, 9, 8, ended=True), ["over_budget"]),
        (Coverage(5, None, None, ended=False), []),
        (Coverage(5, None, None, ended=False, strays=True), ["end_not_seen"]),
        (Coverage(5, None, None, ended=True, strays=True), []),
        (Coverage(5, 5, None, ended=False, strays=True), []),
    ],
)
def test_coverage_is_whole_or_says_why_not(coverage: Coverage, reasons: list[str]) -> None:
    assert coverage.reasons() == reasons


@pytest.fixture(scope="module")
def causal():
    model, tokenizer = load("causal"), load_tokenizer()
    hook = LabCausalHook(model)
    encoded = hook.encode(
        tokenizer, ["how do i paint the kite of the baker ?", "how do i steal the kite of the baker ?"]
    )
    return hook, {"input_ids": encoded.input_ids, "attention_mask": encoded.attention_mask}


def watched(causal, action, *, budget: int = 48, rows: int = 2):
    """Reasons per request, after `action(model, inputs, run)` under watch."""
    hook, inputs = causal
    inputs = {name: value[:rows] for name, value in inputs.items()}
    run, tap = (
        Run(hook, WatchSettings("predicting", grid=StepGrid(8, "step", budget), budget=budget)),
        tap_of(hook.model),
    )
    with tap.installed(hook, run), tap.owned_by(run):
        action(hook.model, inputs, run)
    run.finish()
    return [list(trace.reasons) for trace in run.traces]


def test_an_end_that_shows_only_in_the_output_is_read_off_generate_or_must_be_told(causal) -> None:
    def own(model, inputs, run):
        model.generate(**inputs, max_new_tokens=48, do_sample=False)

    def silent(model, inputs, run):
        # A loop of one's own, which no watch can see the end of.
        type(model).generate(model, **inputs, max_new_tokens=48, do_sample=False)

    def told(model, inputs, run):
        run.returned(type(model).generate(model, **inputs, max_new_tokens=48, do_sample=False))

    assert watched(causal, own) == [[], []]
    # The refusal ends while the answer goes on, so its end is seen; the answer ends with the batch.
    assert watched(causal, silent) == [["end_not_seen"], []]
    assert watched(causal, told) == [[], []]


def test_a_tap_that_falls_silent_after_the_prompt_is_noticed(causal) -> None:
    def half_silent(model, inputs, run):
        calls = []
        honest = run.begin
        run.begin = lambda ids: honest(ids) if not calls and not calls.append(1) else None
        run.returned(model.generate(**inputs, max_new_tokens=48, do_sample=False))

    assert watched(causal, half_silent) == [["incomplete_coverage"]] * 2


def test_more_tokens_than_the_guard_was_made_for_are_noticed(causal) -> None:
    def long(model, inputs, run):
        model.generate(**inputs, max_new_tokens=30, min_new_tokens=30, do_sample=False)

    assert watched(causal, long, budget=20) == [["over_budget"]] * 2


def test_a_second_generation_in_one_watch_is_noticed(causal) -> None:
    def twice(model, inputs, run):
        for _ in range(2):
            model.generate(**inputs, max_new_tokens=4, do_sample=False)

    assert all(reasons[0] == "hook_failed" for reasons in watched(causal, twice, budget=4))


def test_a_generation_that_raises_is_interrupted(toy: Toy, toy_guard) -> None:
    with pytest.raises(KeyError), sri_sdk.watch(toy.loaded.model, toy_guard) as run:
        toy.loaded.model.generate(**toy.inputs(toy_prompts(1)))
        raise KeyError
    assert run.verdicts[0].status == "unmonitored" and run.verdicts[0].reasons[0] == "interrupted"


@pytest.mark.parametrize("rule", ["final", "online"])
@pytest.mark.parametrize("steps", [1, 3, 7])
def test_a_generation_cut_short_is_unmonitored_and_not_judged_by_what_was_never_generated(
    toy: Toy, toy_guard, steps: int, rule: str
) -> None:
    """Filled-in cells would flag harmless generations: whoever reads the verdicts would drop the wrong requests."""
    batch, whole = toy_prompts(6), {}
    with sri_sdk.watch(toy.loaded.model, toy_guard, rule=rule) as run:
        toy.loaded.model.generate(**toy.inputs(batch))
    whole = [v.status for v in run.verdicts]
    calls = []

    def stop(*_: object) -> None:
        calls.append(1)
        if len(calls) > steps:
            raise TimeoutError

    handle = toy.loaded.model.head.register_forward_hook(stop)
    with pytest.raises(TimeoutError), sri_sdk.watch(toy.loaded.model, toy_guard, rule=rule) as run:
        toy.loaded.model.generate(**toy.inputs(batch))
    handle.remove()
    assert (run.signals.lengths <= steps + 1).all() and np.isnan(run.signals.sigma[:, steps + 1 :]).all()
    for verdict, complete in zip(run.verdicts, whole, strict=True):
        # An alarm that rang on steps that ran stands; nothing else is flagged, and nothing is clear.
        assert verdict.status == "unmonitored" or (rule == "online" and verdict.status == complete == "flagged")
        assert "interrupted" in verdict.reasons


def test_what_returns_other_rows_than_were_generated_is_noticed(causal) -> None:
    def beams(model, inputs, run):
        run.returned(model.generate(**inputs, max_new_tokens=8, num_beams=3, do_sample=False))

    assert all("rows_differ" in reasons for reasons in watched(causal, beams))


def test_a_scorer_that_fails_costs_the_verdict_and_not_the_tokens(toy: Toy, toy_guard, monkeypatch) -> None:
    def broken(*_args: object, **_options: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(type(toy_guard.scorer), "score", broken)
    with sri_sdk.watch(toy.loaded.model, toy_guard) as run:
        tokens = toy.loaded.model.generate(**toy.inputs(toy_prompts(2)))
    assert tokens.shape[0] == 2
    assert [(v.status, v.reasons) for v in run.verdicts] == [("unmonitored", ("scorer_failed",))] * 2


def test_a_driven_generation_left_early_is_interrupted(toy: Toy) -> None:
    batch = sri_sdk.drive(toy.hook, toy.loaded, toy.sampler, toy_prompts(2), toy.settings)
    for step in batch:
        if step.index == 3:
            break
    del step
    assert all(trace.reasons == ("interrupted",) for trace in batch.run.traces)


def test_a_row_that_was_aborted_counts_its_own_steps(toy: Toy) -> None:
    batch = sri_sdk.drive(toy.hook, toy.loaded, toy.sampler, toy_prompts(2), toy.settings)
    for step in batch:
        if step.index == 2:
            batch.intervene(sri_sdk.Intervention(abort=(0,)))
    assert [(t.steps, t.expected, t.reasons) for t in batch.run.traces] == [(3, 3, ()), (8, 8, ())]


def test_an_alarm_of_a_finished_run_stops_nothing_later(toy: Toy, toy_guard) -> None:
    """A task that was started inside the block still carries its context when the block has ended."""
    from dataclasses import replace

    toy_guard.scorer.thresholds["online"] = replace(toy_guard.scorer.thresholds["online"], value=-1e9)
    inputs = toy.inputs(toy_prompts(1))
    with sri_sdk.watch(toy.loaded.model, toy_guard, rule="online", abort=True) as run:
        context = contextvars.copy_context()
    run.finish()
    with sri_sdk.watch(toy.loaded.model, toy_guard):
        later = threading.Thread(target=lambda: context.run(toy.loaded.model.generate, **inputs))
        later.start()
        later.join()
    assert run.verdicts[0].status == "unmonitored"


def test_tasks_on_one_model_hear_only_their_own(toy: Toy, toy_guard) -> None:
    async def one(prompts):
        with sri_sdk.watch(toy.loaded.model, toy_guard, request_ids=[p.id for p in prompts]) as run:
            await asyncio.sleep(0)
            toy.loaded.model.generate(**toy.inputs(prompts))
            await asyncio.sleep(0)
        return run.verdicts

    async def both():
        return await asyncio.gather(one(toy_prompts(2)), one(toy_prompts(3, start=5)))

    first, second = asyncio.run(both())
    assert [len(first), len(second)] == [2, 3]
    assert all(v.status != "unmonitored" for v in (*first, *second))


def test_a_block_that_ends_in_another_context_leaves_nothing_behind(toy: Toy, toy_guard) -> None:
    block = sri_sdk.watch(toy.loaded.model, toy_guard)
    contextvars.copy_context().run(block.__enter__)
    block.__exit__(None, None, None)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in toy.loaded.model.modules())


def test_an_embedding_that_is_called_by_keyword_does_not_disturb_the_model(toy: Toy, toy_guard) -> None:
    ids = toy.inputs(toy_prompts(1))["input_ids"]
    with sri_sdk.watch(toy.loaded.model, toy_guard) as run:
        assert toy.loaded.model.embed(input=ids).shape == (*ids.shape, 16)
    assert run.verdicts[0].status == "unmonitored"


def test_arguments_that_contradict_each_other_are_refused(toy: Toy, toy_guard) -> None:
    from sri_plugin_toy.hook import ToyHook
    from sri_plugin_toy.model import build

    for wrong, message in [
        ({"request_ids": "ab"}, "one id per row"),
        ({"request_ids": ["a", "a"]}, "only once"),
        ({"hook": ToyHook(build(0))}, "another model object"),
        ({"hook": ToyHook}, "hook=MyHook"),
        ({"rule": "onlin"}, "Did you mean 'online'"),
        ({"pooling": "response"}, "come with the guard"),
    ]:
        with pytest.raises(ConfigError, match=message), sri_sdk.watch(toy.loaded.model, toy_guard, **wrong):
            pass
    with pytest.raises(ConfigError, match="blocks 0 to 1"), sri_sdk.watch(toy.loaded.model, layers=(7,)):
        pass


class EarlyToy(ToyHook):
    """A family that stops when it likes."""

    def expected_steps(self, budget: int) -> int | None:
        return None


def early(toy: Toy, guard, *, steps: int, told: int | None, passes: int | None = None):
    """Reasons after a loop that fills the canvas in fewer steps; `told` = response tokens it says it returned."""
    model, inputs = toy.loaded.model, toy.inputs(toy_prompts(2))
    with sri_sdk.watch(model, guard, hook=EarlyToy(model)) as run:
        canvas = torch.full((2, 8), model.config.mask_token_id)
        ids = torch.cat([inputs["input_ids"], canvas], dim=1)
        mask = torch.cat([inputs["attention_mask"], torch.ones_like(canvas)], dim=1)
        for step in range(steps):
            many = -(-8 // steps)
            guess = model(ids, mask).logits.argmax(-1)
            start = ids.shape[1] - 8 + step * many
            ids[:, start : start + many] = guess[:, start : start + many]
        if told is not None:
            run.returned(torch.cat([ids, ids[:, -8:]], dim=1)[:, : ids.shape[1] - 8 + told], passes)
    return [list(trace.reasons) for trace in run.traces]


def test_an_early_end_is_whole_once_its_output_was_seen_and_every_call_of_the_model_was_heard(
    toy: Toy, toy_guard
) -> None:
    assert early(toy, toy_guard, steps=4, told=8) == [[], []]
    assert early(toy, toy_guard, steps=4, told=None) == [["end_not_seen"]] * 2


def test_passes_that_run_where_the_watch_does_not_reach_keep_an_early_end_from_being_whole(toy: Toy, toy_guard) -> None:
    model, inputs = toy.loaded.model, toy.inputs(toy_prompts(1))

    def heard(passes: int | None, *, elsewhere: bool) -> list[str]:
        with sri_sdk.watch(model, toy_guard, hook=EarlyToy(model)) as run:
            canvas = torch.full((1, 8), model.config.mask_token_id)
            ids = torch.cat([inputs["input_ids"], canvas], dim=1)
            model(ids)
            if elsewhere:
                thread = threading.Thread(target=model, args=(ids,))
                thread.start()
                thread.join()
            run.returned(torch.cat([inputs["input_ids"], torch.zeros_like(canvas)], dim=1), passes)
        return list(run.traces[0].reasons)

    assert heard(None, elsewhere=False) == []
    assert heard(None, elsewhere=True) == ["end_not_seen"]
    assert heard(2, elsewhere=True) == ["incomplete_coverage"]


def test_calls_of_the_model_that_nothing_was_heard_of_are_noticed(toy: Toy, toy_guard) -> None:
    model, inputs = toy.loaded.model, toy.inputs(toy_prompts(1))
    whole = model.generate(**inputs)
    recorded, calls = model.forward, []

    def replayed(*args: object, **kwargs: object) -> object:
        # As a graph would be: the first calls run the modules, later ones give back what was recorded.
        if len(calls) < 2:
            calls.append(recorded(*args, **kwargs))
        return calls[-1]

    model.forward = replayed
    with sri_sdk.watch(model, toy_guard, hook=EarlyToy(model)) as run:
        model.generate(**inputs)
    assert run.traces[0].steps == 2 and run.traces[0].reasons[0] == "incomplete_coverage"
    assert vars(model)["forward"] is replayed and len(whole) == 1


def test_a_call_that_cuts_a_response_short_of_the_profile_is_no_whole_generation(causal) -> None:
    def short(model, inputs, run):
        model.generate(**inputs, max_new_tokens=5, do_sample=False)

    assert watched(causal, short) == [["end_not_seen"]] * 2


def test_passes_that_the_caller_counted_and_nobody_heard_are_noticed(toy: Toy, toy_guard) -> None:
    assert early(toy, toy_guard, steps=4, told=8, passes=5) == [["incomplete_coverage"]] * 2


def test_an_output_longer_than_what_any_pass_showed_was_not_watched_whole(toy: Toy, toy_guard) -> None:
    assert early(toy, toy_guard, steps=4, told=12, passes=4) == [["end_not_seen"]] * 2


def test_a_profile_with_a_fixed_number_of_steps_counts_them_whatever_was_returned(toy: Toy) -> None:
    model, inputs = toy.loaded.model, toy.inputs(toy_prompts(2))
    run = Run(EarlyToy(model), WatchSettings("response", grid=StepGrid(8, "step", 8), budget=8, fixed=True))
    calls = []
    honest = run.begin
    run.begin = lambda ids: honest(ids) if len(calls) < 3 and not calls.append(1) else None
    with tap_of(model).installed(EarlyToy(model), run), tap_of(model).owned_by(run):
        run.returned(model.generate(**inputs), passes=None)
    run.finish()
    assert [list(trace.reasons) for trace in run.traces] == [["incomplete_coverage"]] * 2


def test_a_generation_that_raises_half_way_is_interrupted_also_if_somebody_catches_it(toy: Toy, toy_guard) -> None:
    model, inputs = toy.loaded.model, toy.inputs(toy_prompts(1))
    passes = []

    def stop(*_: object) -> None:
        passes.append(1)
        if len(passes) == 3:
            raise KeyError

    handle = model.head.register_forward_pre_hook(stop)
    with sri_sdk.watch(model, toy_guard) as run, pytest.raises(KeyError):
        model.generate(**inputs)
    handle.remove()
    assert run.verdicts[0].status == "unmonitored" and run.verdicts[0].reasons[0] == "interrupted"


def test_a_second_call_of_the_models_own_method_is_noticed(toy: Toy) -> None:
    model, inputs = toy.loaded.model, toy.inputs(toy_prompts(1))
    with sri_sdk.watch(model) as run:
        model.generate(**inputs)
        model.generate(**inputs)
    assert "hook_failed" in run.traces[0].reasons and "second generation" in (run.failure or "")


def test_watches_that_end_in_the_order_they_began_each_hear_their_own(toy: Toy) -> None:
    model, inputs = toy.loaded.model, toy.inputs(toy_prompts(1))
    one, two = sri_sdk.watch(model), sri_sdk.watch(model)
    first = one.__enter__()
    model.generate(**inputs)
    second = two.__enter__()
    one.__exit__(None, None, None)
    model.generate(**inputs)
    two.__exit__(None, None, None)
    assert [run.traces[0].steps for run in (first, second)] == [8, 8]
    assert "generate" not in vars(model) and tap_of(model).owner() is None


def streamed(model, ids, mask):
    """The toy's own loop as a generator, as a service streams it."""
    canvas = ids.new_full((len(ids), 8), model.config.mask_token_id)
    ids, mask = torch.cat([ids, canvas], dim=1), torch.cat([mask, torch.ones_like(canvas)], dim=1)
    for position in range(-8, 0):
        with torch.no_grad():
            ids[:, position] = model(ids, mask).logits[:, position].argmax(-1)
        yield ids


@pytest.mark.parametrize("guarded", [True, False], ids=["verdict", "trace"])
@pytest.mark.parametrize("wandering", [True, False], ids=["context per step", "one context"])
def test_a_generator_that_changes_its_context_per_step_is_not_taken_for_whole(
    toy: Toy, toy_guard, guarded: bool, wandering: bool
) -> None:
    model, runs = toy.loaded.model, []

    def service():
        with sri_sdk.watch(model, toy_guard if guarded else None, hook=EarlyToy(model)) as run:
            runs.append(run)
            yield from streamed(model, *toy.inputs(toy_prompts(2)).values())

    steps = service()
    for _ in range(9):
        (contextvars.copy_context().run if wandering else lambda f, *a: f(*a))(next, steps, None)
    assert [t.reasons for t in runs[0].traces] == [("end_not_seen",) if wandering else ()] * 2
    assert {t.steps for t in runs[0].traces} == {1 if wandering else 8}


def test_passes_of_others_leave_a_trace_alone_whose_end_is_known(toy: Toy) -> None:
    batch = sri_sdk.drive(toy.hook, toy.loaded, toy.sampler, toy_prompts(2), toy.settings)
    for _ in batch:
        toy.loaded.model(toy.inputs(toy_prompts(1))["input_ids"].repeat(1, 12))
    assert [t.reasons for t in batch.run.traces] == [(), ()]
