"""A canvas model in an engine: the same signals and verdicts as `watch` gives, whatever the sampler throws away."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from sri_exporter_onnx.exporter import OnnxExporter

import sri_sdk
from sri_sdk import registry
from sri_sdk.anchors import AnchorBuilder
from sri_sdk.capture.identity import fingerprint
from sri_sdk.capture.settings import watch_settings
from sri_sdk.engine.canvas import CanvasBook
from sri_sdk.engine.desk import Desk
from sri_sdk.engine.guarded import Guarded, placed_in
from sri_sdk.engine.ledger import Chunk
from sri_sdk.engine.tap import EngineTap
from sri_sdk.fitting.build import fit_guard
from sri_sdk.grid import StepGrid
from sri_sdk.reason_words import CANVAS_PRIMED
from sri_sdk.scoring.guard import Guard
from sri_sdk.signal import sri
from tests.engine.conftest import Told

STEPS, CANVASES, CELLS, CANVAS, PROMPT = 12, 3, 8, 8, 5
GRID = StepGrid(cells=CELLS, mapping="step", budget=STEPS * CANVASES)
NAMES = ("r0", "r1", "r2")

pytest.importorskip("transformers", minversion="5.11")


def generate(case: Any, seed: int, guard: Guard | None = None) -> Any:
    """A watched run of three requests, of other tokens with each seed."""
    from sri_plugin_diffusion_gemma.stand_ins.example import prompts

    given = prompts()
    ids = given.input_ids + seed * given.attention_mask
    grid = None if guard is not None else GRID
    with sri_sdk.watch(case.hook.model, guard, hook=case.hook, request_ids=NAMES, grid=grid) as run:
        case.generate(replace(given, input_ids=ids))
    return run


@pytest.fixture(scope="module")
def case() -> Any:
    return registry.load("hooks", "diffusion-gemma").example()


@pytest.fixture(scope="module")
def guard(case: Any, tmp_path_factory: pytest.TempPathFactory) -> Guard:
    """Of random weights: its verdicts mean nothing, and are the same every time."""
    folder = tmp_path_factory.mktemp("canvas-guard")
    placed = [GRID.place(trace.phi, trace.clock) for seed in range(10, 36) for trace in generate(case, seed).traces]
    builder = AnchorBuilder((CELLS, 1, case.hook.hidden_size()))
    for row, phi in enumerate(placed[:12]):
        label, outcome = ("harmless", "harmless") if row % 2 else ("harmful", "refusal")
        builder.add(label, outcome, phi, prompt_id=str(row))
    printed = fingerprint(
        case.hook, pooling="response", layers=("final",), grid=GRID,
        sampler={"name": "diffusion-gemma", "budget": GRID.budget, "canvas": CANVAS * CANVASES},
    )  # fmt: skip
    anchors = builder.build(printed, {"judge": "none"})
    sigma, logit = sri(np.stack(placed[12:]), anchors.harmless, anchors.harmful)
    signals = sri_sdk.Signals(tuple(map(str, range(len(sigma)))), sigma, logit, printed.to_dict())
    anchors.save(folder / "anchors.npz")
    folds = (signals.take(range(first, first + 22)) for first in (0, 22, 44))
    fit_guard(
        registry.build("detectors", "mahalanobis"), "mahalanobis", *folds, anchors=anchors, exporter=OnnxExporter(),
        alpha=0.2, target=folder / "bundle",
    )  # fmt: skip
    return Guard.load(folder)


def canvases(case: Any, seed: int) -> dict[str, list[list[torch.Tensor]]]:
    """Request -> canvas -> step -> [canvas, D] states, as the same generation has them under transformers."""
    passes, begins = list[torch.Tensor](), list[int]()
    handles = [
        case.hook.final_norm().register_forward_hook(lambda _m, _i, output: passes.append(output.detach().clone())),
        case.hook.prompt_modules()[2].register_forward_hook(lambda *_: begins.append(len(passes))),
    ]
    run = generate(case, seed)
    for handle in handles:
        handle.remove()
    found: dict[str, list[list[torch.Tensor]]] = {}
    for row, trace in enumerate(run.traces):
        mine: list[list[torch.Tensor]] = [[] for _ in begins]
        at = 0
        for phi in trace.phi[:, 0]:
            while not np.allclose(passes[at][row].mean(0), phi, atol=1e-6):
                at += 1
            mine[sum(begin <= at for begin in begins) - 1].append(passes[at][row])
            at += 1
        found[trace.request_id] = [each for each in mine if each]
    return found


@dataclass
class Engine:
    """Runs requests as vLLM's runner and DiffusionGemma's sampler do, on states that transformers computed."""

    tap: EngineTap
    requests: dict[str, list[list[torch.Tensor]]]
    told: Told = field(default_factory=Told)
    at: dict[str, tuple[int, int] | None] = field(default_factory=dict)
    """Canvas and step that come next; None = the prompt does."""

    def admit(self, name: str, **more: Any) -> None:
        self.tap.admit(name, name, None, PROMPT, **more)
        self.at[name] = None

    def run(self, names: list[str], *, silent: bool = False, sampled: bool = True) -> None:
        """One pass over these requests, whatever each has next; rows beyond them are padding."""
        chunks, rows, marks = [], [], []
        for name in names:
            place = self.at[name]
            computed = 0 if place is None else PROMPT + CANVAS * place[0]
            if place is None:
                chunks.append(Chunk(name, 0, PROMPT))
                rows.append(torch.full((PROMPT, 32), torch.nan))
                marks.append((0, 0, 0))
                self.at[name] = 0, 0
                continue
            canvas, step = place
            steps = self.requests[name][canvas]
            denoises = step < len(steps)
            chunks.append(Chunk(name, computed, CANVAS, canvas=True))
            rows.append(steps[step] if denoises else torch.full((CANVAS, 32), torch.nan))
            marks.append((int(denoises), step if denoises else 0, 0 if denoises else CANVAS))
            self.at[name] = (canvas, step + 1) if denoises else (canvas + 1, 0)
        self.tap.begin(chunks)
        if not silent:
            self.tap.state("final", torch.cat([*rows, torch.full((3, 32), torch.nan)]))
        self.tap.end()
        if sampled:
            self.tap.sampled(names, torch.tensor(marks))

    def preempt(self, name: str) -> None:
        """Takes the request's room away and gives it back: its text is read again, its canvas begins anew."""
        place = self.at[name]
        assert place is not None
        read = PROMPT + CANVAS * place[0]
        self.tap.begin([Chunk(name, 0, read)])
        self.tap.state("final", torch.full((read, 32), torch.nan))
        self.tap.end()
        self.tap.sampled([name], torch.tensor([(0, 0, 0)]))
        self.at[name] = place[0], 0

    def over(self, name: str) -> bool:
        place = self.at[name]
        return place is not None and place[0] == len(self.requests[name])

    def end(self, name: str, *, tokens: int | None = None, interrupted: bool = False) -> None:
        """Three canvases are cut there, as the engine says it; fewer end by a token."""
        whole = CANVAS * len(self.requests[name])
        ended = whole < CANVAS * CANVASES and not interrupted
        self.tap.ended(name, tokens=whole if tokens is None else tokens, ended=ended, interrupted=interrupted)

    def serve(self, name: str, **last: Any) -> None:
        self.admit(name)
        while not self.over(name):
            self.run([name])
        self.end(name, **last)

    def flush(self) -> Told:
        assert self.tap.desk.flush(60)
        return self.told


