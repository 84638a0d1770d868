"""A batch watched from first draft to response: signals, outcomes, clocks, and what the judge says on the way."""

from __future__ import annotations

import time
import zlib
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sri_sdk import registry
from sri_sdk.anchors import Anchors
from sri_sdk.capture.drive import Drive
from sri_sdk.evaluation.steered import Steered
from sri_sdk.fitting.generating import Generating, texts_of
from sri_sdk.fitting.judged import judged
from sri_sdk.fitting.packed import Batch
from sri_sdk.fitting.tasks import Task, anchors_state, restored_anchors
from sri_sdk.judge import Judge
from sri_sdk.metrics.outcomes import NONE, codes
from sri_sdk.records import Prompt
from sri_sdk.strict_json import write
from sri_sdk.thoughts import Thoughts


@dataclass(frozen=True, slots=True)
class WatchedDrafts(Task):
    """What an evaluation keeps of its generations."""

    name = "drafts"

    anchors: Anchors
    judge: Judge | None
    """Judges the draft of every step; None = nobody does."""
    judge_name: str
    """Its entry point; empty = there is none."""
    keep_texts: bool
    keep_drafts: bool
    steered: Steered | None = None
    """How the model is steered while it is watched; None = it is not."""

    def make(self, live: Generating, prompts: Sequence[Prompt]) -> Batch:
        """`sigma`, `logit` [B, T, C] float32, `outcomes` [B], `clock` [B, S + 1] int64, `drafts` [B, S] int8; and
        notes: seconds, responses, and counts of what may make them worthless."""  # fmt: skip
        budget = live.sampler.budget()
        onlooker = _Onlooker(prompts, self.judge, live.hook.thoughts, budget, keep=self.keep_drafts)
        start = time.perf_counter()
        with nullcontext() if self.steered is None else self.steered.on(live.hook, budget):
            driven = live.run(prompts, live.signal_settings(self.anchors), onlooker)
        seconds = time.perf_counter() - start - onlooker.paused
        signals, clocks = driven.run.signals, [trace.clock for trace in driven.run.traces]
        assert signals is not None
        said = live.judged(prompts, texts_of(driven))
        width = max(budget + 1, *(len(clock) for clock in clocks))
        arrays: dict[str, NDArray[Any]] = {
            "sigma": signals.sigma,
            "logit": signals.logit,
            "outcomes": codes(said.outcomes),
            "clock": np.stack([np.pad(c, (0, width - len(c)), mode="edge") for c in clocks]).astype(np.int64),
            "drafts": onlooker.drafts,
        }
        if onlooker.texts is not None:
            # Drafts of one response differ by a few words each: packed, they take a tenth.
            packed = zlib.compress(write(onlooker.texts).encode())
            arrays["draft_texts"] = np.frombuffer(packed, dtype=np.uint8)
        return arrays, {
            "seconds": seconds,
            "responses": list(driven.texts) if self.keep_texts else None,
            "counts": {**said.counts, **({"unparsable drafts": onlooker.unparsable} if onlooker.unparsable else {})},
            "drafts": onlooker.judged,
        }

    def state(self) -> Batch:
        """The anchors, see `anchors_state`; `vectors` [K, D] and `means` [2, B] float32 of the direction, if any."""
        arrays, notes = anchors_state(self.anchors)
        steering, how = ({}, None) if self.steered is None else self.steered.state()
        judge = None if self.judge is None else [self.judge_name, self.judge.config.model_dump(mode="json")]
        more = {"judge": judge, "keep": [self.keep_texts, self.keep_drafts], "steered": how}
        return {**arrays, **steering}, {**notes, **more}

    @classmethod
    def restored(cls, state: Batch) -> Self:
        """The inverse of `state`, from the same arrays [...]."""
        arrays, notes = state
        name, options = notes["judge"] or ("", {})
        texts, drafts = notes["keep"]
        return cls(
            restored_anchors(state), registry.build("judges", name, options) if name else None, name,
            keep_texts=texts, keep_drafts=drafts,
            steered=None if notes["steered"] is None else Steered.restored(arrays, notes["steered"]),
        )  # fmt: skip


class _Onlooker:
    """Reads and judges the draft of every step, and measures the time that takes, which is not generating."""

    def __init__(
        self, prompts: Sequence[Prompt], judge: Judge | None, thoughts: Thoughts, budget: int, *, keep: bool
    ) -> None:  # fmt: skip
        self._prompts, self._judge, self._thoughts = prompts, judge, thoughts
        self.judged = 0
        """Drafts that the judge saw."""
        self.unparsable: list[str] = []
        """Ids of the prompts of those whose judgement could not be read."""
        self.drafts = np.full((len(prompts), budget), NONE, dtype=np.int8)
        self.texts: list[list[str]] | None = [[] for _ in prompts] if keep else None
        self.paused = 0.0

    def __call__(self, driven: Drive) -> None:
        if driven.step is None or (self._judge is None and self.texts is None):
            return
        start = time.perf_counter()
        active = np.flatnonzero(driven.step.active.cpu().numpy()).tolist()
        texts = driven.texts
        if self._judge is not None:
            # A draft without an answer yet is no fault, so only what the judge gets wrong is counted.
            said = judged(self._judge, self._thoughts, [self._prompts[i] for i in active], [texts[i] for i in active])
            self.drafts[active, driven.step.index] = codes(said.outcomes)
            self.judged += len(active)
            self.unparsable += said.counts.get("unparsable", ())
        if self.texts is not None:
            for row in active:
                self.texts[row].append(texts[row])
        self.paused += time.perf_counter() - start
