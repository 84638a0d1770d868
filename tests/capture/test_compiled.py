"""The tap inside compiled code: nothing is missed, nothing is compiled twice for it, and silence is never clear."""

import gc
import shutil
import threading
import weakref
from typing import Any, NamedTuple

import numpy as np
import pytest
import sri_plugin_toy.model as toy
import torch
from sri_plugin_toy.hook import ToyHook

import sri_sdk
from sri_sdk.capture import compiled
from sri_sdk.capture.tap import tap_of
from sri_sdk.errors import GenerationAborted

IDS = torch.randint(3, 30, (3, 6), generator=torch.Generator().manual_seed(1))
MASK = torch.ones_like(IDS)
STEPS = toy.CANVAS


class Output(NamedTuple):
    logits: torch.Tensor


class ToyModel(toy.ToyModel):
    """The toy, without what a compiler cannot follow."""

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **_: Any) -> Output:
        real = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        states = self.embed(input_ids)
        states = torch.cat([states[:, :-STEPS], states[:, -STEPS:] + self.places.weight], dim=1)
        for block in self.blocks:
            states = block(states, real[..., None].to(states.dtype))
        logits = self.head(self.norm(states))
        return Output(logits.masked_fill(torch.arange(logits.shape[-1]) < toy.UNKNOWN, -torch.inf))


def build(seed: int = 0) -> ToyModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ToyModel(toy.ToyConfig()).eval()


def compile_in_place(model: torch.nn.Module, backend: str) -> None:
    model.compile(backend=backend, fullgraph=True)


def compile_forward(model: Any, backend: str) -> None:
    model.forward = torch.compile(model.forward, backend=backend, fullgraph=True)