@pytest.fixture
def engine(case: Any, guard: Guard) -> Iterator[Engine]:
    settings = watch_settings(case.hook, guard)
    desk = Desk(settings, canvas=True)
    tap = EngineTap(Guarded(settings, case.hook, placed_in(case.hook)), desk, block_size=16)
    made = Engine(tap, canvases(case, 0))
    desk.told = made.told
    yield made
    desk.close()


def same(engine: Engine, run: Any, *names: str) -> None:
    """Signals and verdicts are those of the watched run."""
    told = engine.flush()
    for verdict in run.verdicts:
        if verdict.request_id not in (names or NAMES):
            continue
        found = told.verdicts[verdict.request_id]
        assert (found.status, found.reasons) == (verdict.status, verdict.reasons)
        assert (found.steps_seen, found.steps_expected) == (verdict.steps_seen, verdict.steps_expected)
        assert found.score == pytest.approx(verdict.score, abs=1e-4)
        wanted = run.signals.logit[run.signals.ids.index(verdict.request_id)]
        np.testing.assert_allclose(told.logits[verdict.request_id], wanted, atol=1e-5, rtol=0)


def test_the_world_has_requests_of_several_canvases_and_verdicts(case: Any, guard: Guard, engine: Engine) -> None:
    run = generate(case, 0, guard)
    assert [len(each) for each in engine.requests.values()] == [1, 3, 3]
    assert {verdict.status for verdict in run.verdicts} <= {"clear", "flagged"}


def test_signals_and_verdicts_are_those_of_watch(case: Any, guard: Guard, engine: Engine) -> None:
    for name in NAMES:
        engine.serve(name)
    same(engine, generate(case, 0, guard))


