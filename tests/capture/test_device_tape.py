"""A tape on the device: passes of a recorded graph are seen though no Python runs, and without one they are missed."""

import contextlib
import shutil
from typing import Any

import numpy as np
import pytest
import sri_plugin_toy.model as toy
import torch
from sri_plugin_llada.stand_ins.model import MASK, LLaDAModelLM, build

import sri_sdk
from sri_sdk import registry
from sri_sdk.capture.tap import tap_of
from sri_sdk.errors import ConfigError
from tests.capture.replay import CannotBeRecorded, Recording
from tests.capture.test_compiled import forget, graphs, left_behind

__all__ = ["forget"]

STEPS, LENGTH, PROMPT = 8, 16, 6
TOKENS = 2 * (PROMPT + LENGTH) * STEPS
IDS = torch.randint(10, 90, (2, PROMPT), generator=torch.Generator().manual_seed(0))


class Recorded:
    """A model whose passes are replays of one recorded pass, as a server with a CUDA graph of its own makes them."""

    def __init__(self, model: Any) -> None:
        self._canvas = torch.full((len(IDS), PROMPT + LENGTH), MASK)
        with torch.no_grad(), Recording() as self._graph:
            self._logits = model(self._canvas).logits

    def __call__(self, canvas: torch.Tensor) -> torch.Tensor:
        self._canvas.copy_(canvas)
        self._graph.replay()
        return self._logits


