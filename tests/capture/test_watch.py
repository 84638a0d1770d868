import contextvars
import gc
import logging
import pickle
import threading
import weakref

import numpy as np
import pytest
import torch
from sri_plugin_toy.hook import ToyHook
from sri_plugin_toy.model import build

import sri_sdk
from sri_sdk.capture.tap import tap_of
from sri_sdk.errors import CaptureError, ConfigError, GenerationAborted, ModelMismatch

from .conftest import Toy, toy_prompts


def test_watched_and_unwatched_generate_give_identical_tokens(toy: Toy, toy_guard) -> None:
    inputs = toy.inputs(toy_prompts(5))
    alone = toy.loaded.model.generate(**inputs)
    with sri_sdk.watch(toy.loaded.model, toy_guard):
        watched = toy.loaded.model.generate(**inputs)
    assert torch.equal(alone, watched)


def test_every_request_gets_a_verdict_under_its_own_id(toy: Toy, toy_guard) -> None:
    with sri_sdk.watch(toy.loaded.model, toy_guard, request_ids=["a", "b"]) as run:
        toy.loaded.model.generate(**toy.inputs(toy_prompts(2)))
    assert [v.request_id for v in run.verdicts] == ["a", "b"]
    assert all(v.status in {"clear", "flagged"} and v.steps_seen == v.steps_expected == 8 for v in run.verdicts)


def test_watching_and_driving_the_same_scheme_see_the_same_states(toy: Toy, toy_guard) -> None:
    prompts = toy_prompts(4)
    with sri_sdk.watch(toy.loaded.model, toy_guard) as run:
        toy.loaded.model.generate(**toy.inputs(prompts))
    driven = toy.drive(prompts, anchors=toy_guard.anchors).run
    assert np.array_equal(run.signals.logit, driven.signals.logit)


def test_a_request_scores_the_same_alone_and_in_company(toy: Toy, toy_guard) -> None:
    prompts = toy_prompts(6)
    with sri_sdk.watch(toy.loaded.model, toy_guard) as together:
        toy.loaded.model.generate(**toy.inputs(prompts))
    for row, prompt in enumerate(prompts):
        with sri_sdk.watch(toy.loaded.model, toy_guard) as alone:
            toy.loaded.model.generate(**toy.inputs([prompt]))
        assert alone.verdicts[0].status == together.verdicts[row].status
        assert np.allclose(alone.signals.sigma[0], together.signals.sigma[row], atol=2e-5)


def test_two_threads_on_one_model_get_the_verdicts_of_one_after_the_other(toy: Toy, toy_guard) -> None:
    batches = [toy_prompts(3, start=10 * i) for i in range(4)]

    def judge(prompts, into, barrier=None) -> None:
        with sri_sdk.watch(toy.loaded.model, toy_guard, request_ids=[p.id for p in prompts]) as run:
            if barrier is not None:
                barrier.wait()
            for _ in range(1):
                toy.loaded.model.generate(**toy.inputs(prompts))
        into.append(run.verdicts)

    serial: list = []
    for prompts in batches:
        judge(prompts, serial)
    for _ in range(5):
        parallel: list = []
        barrier = threading.Barrier(len(batches))
        threads = [threading.Thread(target=judge, args=(p, parallel, barrier)) for p in batches]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {v.request_id: v for vs in parallel for v in vs} == {v.request_id: v for vs in serial for v in vs}


def test_forwards_nobody_owns_are_ignored_and_counted(toy: Toy, toy_guard) -> None:
    model, inputs = toy.loaded.model, toy.inputs(toy_prompts(1))
    with sri_sdk.watch(model, toy_guard) as run:
        stranger = threading.Thread(target=lambda: model.generate(**inputs))
        stranger.start()
        stranger.join()
    assert tap_of(model).unowned == 8
    # No verdict at all would read as nothing wrong.
    assert [(v.status, v.reasons[0]) for v in run.verdicts] == [("unmonitored", "tap_silent")]


def test_a_tap_that_never_fires_is_unmonitored_and_never_clear(toy: Toy, toy_guard) -> None:
    with sri_sdk.watch(toy.loaded.model, toy_guard, request_ids=["a"]) as run:
        pass  # as with a compiled model, whose hooks are silent
    assert [(v.status, v.reasons[0]) for v in run.verdicts] == [("unmonitored", "tap_silent")]