@pytest.fixture(autouse=True)
def forget():
    """Nothing compiled by one test is there for the next."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield
    torch._dynamo.reset()


def graphs() -> int:
    """Graphs compiled so far."""
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


def watch(model: Any, **options: Any) -> tuple[Any, torch.Tensor]:
    with sri_sdk.watch(model, hook=ToyHook(model), **options) as run:
        tokens = model.generate(IDS, MASK)
    return run, tokens


def gap(run: Any, other: Any) -> float:
    """Largest difference of the states, relative."""
    pairs = zip(run.traces, other.traces, strict=True)
    return max(float(np.abs(a.phi - b.phi).max() / np.abs(b.phi).max()) for a, b in pairs)


HOW = pytest.mark.parametrize("how", [compile_in_place, compile_forward], ids=["compile()", "forward"])


@HOW
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_model_is_heard_at_every_step_and_says_the_same(how, backend: str) -> None:
    model = build()
    plain, tokens = watch(model)
    how(model, backend)
    for _ in range(3):
        run, again = watch(model)
        assert [(trace.steps, trace.reasons) for trace in run.traces] == [(STEPS, ())] * 3
        assert torch.equal(tokens, again) and gap(run, plain) < 1e-5
    assert torch.equal(tokens, model.generate(IDS, MASK))


@HOW
def test_watching_again_compiles_nothing(how) -> None:
    model = build()
    how(model, "aot_eager")
    watch(model)
    compiled_once = graphs()
    for _ in range(3):
        watch(model)
    assert compiled_once > 0 and graphs() == compiled_once


@HOW
def test_watched_and_unwatched_generations_alternate_without_silence_and_compile_once_each(how) -> None:
    model, seen = build(), []
    how(model, "aot_eager")
    for _ in range(3):
        model.generate(IDS, MASK)
        seen.append(watch(model)[0].traces[0].steps)
        if len(seen) == 1:
            both = graphs()
    assert seen == [STEPS] * 3 and graphs() == both


@HOW
def test_a_model_that_was_compiled_and_run_before_the_first_watch_is_heard(how) -> None:
    model = build()
    how(model, "aot_eager")
    tokens = model.generate(IDS, MASK)
    assert graphs() == 1
    run, again = watch(model)
    assert run.traces[0].steps == STEPS and torch.equal(tokens, again)


def test_a_model_wrapped_by_torch_compile_is_heard_where_its_hook_fits() -> None:
    model = build()
    wrapped = torch.compile(model, backend="aot_eager", fullgraph=True)
    canvas = torch.cat([IDS, torch.full((3, STEPS), toy.MASK)], dim=1)
    seen = []
    for _ in range(3):
        with sri_sdk.watch(wrapped, hook=ToyHook(wrapped)) as run, torch.no_grad():
            wrapped(canvas)
            wrapped(canvas)
        seen.append(run.traces[0].steps)
    assert seen == [2, 2, 2] and left_behind(model) == left_behind(wrapped) == 0


def left_behind(model: Any) -> int:
    """Module hooks, and modules with a `forward` of their own that torch.compile did not give them."""
    tables = "_forward_hooks", "_forward_pre_hooks", "_forward_hooks_with_kwargs", "_forward_pre_hooks_with_kwargs"
    hooks = sum(len(getattr(module, table)) for module in model.modules() for table in tables)
    own = [m for m in model.modules() if "forward" in vars(m) and type(m).__name__ != "OptimizedModule"]
    return hooks + len(own)


@pytest.mark.parametrize("raises", [False, True])
def test_nothing_is_left_on_the_modules(raises: bool) -> None:
    model = build()
    compile_in_place(model, "aot_eager")
    try:
        with sri_sdk.watch(model) as run:
            assert left_behind(model) > 3
            model.generate(IDS, MASK)
            if raises:
                raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert left_behind(model) == 0 and run.traces[0].steps == STEPS


def test_a_forward_that_somebody_gave_a_module_stays_as_it_is() -> None:
    model = build()
    own, outer = model.norm.forward, []
    model.norm.forward = lambda states: outer.append(1) or own(states)
    given = model.norm.forward
    run, _ = watch(model)
    assert model.norm.forward is given and len(outer) == run.traces[0].steps == STEPS


def test_two_taps_on_one_module_do_not_take_each_others_mark() -> None:
    class Outer(torch.nn.Module):
        def __init__(self, inner: torch.nn.Module) -> None:
            super().__init__()
            self.inner = inner

    norm = build().norm
    one, two = compiled.HookPoints(tap_of(norm)), compiled.HookPoints(tap_of(Outer(norm)))
    first, second = (places.put("final", compiled.STATE, norm) for places in (one, two))
    first.remove()
    assert "forward" in vars(norm) and len(norm._forward_hooks) == 1
    second.remove()
    assert "forward" not in vars(norm) and not norm._forward_hooks


def test_what_was_exported_before_the_watch_is_silent_and_its_verdict_never_clear(toy_guard) -> None:
    model = build()
    canvas = torch.cat([IDS, torch.full((3, STEPS), toy.MASK)], dim=1)
    inside = torch.export.export(model, (canvas, torch.ones_like(canvas))).module()
    model.forward = lambda *given: inside(*given)
    with sri_sdk.watch(model, toy_guard, hook=ToyHook(model)) as run:
        model.generate(IDS, MASK)
    assert [(trace.steps, trace.reasons[0]) for trace in run.traces] == [(0, "tap_silent")]
    assert {verdict.status for verdict in run.verdicts} == {"unmonitored"}


def test_a_block_that_somebody_asks_for_later_is_heard_too() -> None:
    model = build()
    compile_in_place(model, "aot_eager")
    watch(model)
    run, _ = watch(model, layers=(0, 1, "final"))
    assert run.traces[0].phi.shape == (STEPS, 3, 16) and not run.traces[0].reasons


def test_a_block_that_is_not_heard_makes_the_run_silent_and_not_wrong(monkeypatch) -> None:
    model = build()
    places = tap_of(model)
    heard = places.on_state
    monkeypatch.setattr(type(places), "on_state", lambda _, layer, output: layer == 0 or heard(layer, output))
    run, _ = watch(model, layers=(0, "final"))
    assert "tap_silent" in run.traces[0].reasons and run.failure is None


def test_copies_are_kept_because_compiled_code_uses_its_memory_again() -> None:
    heard = []

    class Listener:
        def on_state(self, layer: Any, output: torch.Tensor) -> None:
            heard.append(output)

    listener = Listener()
    places = compiled.HookPoints(listener)
    placed = places.put("final", compiled.STATE, torch.nn.Identity())
    states = torch.ones(2, 3)
    torch.ops.sri_sdk.observe(places._counter, [states], "", places.number, 0)
    states.zero_()
    placed.remove()
    assert torch.equal(heard[0], torch.ones(2, 3)) and int(places._counter) == 1


def test_a_pass_that_nobody_owns_is_counted_and_ignored() -> None:
    model = build()
    compile_in_place(model, "eager")
    with sri_sdk.watch(model) as run:
        thread = threading.Thread(target=model.generate, args=(IDS, MASK))
        thread.start()
        thread.join()
    assert tap_of(model).unowned == STEPS and "tap_silent" in run.traces[0].reasons


def test_compiled_code_keeps_neither_the_model_nor_the_run_and_says_nothing_once_they_are_gone() -> None:
    model = build()
    compile_in_place(model, "aot_eager")
    run, _ = watch(model)
    number, alive = tap_of(model)._hook_points.number, (weakref.ref(model), weakref.ref(run))
    torch._dynamo.reset()
    del model, run
    gc.collect()
    assert [reference() for reference in alive] == [None, None]
    counter = torch.zeros(1, dtype=torch.int64)
    torch.ops.sri_sdk.observe(counter, [torch.ones(1)], "", number, 0)
    assert int(counter) == 1


def test_two_threads_on_one_compiled_model_each_hear_their_own() -> None:
    model, runs = build(), {}
    alone = {row: None for row in range(2)}
    compile_in_place(model, "aot_eager")
    for row in alone:
        with sri_sdk.watch(model) as alone[row]:
            model.generate(IDS[row : row + 1])

    def work(row: int) -> None:
        for _ in range(5):
            with sri_sdk.watch(model, request_ids=[f"row-{row}"]) as runs[row]:
                model.generate(IDS[row : row + 1])

    threads = [threading.Thread(target=work, args=(row,)) for row in alone]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for row, run in runs.items():
        assert run.traces[0].steps == STEPS and gap(run, alone[row]) < 1e-5


def test_an_alarm_stops_a_compiled_generation_at_the_next_pass(toy_guard) -> None:
    from dataclasses import replace

    model = build()
    compile_in_place(model, "aot_eager")
    toy_guard.scorer.thresholds["online"] = replace(toy_guard.scorer.thresholds["online"], value=-1e9)
    with (
        pytest.raises(GenerationAborted) as stopped,
        sri_sdk.watch(model, toy_guard, hook=ToyHook(model), rule="online", abort=True) as run,
    ):
        model.generate(IDS, MASK)
    assert stopped.value.step == 0 and {v.status for v in run.verdicts} == {"flagged"}


@pytest.mark.parametrize("backend", [None, "aot_eager"])
def test_compiled_code_tells_the_hook_the_tensors_among_the_arguments_of_the_model(backend: str | None) -> None:
    model, seen = build(), []
    if backend is not None:
        compile_in_place(model, backend)
    hook = ToyHook(model)
    inner = hook.plan
    hook.plan = lambda call, run: seen.append(dict(call.kwargs)) or inner(call, run)
    canvas = torch.cat([IDS, torch.full((3, STEPS), toy.MASK)], dim=1)
    mask = torch.ones_like(canvas)
    mask[0, :2] = 0
    with sri_sdk.watch(model, hook=hook), torch.no_grad():
        model(input_ids=canvas, attention_mask=mask, cache="something")
    assert torch.equal(seen[0]["attention_mask"], mask) and torch.equal(seen[0]["input_ids"], canvas)
    assert ("cache" in seen[0]) == (backend is None)


def test_the_operator_is_left_out_of_the_graphs_that_inductor_records() -> None:
    unsafe = getattr(torch.Tag, "cudagraph_unsafe", None)
    if unsafe is None:
        pytest.skip(f"torch {torch.__version__} knows no operators that CUDA graphs must leave out")
    assert unsafe in torch.ops.sri_sdk.observe.default.tags


def test_recording_a_cuda_graph_under_watch_is_noticed(monkeypatch) -> None:
    monkeypatch.setattr(
        "sri_sdk.capture.tap.is_recorded", lambda tensor: True
    )  # no CUDA here: only what follows from it
    run, _ = watch(build())
    assert "tap_silent" in run.traces[0].reasons


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++", "c++"))), reason="inductor needs a C++ compiler")
def test_inductor_drops_and_moves_nothing() -> None:
    model = build()
    plain, tokens = watch(model)
    model.compile(mode="reduce-overhead", fullgraph=True)
    assert torch.equal(tokens, model.generate(IDS, MASK))
    for _ in range(3):
        run, again = watch(model, layers=("final",))
        assert [(trace.steps, trace.reasons) for trace in run.traces] == [(STEPS, ())] * 3
        assert torch.equal(tokens, again) and gap(run, plain) < 1e-5
    before = graphs()
    model.generate(IDS, MASK)
    watch(model)
    assert graphs() == before