@torch.no_grad()
def generate(logits_of: Any, ids: torch.Tensor = IDS, steps: int = STEPS) -> torch.Tensor:
    """Fills in the surest positions of each row, as many in each step."""
    x = torch.cat([ids, torch.full((len(ids), LENGTH), MASK)], dim=1)
    for _ in range(steps):
        sure, guess = logits_of(x).softmax(-1).max(-1)
        best = sure.masked_fill(x != MASK, -1).topk(LENGTH // steps, dim=1).indices
        x = x.scatter(1, best, guess.gather(1, best))
    return x


def watched(model: Any, logits_of: Any, ids: torch.Tensor = IDS, **options: Any) -> tuple[Any, torch.Tensor]:
    with sri_sdk.watch(model, **options) as run:
        tokens = run.returned(generate(logits_of, ids))
    return run, tokens


def eager(model: Any) -> Any:
    return lambda canvas: model(canvas).logits


def same(run: Any, other: Any) -> bool:
    found = [(t.steps, t.expected, t.reasons) for t in run.traces] == [
        (t.steps, t.expected, t.reasons) for t in other.traces
    ]
    return found and all(np.array_equal(a.phi, b.phi) for a, b in zip(run.traces, other.traces, strict=True))


@pytest.mark.parametrize("pooling", ["response", "generated"])
def test_replays_of_a_recorded_graph_are_seen_to_the_last_bit(pooling: str) -> None:
    model = build(LLaDAModelLM)
    plain, tokens = watched(model, eager(model), pooling=pooling)
    assert [(t.steps, t.reasons) for t in plain.traces] == [(STEPS, ())] * 2
    with sri_sdk.DeviceTape(model, tokens=TOKENS):
        recorded = Recorded(model)
        for _ in range(2):
            run, again = watched(model, recorded, pooling=pooling)
            assert torch.equal(tokens, again) and same(run, plain), run.failure
            # Unwatched generations in between are written too, and told to nobody.
            generate(recorded)
    assert left_behind(model) == 0


def test_the_same_graph_without_a_tape_is_silent_and_unmonitored() -> None:
    model = build(LLaDAModelLM)
    run, _ = watched(model, Recorded(model))
    assert [(t.steps, t.reasons[0]) for t in run.traces] == [(0, "tap_silent")]


def test_a_graph_that_replays_after_passes_that_were_seen_is_never_clear(toy_guard) -> None:
    model = toy.build(0)
    ids = torch.randint(3, 30, (1, 6), generator=torch.Generator().manual_seed(1))
    canvas = torch.cat([ids, torch.full((1, toy.CANVAS), toy.MASK)], dim=1)
    with torch.no_grad(), Recording() as graph:
        logits = model(canvas).logits
    for seen in range(toy.CANVAS):
        with sri_sdk.watch(model, toy_guard) as run, torch.no_grad():
            x = canvas.clone()
            for step in range(toy.CANVAS):
                if step < seen:
                    said = model(x).logits
                else:
                    canvas.copy_(x)
                    graph.replay()
                    said = logits
                at = ids.shape[1] + step
                x[:, at] = said[:, at].argmax(-1)
            canvas[:, ids.shape[1] :] = toy.MASK
        assert [verdict.status for verdict in run.verdicts] == ["unmonitored"], (seen, run.verdicts)


CPP = pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++", "c++"))), reason="inductor needs a C++ compiler")


@pytest.mark.parametrize("backend", ["eager", "aot_eager", pytest.param("inductor", marks=[pytest.mark.slow, CPP])])
def test_compiled_code_is_the_same_watched_or_not_and_calls_no_python(backend: str, monkeypatch) -> None:
    model = build(LLaDAModelLM)
    core = model.model
    plain, tokens = watched(model, eager(model), layers=(0, "final"))
    called = []
    monkeypatch.setattr("sri_sdk.capture.compiled.HookPoints.observed", lambda *_: called.append(1))
    with sri_sdk.DeviceTape(model, tokens=TOKENS, layers=(0,)):
        # What is compiled is what runs, in one piece.
        core.forward = torch.compile(core.forward, backend=backend, fullgraph=True)
        generate(eager(model))
        before = graphs()
        for _ in range(2):
            run, again = watched(model, eager(model), layers=(0, "final"))
            assert torch.equal(tokens, again) and [t.reasons for t in run.traces] == [()] * 2
            gap = max(np.abs(a.phi - b.phi).max() for a, b in zip(run.traces, plain.traces, strict=True))
            assert gap < 1e-5
            generate(eager(model))
    assert before > 0 and graphs() == before and not called


def test_a_generation_longer_than_the_tape_is_unmonitored_and_says_how_long_it_was() -> None:
    model = build(LLaDAModelLM)
    with sri_sdk.DeviceTape(model, tokens=TOKENS - 1):
        run, _ = watched(model, eager(model))
        assert {t.reasons[0] for t in run.traces} == {"incomplete_coverage"}
        assert f"{TOKENS} tokens in {STEPS} passes on a tape of {TOKENS - 1}" in str(run.failure)
        # The next one fits.
        shorter, _ = watched(model, eager(model), IDS[:1])
        assert [(t.steps, t.reasons) for t in shorter.traces] == [(STEPS, ())]


def test_a_pass_that_does_not_reach_the_last_norm_makes_the_run_unmonitored() -> None:
    model = build(LLaDAModelLM)
    with sri_sdk.DeviceTape(model, tokens=TOKENS), sri_sdk.watch(model) as run, torch.no_grad():
        model.model.transformer.wte(IDS)
        run.returned(generate(eager(model)))
    assert "tap_silent" in {reason for trace in run.traces for reason in trace.reasons}
    assert "9 passes began, 8 reached the last norm" in str(run.failure)


def test_a_pass_after_the_result_leaves_what_was_seen_as_it_was() -> None:
    model = build(LLaDAModelLM)
    plain, tokens = watched(model, eager(model), pooling="generated")
    with sri_sdk.DeviceTape(model, tokens=2 * TOKENS):
        with sri_sdk.watch(model, pooling="generated") as run, torch.no_grad():
            run.returned(generate(eager(model)))
            model(tokens)
        assert same(run, plain)


def test_a_run_that_has_ended_takes_no_passes_of_the_next_one() -> None:
    model = build(LLaDAModelLM)
    with sri_sdk.DeviceTape(model, tokens=TOKENS):
        before, tokens = watched(model, eager(model))
        with sri_sdk.watch(model) as run:
            found = generate(eager(model))
            before.returned(tokens)
            run.returned(found)
        assert same(run, before)


def test_what_waits_for_the_device_cannot_be_recorded() -> None:
    with pytest.raises(CannotBeRecorded), Recording():
        torch.ones(3).sum().item()


def test_two_watches_of_one_tape_and_two_tapes_of_one_model_are_refused() -> None:
    model = build(LLaDAModelLM)
    again = pytest.raises(ConfigError, match="another watch reads it")
    with sri_sdk.DeviceTape(model, tokens=TOKENS):
        with sri_sdk.watch(model), again, sri_sdk.watch(model):
            pass
        with pytest.raises(ConfigError, match="has one already"), sri_sdk.DeviceTape(model, tokens=1):
            pass


def test_what_must_be_known_before_the_end_is_refused(toy_guard) -> None:
    model = toy.build(0)
    with sri_sdk.DeviceTape(model, tokens=1000):
        with pytest.raises(ConfigError, match="read at the end"), sri_sdk.watch(model, toy_guard, rule="online"):
            pass
        with pytest.raises(ConfigError, match="not on the DeviceTape"), sri_sdk.watch(model, layers=(0, "final")):
            pass


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tokens": 0}, "tokens 0"),
        ({"tokens": 9, "layers": (7,)}, "blocks 0 to 1"),
        ({"tokens": 9, "layers": ("last",)}, "blocks 0 to 1"),
    ],
)
def test_what_no_tape_can_be_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        sri_sdk.DeviceTape(build(LLaDAModelLM), **options)


def test_a_hook_of_another_model_is_refused() -> None:
    other = registry.load("hooks", "llada")(build(LLaDAModelLM))
    with pytest.raises(ConfigError, match="another model object"):
        sri_sdk.DeviceTape(build(LLaDAModelLM), tokens=9, hook=other)


def test_a_model_on_no_device_is_refused() -> None:
    with pytest.raises(ConfigError, match="meta"):
        sri_sdk.DeviceTape(build(LLaDAModelLM).to("meta"), tokens=9)