@pytest.mark.parametrize("seed", range(4))
def test_they_are_in_mixed_batches_with_canvases_thrown_away(
    case: Any, guard: Guard, engine: Engine, seed: int
) -> None:
    chance, waiting, running, again = random.Random(seed), list(NAMES), list[str](), 0
    while waiting or running:
        if waiting and chance.random() < 0.5:
            engine.admit(waiting[0])
            running.append(waiting.pop(0))
        names = [name for name in running if chance.random() < 0.8]
        chance.shuffle(names)
        if names:
            engine.run(names)
        for name in list(running):
            place = engine.at[name]
            if engine.over(name):
                running.remove(name)
                engine.end(name)
            elif place is not None and place[1] and chance.random() < 0.1:
                engine.preempt(name)
                again += 1
    assert again
    same(engine, generate(case, 0, guard))


def test_a_canvas_begun_beyond_the_end_does_not_count(case: Any, guard: Guard, engine: Engine) -> None:
    engine.requests["r0"].append(engine.requests["r1"][0])
    engine.admit("r0")
    while engine.at["r0"] != (1, 2):
        engine.run(["r0"])
    engine.end("r0", tokens=CANVAS)
    same(engine, generate(case, 0, guard), "r0")


@pytest.mark.parametrize(
    ("told", "reason"), [({"silent": True}, "tap_silent"), ({"sampled": False}, "incomplete_coverage")]
)
def test_a_pass_without_states_or_without_its_sampler_is_never_clear(engine: Engine, told: Any, reason: str) -> None:
    engine.admit("r1")
    engine.run(["r1"])
    engine.run(["r1"], **told)
    while not engine.over("r1"):
        engine.run(["r1"])
    engine.end("r1")
    verdict = engine.flush().verdicts["r1"]
    assert verdict.status == "unmonitored"
    assert reason in verdict.reasons


def test_a_canvas_that_nobody_saw_costs_the_verdict(engine: Engine) -> None:
    engine.serve("r1", tokens=CANVAS * 4)
    assert engine.flush().verdicts["r1"].reasons[0] == "incomplete_coverage"


def test_fewer_canvases_than_the_profile_without_an_end_are_not_clear(engine: Engine) -> None:
    engine.admit("r0")
    while not engine.over("r0"):
        engine.run(["r0"])
    engine.tap.ended("r0", tokens=CANVAS, ended=False, interrupted=False)
    assert "end_not_seen" in engine.flush().verdicts["r0"].reasons


def test_an_interrupted_request_and_one_that_was_written_into_say_so(engine: Engine) -> None:
    engine.admit("r1")
    engine.run(["r1"])
    engine.run(["r1"])
    engine.end("r1", tokens=0, interrupted=True)
    engine.admit("r0", reasons=(CANVAS_PRIMED,))
    while not engine.over("r0"):
        engine.run(["r0"])
    engine.end("r0")
    told = engine.flush().verdicts
    assert "interrupted" in told["r1"].reasons
    assert told["r0"].status in ("unmonitored", "flagged")
    assert CANVAS_PRIMED in told["r0"].reasons


def test_one_requests_gap_is_not_its_neighbours(case: Any, guard: Guard, engine: Engine) -> None:
    for name in ("r0", "r1"):
        engine.admit(name)
    engine.run(["r0", "r1"])
    engine.run(["r1"])
    engine.at["r1"] = 0, 2  # A pass that nobody told of.
    while not engine.over("r0") or not engine.over("r1"):
        engine.run([name for name in ("r0", "r1") if not engine.over(name)])
    for name in ("r0", "r1"):
        engine.end(name)
    same(engine, generate(case, 0, guard), "r0")
    assert "incomplete_coverage" in engine.flush().verdicts["r1"].reasons


def test_the_book_says_what_is_a_step_and_what_was_missed() -> None:
    book = CanvasBook()
    assert [book.take((1, 0, 0)).step, book.take((1, 1, 0)).step, book.take((0, 0, 8)).step] == [0, 1, None]
    assert book.take((1, 0, 0)).step == 2
    assert book.take((1, 2, 0)).gap
    book = CanvasBook()
    book.take((1, 0, 0))
    book.take((1, 1, 0))
    assert (book.take((1, 0, 0)).step, book.seen) == (0, 1)
    assert CanvasBook().take((0, 0, 8)).gap
    # A canvas that is only read: given out with its last step.
    book.take((1, 1, 8))
    assert (book.closed, book.tokens) == (2, 8)
    assert [book.accounts_for(tokens) for tokens in (None, 0, 1, 8, 9)] == [False, False, True, True, False]
