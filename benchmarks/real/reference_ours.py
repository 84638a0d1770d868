"""Our side of the comparison: the collector that `sri fit` uses, on the reference's profile."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from sri_plugin_causal.hook import CausalHook
from sri_plugin_prompts.refusal_phrases import RefusalPhrasesJudge
from sri_plugin_samplers.autoregressive import AutoregressiveSampler

from benchmarks.real.reference_side import STEPS, SYSTEM_PROMPT, Floats, Made
from sri_sdk.anchors import AnchorBuilder, Anchors
from sri_sdk.capture.drive import Drive
from sri_sdk.capture.identity import fingerprint
from sri_sdk.capture.settings import WatchSettings
from sri_sdk.capture.stream import SignalStream
from sri_sdk.fitting.collect import Collector
from sri_sdk.fitting.judged import Judged
from sri_sdk.grid import StepGrid
from sri_sdk.records import Outcome, Prompt
from sri_sdk.signal import EPS, TAU

POOLING = "predicting"
"""The reference's: the running mean of the last norm's state that predicts each token."""


@dataclass(frozen=True)
class Noting(Collector):
    """A collector that also keeps every generation, as the reference does."""

    kept: dict[str, Made] = field(default_factory=dict)

    def generate(self, prompts: Sequence[Prompt], settings: WatchSettings) -> tuple[Drive, Judged]:
        """As the base does it."""
        driven, said = Collector.generate(self, prompts, settings)
        if settings.keep_states:
            assert driven.step is not None and settings.grid is not None
            drafts = driven.step.draft
            lengths = self.hook.lengths(drafts)
            for row, (prompt, trace) in enumerate(zip(prompts, driven.run.traces, strict=True)):
                tokens = drafts[row, : lengths[row]].tolist()
                phi = settings.grid.place(trace.phi, trace.clock)[:, 0]
                self.kept[prompt.id] = Made(tokens, phi, said.outcomes[row] == "refusal")
        return driven, said

    def signal_settings(self, anchors: Anchors) -> WatchSettings:
        """As the base does it, with the states kept."""
        return replace(Collector.signal_settings(self, anchors), keep_states=True)


class Ours:
    """In batches of any size."""

    def __init__(self, model: Path, batch_size: int) -> None:
        self._loaded = CausalHook.load(CausalHook.Config(source=str(model), offline=True, dtype="float32"))
        self._hook, self._batch_size = CausalHook(self._loaded.model), batch_size
        self.kept: dict[str, Made] = {}
        self._anchors: Anchors | None = None

    def _collector(self, folder: str, steps: int) -> Noting:
        sampler = AutoregressiveSampler(AutoregressiveSampler.Config(tokens=steps, temperature=0.0))
        grid = StepGrid(steps, "step", steps)
        printed = fingerprint(
            self._hook, pooling=POOLING, layers=("final",), grid=grid, sampler={"name": "autoregressive"},
            system_prompt=SYSTEM_PROMPT,
        )  # fmt: skip
        return Noting(
            hook=self._hook, loaded=self._loaded, sampler=sampler, judge=RefusalPhrasesJudge(),
            judge_name="refusal-phrases", fingerprint=printed, settings=WatchSettings(POOLING, ("final",), grid),
            cache=Path(folder), seed=0, batch_size=self._batch_size, system_prompt=SYSTEM_PROMPT,
            progress=lambda *_: None, kept=self.kept,
        )  # fmt: skip

    def warm(self, prompt: Prompt) -> None:
        """One watched generation of two steps."""
        with tempfile.TemporaryDirectory() as folder:
            collector = self._collector(folder, steps=2)
            collector.generate([prompt], collector.settings)

    def anchors(self, prompts: Sequence[Prompt]) -> tuple[Floats, Floats]:
        """By the collector, its notes for interrupted runs included."""
        with tempfile.TemporaryDirectory() as folder:  # nothing is resumed
            self._anchors = self._collector(folder, STEPS).anchors(prompts)
        return self._anchors.harmless[:, 0], self._anchors.harmful[:, 0]

    def signals(self, prompts: Sequence[Prompt]) -> Floats:
        """Generated once more, under watch with the anchors."""
        assert self._anchors is not None
        with tempfile.TemporaryDirectory() as folder:
            return self._collector(folder, STEPS).signals("signals", prompts, self._anchors).signals.sigma[..., 0]

    def signals_of(self, states: Sequence[Floats], harmless: Sequence[Prompt], harmful: Sequence[Prompt]) -> Floats:
        """By the stream that a watch feeds, step by step."""
        assert self._anchors is not None
        builder = AnchorBuilder((STEPS, 1, self._hook.hidden_size()))
        for prompt in (*harmless, *harmful):
            outcome: Outcome = "refusal" if prompt.label == "harmful" else "harmless"
            builder.add(prompt.label, outcome, self.kept[prompt.id].phi[:, None], prompt_id=prompt.id)
        anchors = builder.build(self._anchors.fingerprint, {})
        stream = SignalStream(anchors, StepGrid(STEPS, "step", STEPS), len(states), tau=TAU, eps=EPS)
        phi, every = torch.from_numpy(np.stack(states)), np.ones(len(states), dtype=np.bool_)
        for step in range(STEPS):
            before = np.full(len(states), step, dtype=np.int64)
            stream.add(phi[:, step, None], before, before + 1, every)
        stream.finish(every)
        return stream.sigma[..., 0]

    def encoded(self, prompt: Prompt) -> Sequence[int]:
        """By the hook."""
        found: list[int] = self._hook.encode(self._loaded.tokenizer, [prompt.text], SYSTEM_PROMPT).input_ids[0].tolist()
        return found