def test_a_missed_step_is_unmonitored(toy: Toy, toy_guard, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = ToyHook.plan
    monkeypatch.setattr(ToyHook, "plan", lambda self, call, run: None if run.forwards == 3 else honest(self, call, run))
    with sri_sdk.watch(toy.loaded.model, toy_guard) as run:
        toy.loaded.model.generate(**toy.inputs(toy_prompts(1)))
    (verdict,) = run.verdicts
    assert (verdict.status, verdict.steps_seen, verdict.steps_expected) == ("unmonitored", 7, 8)
    assert verdict.reasons[0] == "incomplete_coverage"


def test_a_hook_that_raises_leaves_the_tokens_alone_and_the_run_unmonitored(
    toy: Toy, toy_guard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    inputs = toy.inputs(toy_prompts(2))
    alone = toy.loaded.model.generate(**inputs)
    honest = ToyHook.plan

    def broken(self, call, run):
        if run.forwards == 4:
            raise RuntimeError("lost the canvas")
        return honest(self, call, run)

    monkeypatch.setattr(ToyHook, "plan", broken)
    with caplog.at_level(logging.WARNING), sri_sdk.watch(toy.loaded.model, toy_guard) as run:
        watched = toy.loaded.model.generate(**inputs)
    assert torch.equal(alone, watched)
    assert {v.status for v in run.verdicts} == {"unmonitored"} and "hook_failed" in run.verdicts[0].reasons
    assert "lost the canvas" in caplog.text


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 0.0])
def test_nan_infinity_and_zero_states_are_unmonitored_with_a_reason(toy: Toy, toy_guard, poison: float) -> None:
    calls = []

    def spoil(_module, _args, output):
        calls.append(1)
        # Only what the tap reads is spoilt, and only at one step: generation must not depend on it.
        return torch.full_like(output, poison) if len(calls) == 4 else output

    handle = toy.loaded.model.norm.register_forward_hook(spoil)
    with sri_sdk.watch(toy.loaded.model, toy_guard) as run:
        toy.loaded.model.generate(**toy.inputs(toy_prompts(2)))
    handle.remove()
    assert {v.status for v in run.verdicts} == {"unmonitored"}
    assert all("unusable_state" in v.reasons for v in run.verdicts)
    assert np.isnan(run.signals.sigma[:, 3]).all() and np.isfinite(run.signals.sigma[:, 4]).all()


def test_module_hooks_are_gone_after_the_block_also_when_the_model_raises(toy: Toy, toy_guard) -> None:
    model = toy.loaded.model

    def count() -> int:
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())

    with sri_sdk.watch(model, toy_guard):
        assert count() == 3
    assert count() == 0
    with pytest.raises(ZeroDivisionError), sri_sdk.watch(model, toy_guard):
        model.generate(**toy.inputs(toy_prompts(1)))
        raise ZeroDivisionError
    assert count() == 0


def test_nothing_keeps_the_model_or_the_run_alive(toy_guard) -> None:
    model = build(0)
    inputs = {"input_ids": torch.full((1, 3), 5)}
    with sri_sdk.watch(model, toy_guard) as run:
        model.generate(**inputs)
    references = weakref.ref(model), weakref.ref(run)
    del model, run
    gc.collect()
    assert [r() for r in references] == [None, None]


def test_an_alarm_stops_the_generation_at_the_next_pass_when_asked(toy: Toy, toy_guard) -> None:
    toy_guard.scorer.thresholds["online"] = _always(toy_guard)
    with (
        pytest.raises(GenerationAborted) as stopped,
        sri_sdk.watch(toy.loaded.model, toy_guard, rule="online", abort=True, request_ids=["a", "b"]) as run,
    ):
        toy.loaded.model.generate(**toy.inputs(toy_prompts(2)))
    assert stopped.value.request_ids == ("a", "b") and stopped.value.step == 0
    assert {(v.status, v.first_alarm_step) for v in run.verdicts} == {("flagged", 0)}


def _always(guard):
    from dataclasses import replace

    return replace(guard.scorer.thresholds["online"], value=-1e9)


def test_abort_without_the_online_rule_is_refused(toy: Toy, toy_guard) -> None:
    with pytest.raises(ConfigError, match="rule='online'"), sri_sdk.watch(toy.loaded.model, toy_guard, abort=True):
        pass


def test_a_rule_that_the_guard_does_not_have_is_refused_before_anything_runs(toy: Toy, toy_guard) -> None:
    with (
        pytest.raises(ConfigError, match=r"policy\.rule: found 'request', this guard has: final, online"),
        sri_sdk.watch(toy.loaded.model, toy_guard, rule="request"),
    ):
        pytest.fail("went on")


def test_another_models_guard_is_refused_by_name_of_what_differs(toy_guard) -> None:
    with pytest.raises(ModelMismatch, match="weights_digest"), sri_sdk.watch(build(1), toy_guard):
        pass


