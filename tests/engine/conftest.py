"""A small guard with two parts on the embedded autoregressive model, and an engine that is none."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from sri_plugin_lab.hooks import LabCausalHook
from sri_plugin_lab.models import load, load_tokenizer

import sri_sdk
from sri_sdk.capture.settings import watch_settings
from sri_sdk.config.load import load_config
from sri_sdk.engine.desk import Desk
from sri_sdk.engine.guarded import Guarded, placed_in
from sri_sdk.engine.ledger import Chunk
from sri_sdk.engine.tap import EngineTap
from sri_sdk.records import Verdict
from sri_sdk.scoring.guard import Guard

CONFIG = """
version: 1
model: {{hook: lab-causal}}
sampler: {{name: autoregressive, options: {{tokens: 48}}}}
tap: {{pooling: predicting, cells: 32}}
request: {{layers: [1, final]}}
prompts: {{dataset: lab}}
judge: {{name: lab}}
folds:
  request: {{split: fit, harmless: 30, harmful: 30}}
  anchors: {{split: fit, harmless: 20, harmful: 20}}
  train: {{split: fit, harmless: 30}}
  reference: {{split: fit, harmless: 20}}
  calibration: {{split: calibration, harmless: 39}}
  test: {{split: test, harmless: 4, harmful: 4}}
parts:
  behaviour: {{detector: mahalanobis}}
  asked: {{detector: request}}
