"""The generations of one group of prompts, with all that the metrics need of them."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sri_sdk.anchors import Anchors
from sri_sdk.capture.drive import Drive
from sri_sdk.evaluation.store import Store
from sri_sdk.fingerprint import Fingerprint
from sri_sdk.fitting.collect import Collector
from sri_sdk.judge import Judge
from sri_sdk.metrics.outcomes import NONE, OUTCOMES
from sri_sdk.records import Outcome, Prompt, Signals

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Generations:
    """N generations; everything in the order of the prompts."""

    prompts: tuple[Prompt, ...]
    signals: Signals
    """[N, T, C], every tapped layer."""
    outcomes: tuple[Outcome, ...]
    clock: NDArray[np.int64]
    """[N, S + 1] progress before each step and after the last; a generation that ended early repeats its last value."""
    drafts: NDArray[np.int8]
    """[N, S] place in `OUTCOMES` of each step's draft; `NONE` = no such step, or drafts were not judged."""
    responses: tuple[str, ...] | None
    """None = not stored."""
    draft_texts: tuple[tuple[str, ...], ...] | None
    """What each response read as after each of its steps; None = not stored."""
    seconds: float
    """Wall-clock time of generating, tap included, judging excluded, over all N."""

    def __len__(self) -> int:
        return len(self.prompts)

    def first(self, count: int | None) -> Generations:
        """The first `count`; None = all. Time is shared evenly."""
        if count is None or count >= len(self):
            return self
        return Generations(
            self.prompts[:count], self.signals.take(range(count)), self.outcomes[:count], self.clock[:count],
            self.drafts[:count], None if self.responses is None else self.responses[:count],
            None if self.draft_texts is None else self.draft_texts[:count], self.seconds * count / len(self),
        )  # fmt: skip

    @classmethod
    def joined(cls, parts: Sequence[Generations]) -> Generations:
        """Several groups as one.

        Raises:
            ValueError: there are none.
        """
        if not parts:
            raise ValueError("nothing to join")
        signals = Signals(
            tuple(name for part in parts for name in part.signals.ids),
            np.concatenate([part.signals.sigma for part in parts]),
            np.concatenate([part.signals.logit for part in parts]),
            parts[0].signals.fingerprint,
        )
        return cls(
            tuple(p for part in parts for p in part.prompts),
            signals,
            tuple(o for part in parts for o in part.outcomes),
            np.concatenate([part.clock for part in parts]),
            np.concatenate([part.drafts for part in parts]),
            _all(part.responses for part in parts),
            _all(part.draft_texts for part in parts),
            sum(part.seconds for part in parts),
        )


def _all(parts: Iterable[tuple[T, ...] | None]) -> tuple[T, ...] | None:
    """One tuple; None if a part is missing."""
    found = list(parts)
    return None if any(part is None for part in found) else tuple(x for part in found for x in part or ())


class _Onlooker:
    """Reads and judges the draft of every step, and takes the time that generating alone needs."""

    def __init__(self, prompts: Sequence[Prompt], judge: Judge | None, budget: int, *, keep: bool) -> None:
        self._prompts, self._judge = prompts, judge
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
            said = self._judge.judge([self._prompts[i] for i in active], [texts[i] for i in active])
            self.drafts[active, driven.step.index] = [OUTCOMES.index(outcome) for outcome in said]
        if self.texts is not None:
            for row in active:
                self.texts[row].append(texts[row])
        self.paused += time.perf_counter() - start