def test_a_soft_difference_must_be_accepted_by_name_and_is_echoed(toy: Toy, toy_guard) -> None:
    with (
        pytest.raises(ModelMismatch, match="system_prompt"),
        sri_sdk.watch(toy.loaded.model, toy_guard, system_prompt="be kind"),
    ):
        pass
    with sri_sdk.watch(toy.loaded.model, toy_guard, system_prompt="be kind", accept=["system_prompt"]) as run:
        toy.loaded.model.generate(**toy.inputs(toy_prompts(1)))
    assert run.verdicts[0].accepted == ("system_prompt",) and run.verdicts[0].status != "unmonitored"


def test_a_model_no_hook_fits_is_refused_saying_what_each_looked_for() -> None:
    with (
        pytest.raises(ModelMismatch, match=r"Linear.*toy: class Linear, this hook is for ToyModel"),
        sri_sdk.watch(torch.nn.Linear(2, 2)),
    ):
        pass


def test_too_few_request_ids_make_the_run_unmonitored_and_leave_generation_alone(toy: Toy, toy_guard) -> None:
    inputs = toy.inputs(toy_prompts(3))
    alone = toy.loaded.model.generate(**inputs)
    with sri_sdk.watch(toy.loaded.model, toy_guard, request_ids=["only-one"]) as run:
        watched = toy.loaded.model.generate(**inputs)
    assert torch.equal(alone, watched)
    assert [v.status for v in run.verdicts] == ["unmonitored"]


def test_without_a_guard_the_traces_hold_the_states(toy: Toy) -> None:
    with sri_sdk.watch(toy.loaded.model) as run:
        toy.loaded.model.generate(**toy.inputs(toy_prompts(2)))
    assert [t.phi.shape for t in run.traces] == [(8, 1, 16)] * 2
    assert run.verdicts == () and run.signals is None


def test_a_model_that_runs_in_threads_of_its_own_is_refused(toy: Toy) -> None:
    with (
        pytest.raises(ConfigError, match="DataParallel runs copies"),
        sri_sdk.watch(torch.nn.DataParallel(toy.loaded.model)),
    ):
        pass


def test_a_run_says_what_of_it_can_be_passed_on(toy: Toy, toy_guard) -> None:
    with sri_sdk.watch(toy.loaded.model, toy_guard) as run:
        toy.loaded.model.generate(**toy.inputs(toy_prompts(1)))
    with pytest.raises(CaptureError, match=r"cannot be copied or pickled\. Pass on what it found: run\.verdicts"):
        pickle.dumps(run)
    assert pickle.loads(pickle.dumps(run.verdicts)) == run.verdicts  # noqa: S301


# -- who took the passes -----------------------------------------------------------------------------------------------


def test_a_watch_inside_another_takes_its_passes_and_both_can_say_so(toy: Toy, toy_guard) -> None:
    inputs = toy.inputs(toy_prompts(2))
    with sri_sdk.watch(toy.loaded.model, toy_guard) as outer, sri_sdk.watch(toy.loaded.model, toy_guard) as inner:
        toy.loaded.model.generate(**inputs)
    assert {v.status for v in inner.verdicts} <= {"clear", "flagged"} and inner.failure is None
    assert outer.verdicts[0].reasons[:2] == ("another_watch", "tap_silent")
    assert "entered inside this one" in outer.failure


def test_a_watch_that_begins_amid_anothers_generation_says_that_it_did(toy: Toy, toy_guard) -> None:
    model, inners = toy.loaded.model, []

    def meddle(_module, _args) -> None:
        if not inners:
            with sri_sdk.watch(model, toy_guard) as inner:
                inners.append(inner)

    with sri_sdk.watch(model, toy_guard) as outer:
        model.norm.register_forward_pre_hook(meddle)
        model.generate(**toy.inputs(toy_prompts(2)))
    assert "another_watch" in inners[0].verdicts[0].reasons and "when this one began" in inners[0].failure
    assert {v.status for v in outer.verdicts} <= {"clear", "flagged"}


def test_one_watch_after_another_is_no_other_watch(toy: Toy, toy_guard) -> None:
    inputs = toy.inputs(toy_prompts(2))
    for _ in range(2):
        with sri_sdk.watch(toy.loaded.model, toy_guard) as run:
            toy.loaded.model.generate(**inputs)
        assert run.failure is None and "another_watch" not in run.verdicts[0].reasons