def test_a_block_left_out_of_some_passes_is_silent_and_not_told_from_old_memory(monkeypatch) -> None:
    model = build(LLaDAModelLM)
    block, passes = registry.load("hooks", "llada")(model).layers()[0], []
    call = type(block).__call__

    def around(module: Any, *args: Any, **options: Any) -> Any:
        if module is not block:
            return call(module, *args, **options)
        passes.append(1)
        return (call if len(passes) <= 3 else type(block).forward)(module, *args, **options)

    with sri_sdk.DeviceTape(model, tokens=TOKENS, layers=(0,)):
        generate(eager(model))
        monkeypatch.setattr(type(block), "__call__", around)
        run, _ = watched(model, eager(model), layers=(0, "final"))
        assert {t.reasons[0] for t in run.traces} == {"tap_silent"}
        assert "8 passes began, 8 reached the last norm, layer 0 ran in 3" in str(run.failure)
        monkeypatch.undo()
        whole, _ = watched(model, eager(model), layers=(0, "final"))
        assert [(t.steps, t.reasons) for t in whole.traces] == [(STEPS, ())] * 2


@pytest.mark.parametrize("place", [0, "final"])
def test_a_module_that_runs_twice_in_a_pass_is_noticed(place: Any) -> None:
    model = build(LLaDAModelLM)
    hook = registry.load("hooks", "llada")(model)
    module, busy = hook.final_norm() if place == "final" else hook.layers()[place], []

    def again(module: Any, args: Any, options: Any) -> None:
        if not busy:
            busy.append(1)
            module(*args, **options)
            busy.clear()

    module.register_forward_pre_hook(again, with_kwargs=True)
    with sri_sdk.DeviceTape(model, tokens=2 * TOKENS, layers=(0,)):
        run, _ = watched(model, eager(model), layers=(0, "final"))
    assert {t.reasons[0] for t in run.traces} == {"tap_fired_twice"}
    assert f"more rows than their tokens came from layer {place} in 8" in str(run.failure)


def test_a_generation_that_raised_is_interrupted_with_a_tape_as_without() -> None:
    family = type(registry.load("hooks", "llada")(build(LLaDAModelLM)))
    kind = type("Diffuses", (family,), {"calls": ("diffuse",)})

    def fails_at(model: Any, last: int) -> Any:
        passes: list[int] = []

        def logits(canvas: torch.Tensor) -> torch.Tensor:
            passes.append(1)
            if len(passes) == last:
                raise RuntimeError("stopped")
            return model(canvas).logits

        return logits

    found = []
    for taped in (False, True):
        model = build(LLaDAModelLM)
        model.diffuse = lambda model=model: generate(fails_at(model, 5))
        hook = kind(model)
        tape = sri_sdk.DeviceTape(model, tokens=TOKENS, hook=hook) if taped else contextlib.nullcontext()
        with tape, sri_sdk.watch(model, hook=hook, pooling="response") as run, contextlib.suppress(RuntimeError):
            model.diffuse()
        found.append([(t.steps, t.reasons) for t in run.traces])
    assert found == [[(4, ("interrupted",))] * 2] * 2


def test_a_watch_whose_hook_reads_elsewhere_is_refused() -> None:
    model = build(LLaDAModelLM)
    hook = registry.load("hooks", "llada")(model)
    family = type(hook)
    others = {
        "the last norm": {"final_norm": lambda self: self.layers()[0]},
        "the embedding": {"embedding": lambda self: torch.nn.Embedding(3, 3)},
        "block 0": {"layers": lambda self: family.layers(self)[1:]},
        "more than a pass shows": {"observed_methods": ("sample",)},
    }
    with sri_sdk.DeviceTape(model, tokens=TOKENS, layers=(0,), hook=hook):
        for said, parts in others.items():
            other = type("Other", (family,), parts)(model)
            refused = pytest.raises(ConfigError, match=f"Other reads {said}")
            with refused, sri_sdk.watch(model, hook=other, layers=(0, "final")):
                pass
        # Another hook that reads the same.
        run, _ = watched(model, eager(model), hook=family(model), layers=(0, "final"))
        assert [t.reasons for t in run.traces] == [()] * 2


def test_passes_that_are_not_to_be_heard_are_refused_while_a_watch_reads_the_tape() -> None:
    model = build(LLaDAModelLM)
    with sri_sdk.DeviceTape(model, tokens=TOKENS):
        with tap_of(model).unheard():
            generate(eager(model))
        refused = pytest.raises(ConfigError, match="no part of the generation")
        with sri_sdk.watch(model), refused, tap_of(model).unheard():
            pass


def test_positions_that_no_tape_keeps_are_not_guessed() -> None:
    case = registry.load("hooks", "wedlm").example()
    model, hook = case.hook.model, case.hook
    with sri_sdk.DeviceTape(model, tokens=1000, hook=hook), sri_sdk.watch(model, hook=hook) as run:
        case.generate(case.encoded)
    assert run.traces[0].reasons[0] == "hook_failed" and "position_ids cannot be seen" in str(run.failure)