@dataclass(frozen=True, slots=True)
class Generator:
    """Generates groups of prompts under one model's tap, and finds again what a former run has made."""

    collector: Collector
    anchors: Anchors
    draft_judge: Judge | None
    draft_judge_name: str | None
    keep_texts: bool
    keep_drafts: bool
    advance: Callable[[str, int, int], None]
    """Called with the group's name, prompts done and prompts in all."""

    def group(self, name: str, prompts: Sequence[Prompt]) -> Generations:
        """All generations of one group.

        Raises:
            CaptureError: a generation could not be watched whole.
        """
        store = Store(self.collector.cache, name, self._key(prompts))
        size, parts = self.collector.batch_size, []
        for start in range(0, len(prompts), size):
            self.advance(name, start, len(prompts))
            batch = tuple(prompts[start : start + size])
            shard = f"{start:08d}"
            if (part := self._load(store, shard, batch)) is None:
                part = self._make(batch)
                self._save(store, shard, part)
            parts.append(part)
        self.advance(name, len(prompts), len(prompts))
        return Generations.joined(parts)

    def _make(self, batch: tuple[Prompt, ...]) -> Generations:
        budget = self.collector.sampler.budget()
        onlooker = _Onlooker(batch, self.draft_judge, budget, keep=self.keep_drafts)
        settings = replace(self.collector.settings, anchors=self.anchors, fingerprint=self.collector.fingerprint)
        start = time.perf_counter()
        driven = self.collector.run(batch, settings, onlooker)
        seconds = time.perf_counter() - start - onlooker.paused
        outcomes = self.collector.judge.judge(batch, driven.texts)
        signals, clocks = driven.run.signals, [trace.clock for trace in driven.run.traces]
        assert signals is not None
        width = max(budget + 1, *(len(clock) for clock in clocks))
        clock = np.stack([np.pad(c, (0, width - len(c)), mode="edge") for c in clocks]).astype(np.int64)
        texts = tuple(driven.texts) if self.keep_texts else None
        draft_texts = None if onlooker.texts is None else tuple(map(tuple, onlooker.texts))
        return Generations(
            batch, self._printed(signals), tuple(outcomes), clock, onlooker.drafts, texts, draft_texts, seconds
        )  # fmt: skip

    def _save(self, store: Store, shard: str, part: Generations) -> None:
        arrays: dict[str, NDArray[Any]] = {
            "sigma": part.signals.sigma,
            "logit": part.signals.logit,
            "outcomes": np.array([OUTCOMES.index(o) for o in part.outcomes], dtype=np.int8),
            "clock": part.clock,
            "drafts": part.drafts,
        }
        if part.draft_texts is not None:
            # Drafts of one response differ by a few words each: packed, they take a tenth.
            packed = zlib.compress(json.dumps(part.draft_texts).encode())
            arrays["draft_texts"] = np.frombuffer(packed, dtype=np.uint8)
        store.save(shard, arrays, {"seconds": part.seconds, "responses": part.responses})

    def _load(self, store: Store, shard: str, batch: tuple[Prompt, ...]) -> Generations | None:
        found = store.load(shard)
        if found is None:
            return None
        arrays, notes = found
        ids = tuple(p.id for p in batch)
        signals = self._printed(Signals(ids, arrays["sigma"], arrays["logit"]))
        outcomes = tuple(OUTCOMES[i] for i in arrays["outcomes"].tolist())
        texts, drafts = notes["responses"], None
        if self.keep_drafts:
            unpacked = json.loads(zlib.decompress(arrays["draft_texts"].tobytes()))
            drafts = tuple(tuple(row) for row in unpacked)
        return Generations(
            batch, signals, outcomes, arrays["clock"], arrays["drafts"], None if texts is None else tuple(texts),
            drafts, notes["seconds"],
        )  # fmt: skip

    def _printed(self, signals: Signals) -> Signals:
        """The same, with the fingerprint of what made them."""
        made_by = {
            "anchors": self.anchors.digest,
            "tau": self.collector.settings.tau,
            "eps": self.collector.settings.eps,
        }
        return Signals(
            signals.ids, signals.sigma, signals.logit, {**self.collector.fingerprint.to_dict(), **made_by}
        )  # fmt: skip

    def _key(self, prompts: Sequence[Prompt]) -> dict[str, object]:
        judge = self.draft_judge
        return {
            **self.collector.key(prompts),
            "anchors": self.anchors.digest,
            "drafts": None
            if judge is None
            else [self.draft_judge_name, judge.version, judge.config.model_dump(mode="json")],
            "texts": [self.keep_texts, self.keep_drafts],
        }


def one_layer(signals: Signals, anchors: Anchors, layer: int) -> tuple[Signals, Anchors]:
    """One tapped layer as if it had been tapped alone, with the anchors that go with it.

    Args:
        signals: [N, T, C].
        anchors: [T, C, D].
        layer: place among the tapped layers.
    """
    hard = dict(anchors.fingerprint.hard)
    hard["layers"] = [hard["layers"][layer]]
    printed = Fingerprint(hard, anchors.fingerprint.soft)
    alone = Anchors(
        np.ascontiguousarray(anchors.harmless[:, layer : layer + 1]),
        np.ascontiguousarray(anchors.harmful[:, layer : layer + 1]),
        printed,
        anchors.provenance,
    )
    made_by = {**dict(signals.fingerprint or {}), **printed.to_dict(), "anchors": alone.digest}
    cut = (slice(None), slice(None), slice(layer, layer + 1))
    one = Signals(
        signals.ids, np.ascontiguousarray(signals.sigma[cut]), np.ascontiguousarray(signals.logit[cut]), made_by
    )
    return one, alone