def test_a_generation_in_a_thread_outside_names_the_cure_and_the_cure_works(toy: Toy, toy_guard) -> None:
    generate, inputs = toy.loaded.model.generate, toy.inputs(toy_prompts(2))

    def watched(target, *args):
        with sri_sdk.watch(toy.loaded.model, toy_guard) as run:
            thread = threading.Thread(target=target, args=args, kwargs=inputs)
            thread.start()
            thread.join()
        return run

    outside = watched(generate)
    assert "tap_silent" in outside.verdicts[0].reasons and "contextvars.copy_context().run" in outside.failure
    inside = watched(contextvars.copy_context().run, generate)
    assert "tap_silent" in inside.verdicts[0].reasons  # The context of before the watch does not do.
    with sri_sdk.watch(toy.loaded.model, toy_guard) as run:
        thread = threading.Thread(target=contextvars.copy_context().run, args=(generate,), kwargs=inputs)
        thread.start()
        thread.join()
    assert run.failure is None and {v.status for v in run.verdicts} <= {"clear", "flagged"}


def test_a_steered_model_is_unmonitored_and_the_log_says_what_is_done_to_it(toy: Toy, toy_guard, caplog) -> None:
    inputs, width = toy.inputs(toy_prompts(2)), toy.hook.hidden_size()
    unit, blocks = np.eye(1, width, dtype=np.float32), len(toy.hook.layers())
    direction = sri_sdk.Direction("first", unit, "nothing", np.zeros((2, blocks), np.float32), {})
    with sri_sdk.steer(toy.hook, direction, sri_sdk.Ablate()), sri_sdk.watch(toy.loaded.model, toy_guard) as run:
        toy.loaded.model.generate(**inputs)
    assert {v.status for v in run.verdicts} == {"unmonitored"} and run.verdicts[0].reasons == ("other_code",)
    assert "steering Ablate along 'first'" in caplog.text
    caplog.clear()
    with sri_sdk.watch(toy.loaded.model, toy_guard) as run, sri_sdk.steer(toy.hook, direction, sri_sdk.Ablate()):
        toy.loaded.model.generate(**inputs)
    assert {v.status for v in run.verdicts} == {"unmonitored"} and run.verdicts[0].reasons == ("other_code",)
    assert caplog.text.count("steering Ablate along 'first' began after the watch") == 1
    with sri_sdk.watch(toy.loaded.model, toy_guard) as run:
        toy.loaded.model.generate(**inputs)
    assert "other_code" not in run.verdicts[0].reasons


def test_a_model_with_code_of_somebody_else_is_unmonitored_unless_it_is_accepted(toy: Toy, toy_guard, caplog) -> None:
    inputs = toy.inputs(toy_prompts(2))
    handle = toy.loaded.model.blocks[0].register_forward_hook(lambda _module, _args, output: output)
    try:
        with sri_sdk.watch(toy.loaded.model, toy_guard) as run:
            toy.loaded.model.generate(**inputs)
        assert {v.status for v in run.verdicts} == {"unmonitored"} and run.verdicts[0].reasons == ("other_code",)
        assert run.signals.fingerprint["soft"]["adapter"].startswith("forward hook ")
        assert "forward hook" in caplog.text and "on blocks.0" in caplog.text
        with sri_sdk.watch(toy.loaded.model, toy_guard, accept=["adapter"]) as run:
            toy.loaded.model.generate(**inputs)
        assert "other_code" not in run.verdicts[0].reasons and run.verdicts[0].accepted == ("adapter",)
    finally:
        handle.remove()


def test_a_steering_that_is_accepted_is_scored_and_ablation_in_the_weights_is_another_model(
    toy: Toy, toy_guard
) -> None:
    vector = np.eye(16, dtype=np.float32)[:1]
    direction = sri_sdk.Direction("some", vector, "nothing", np.zeros((2, 2), dtype=np.float32), {})
    inputs = toy.inputs(toy_prompts(2))
    with sri_sdk.watch(toy.loaded.model, toy_guard) as plain:
        toy.loaded.model.generate(**inputs)
    with (
        sri_sdk.steer(toy.loaded.model, direction, sri_sdk.Ablate()),
        sri_sdk.watch(toy.loaded.model, toy_guard, accept=["adapter"]) as run,
    ):
        toy.loaded.model.generate(**inputs)
    assert run.failure is None and {v.status for v in run.verdicts} <= {"clear", "flagged"}
    assert not np.array_equal(run.signals.logit, plain.signals.logit)

    model, unit = build(0), torch.tensor(vector[0])
    for module in model.blocks.modules():
        if isinstance(module, torch.nn.Linear) and module.out_features == 16:
            module.weight.data -= torch.outer(unit, unit @ module.weight.data)
    with pytest.raises(ModelMismatch, match="weights_digest"), sri_sdk.watch(model, toy_guard):
        pass