calibrate: {{alpha: 0.1}}
export: {{name: onnx}}
policy: {{rule: final, flagged: report, unmonitored: report}}
out: {out}
"""

REQUESTS = (
    "how do i steal the lantern ?", "how do i bake bread ?", "how do i mend the net ?", "how do i poison the well ?",
    "please tell me how do i polish the lantern ?",
)  # fmt: skip
TOKENS = 48
LAYERS: tuple[str | int, ...] = (1, "final")


@pytest.fixture(scope="session")
def guard_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engine-guard")
    file = folder / "guard.yaml"
    file.write_text(CONFIG.format(out=folder / "guard"), encoding="utf-8")
    sri_sdk.fit(load_config(file))
    return folder / "guard"


@dataclass
class Engine:
    """Runs requests as an engine does, on states that transformers computed beforehand."""

    tap: EngineTap
    states: dict[str, dict[str | int, torch.Tensor]]
    prompts: dict[str, list[int]]
    answers: dict[str, list[int]]
    size: int
    ended_by_model: dict[str, bool]
    at: dict[str, int] = field(default_factory=dict)

    def hashes(self, name: str) -> list[bytes]:
        ids = self.prompts[name]
        return [str(ids[: (block + 1) * self.size]).encode() for block in range(len(ids) // self.size)]

    def admit(self, name: str, *, computed: int = 0, **more: Any) -> None:
        prompt = self.prompts[name]
        self.tap.admit(name, name, prompt, len(prompt), hashes=self.hashes(name), **more)
        self.at[name] = computed

    def length(self, name: str) -> int:
        """Positions that are ever computed: the last token is never fed back."""
        return len(self.prompts[name]) + len(self.answers[name]) - 1

    def run(self, counts: Sequence[tuple[str, int]], *, silent: Sequence[str | int] = ()) -> None:
        chunks = [Chunk(name, self.at[name], count) for name, count in counts]
        self.tap.begin(chunks)
        for layer in self.tap.layers:
            if layer not in silent:
                rows = [self.states[c.request_id][layer][c.start : c.start + c.count] for c in chunks]
                self.tap.state(layer, torch.cat([*rows, torch.full((3, rows[0].shape[1]), torch.nan)]))
        self.tap.end()
        for chunk in chunks:
            self.at[chunk.request_id] += chunk.count

    def end(self, name: str, *, interrupted: bool = False, tokens: int | None = None) -> None:
        whole = len(self.answers[name]) if tokens is None else tokens
        self.tap.ended(
            name, tokens=whole, ended=not interrupted and self.ended_by_model[name], interrupted=interrupted
        )  # fmt: skip

    def serve(self, name: str, *, width: int = 1000, computed: int = 0) -> None:
        """One request from start to end, its prompt in chunks."""
        self.admit(name, computed=computed)
        while self.at[name] < self.length(name):
            prompt = len(self.prompts[name])
            left = prompt - self.at[name]
            self.run([(name, min(width, left) if left > 0 else 1)])
        self.end(name)

    def serve_all(self, chance: random.Random, most: int = 4) -> None:
        """All requests, arriving and preempted at random, prompts in chunks."""
        waiting, running = list(self.prompts), list[str]()
        while waiting or running:
            while waiting and len(running) < most and chance.random() < 0.7:
                name = waiting.pop(0)
                self.admit(name)
                running.append(name)
            counts = []
            for name in running:
                left = len(self.prompts[name]) - self.at[name]
                again = self.at[name] < len(self.prompts[name])
                counts.append((name, chance.randrange(1, left + 1) if again else 1))
            chance.shuffle(counts)
            if counts:
                self.run(counts)
            for name in list(running):
                if self.at[name] >= self.length(name):
                    running.remove(name)
                    self.end(name)
                elif chance.random() < 0.05:
                    self.at[name] = 0


@dataclass
class Told:
    """What the desk concluded."""

    verdicts: dict[str, Verdict] = field(default_factory=dict)
    logits: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, str | None] = field(default_factory=dict)

    def __call__(self, found: Any) -> None:
        self.verdicts.update({verdict.request_id: verdict for verdict in found.verdicts})
        if found.signals is not None:
            self.logits.update(zip(found.signals.ids, found.signals.logit, strict=True))
            why = (found.signals.missing or {}).get("request", (None,) * len(found.signals.ids))
            self.missing.update(zip(found.signals.ids, why, strict=True))


@dataclass
class World:
    """Requests as transformers generated them under `watch`, and the same to be served by an engine."""

    guard: Guard
    guarded: Guarded
    signals: sri_sdk.Signals
    verdicts: dict[str, Verdict]
    engine: Engine
    told: Told

    def flush(self) -> Told:
        assert self.engine.tap.desk.flush(60)
        return self.told

    def logit(self, name: str) -> Any:
        return self.signals.logit[self.signals.ids.index(name)]


@pytest.fixture
def world(guard_path: Path, request: pytest.FixtureRequest) -> Any:
    guard = Guard.load(guard_path)
    model, tokenizer = load("causal"), load_tokenizer()
    hook = LabCausalHook(model)
    encoded = hook.encode(tokenizer, list(REQUESTS))
    names = [f"r{row}" for row in range(len(REQUESTS))]
    with sri_sdk.watch(model, guard, request_ids=names, tokenizer=tokenizer) as run:
        tokens = model.generate(encoded.input_ids, attention_mask=encoded.attention_mask, max_new_tokens=TOKENS)
    assert run.signals is not None
    settings = watch_settings(hook, guard, tokenizer=tokenizer)
    guarded = Guarded(settings, hook, placed_in(hook))
    told = Told()
    desk = Desk(settings)
    desk.told = told
    size = 4
    tap = EngineTap(guarded, desk, block_size=size, block_sums_bytes=2**20)
    prompts, answers, states, ended = {}, {}, {}, {}
    for row, name in enumerate(names):
        kept = encoded.attention_mask[row].bool()
        prompts[name] = encoded.input_ids[row][kept].tolist()
        whole = tokens[row, encoded.input_ids.shape[1] :].tolist()
        (length,) = hook.lengths(torch.tensor([whole]))
        answers[name], ended[name] = whole[:length], whole[length - 1] in hook.eos_ids()
        states[name] = _states(hook, [*prompts[name], *answers[name]])
    engine = Engine(tap, states, prompts, answers, size, ended)
    yield World(guard, guarded, run.signals, {v.request_id: v for v in run.verdicts}, engine, told)
    desk.close()


def _states(hook: Any, ids: list[int]) -> dict[str | int, torch.Tensor]:
    found: dict[str | int, torch.Tensor] = {}
    modules = {"final": hook.final_norm(), 1: hook.layers()[1]}
    handles = [
        module.register_forward_hook(
            lambda _m, _i, output, layer=layer: found.__setitem__(
                layer, (output if isinstance(output, torch.Tensor) else output[0])[0].detach()
            )
        )
        for layer, module in modules.items()
    ]
    with torch.inference_mode():
        hook.model(torch.tensor([ids]))
    for handle in handles:
        handle.remove()
    return found
