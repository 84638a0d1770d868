"""A guard for the toy model: random weights, so its verdicts mean nothing, but they are the same every time."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sri_exporter_onnx.exporter import OnnxExporter
from sri_plugin_toy.detector import ToyDetector
from sri_plugin_toy.hook import ToyHook
from sri_plugin_toy.model import ToyTokenizer, build
from sri_plugin_toy.sampler import STEPS, ToySampler

from sri_sdk import registry
from sri_sdk.anchors import AnchorBuilder
from sri_sdk.capture.drive import drive
from sri_sdk.capture.identity import fingerprint
from sri_sdk.capture.settings import WatchSettings
from sri_sdk.fitting.build import fit_guard
from sri_sdk.grid import StepGrid
from sri_sdk.records import LoadedModel, Prompt, Signals
from sri_sdk.scoring.guard import Guard

GRID = StepGrid(cells=STEPS, mapping="step", budget=STEPS)


def toy_prompts(count: int, *, start: int = 0) -> list[Prompt]:
    """Prompts of different lengths, so that batches need padding."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    texts = [letters[i % 26] * (1 + i % 5) + " " + letters[(7 * i) % 26 :][:4] for i in range(start, start + count)]
    return [Prompt(f"p{i}", text, "harmless") for i, text in enumerate(texts, start)]


@dataclass(frozen=True)
class Toy:
    """The toy family, ready to generate."""

    hook: ToyHook
    loaded: LoadedModel
    sampler: ToySampler
    settings: WatchSettings

    def inputs(self, prompts: list[Prompt]) -> dict[str, torch.Tensor]:
        encoded = self.hook.encode(self.loaded.tokenizer, [p.text for p in prompts])
        return {"input_ids": encoded.input_ids, "attention_mask": encoded.attention_mask}

    def drive(self, prompts: list[Prompt], **changes: Any) -> Any:
        batch = drive(self.hook, self.loaded, self.sampler, prompts, replace(self.settings, **changes))
        for _ in batch:
            pass
        return batch


def example_of(family: str) -> Any:
    """The example of a hook; the test is skipped where its family needs a newer transformers."""
    if family == "diffusion-gemma":
        pytest.importorskip("transformers", minversion="5.11")
    return registry.load("hooks", family).example()


@pytest.fixture
def toy() -> Toy:
    model = build(0)
    loaded = LoadedModel(model, ToyTokenizer(), "toy")
    return Toy(ToyHook(model), loaded, ToySampler(), WatchSettings("response", ("final",), GRID, keep_states=True))


@pytest.fixture(scope="session")
def toy_guard_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A guard folder for `build(0)` under the toy sampler, alpha = 5 %."""
    folder = tmp_path_factory.mktemp("toy-guard")
    model = build(0)
    loaded = LoadedModel(model, ToyTokenizer(), "toy")
    hook = ToyHook(model)
    printed = fingerprint(
        hook, pooling="response", layers=("final",), grid=GRID, sampler={"name": "toy", "budget": STEPS}
    )
    settings = WatchSettings("response", ("final",), GRID, keep_states=True)
    toy = Toy(hook, loaded, ToySampler(), settings)
    builder = AnchorBuilder((STEPS, 1, hook.hidden_size()))
    for row, trace in enumerate(toy.drive(toy_prompts(40)).run.traces):
        label, outcome = ("harmless", "harmless") if row % 2 else ("harmful", "refusal")
        builder.add(label, outcome, GRID.place(trace.phi, trace.clock), prompt_id=trace.request_id)
    anchors = builder.build(printed, {"judge": "none"})

    def signals(count: int, start: int) -> Signals:
        made = toy.drive(toy_prompts(count, start=start), anchors=anchors, fingerprint=printed).run.signals
        assert made is not None and np.isfinite(made.logit).all()
        return made

    anchors.save(folder / "anchors.npz")
    folds = signals(60, 100), signals(60, 200), signals(99, 300)
    fit_guard(
        ToyDetector(), "toy", *folds, anchors=anchors, exporter=OnnxExporter(), alpha=0.05, target=folder / "bundle"
    )
    return folder


@pytest.fixture
def toy_guard(toy_guard_path: Path) -> Guard:
    return Guard.load(toy_guard_path)


@pytest.fixture
def peft_model() -> Any:
    """A causal model with two adapters that both change it."""
    peft = pytest.importorskip("peft")
    from sri_plugin_causal.stand_ins import example

    config = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    model = peft.get_peft_model(example.build(), config)
    model.add_adapter("other", config)
    return model.eval()
