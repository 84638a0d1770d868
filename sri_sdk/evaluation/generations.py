"""The generations of one group of prompts, with all that the metrics need of them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sri_sdk.anchors import Anchors
from sri_sdk.errors import ConfigError
from sri_sdk.evaluation.drafts import WatchedDrafts
from sri_sdk.evaluation.steered import Steered
from sri_sdk.fitting.by_length import longest_first, places
from sri_sdk.fitting.collect import Collector
from sri_sdk.fitting.packed import Batch
from sri_sdk.judge import Judge
from sri_sdk.metrics.guard_rates import class_of
from sri_sdk.metrics.outcomes import words
from sri_sdk.records import Outcome, Prompt, Signals
from sri_sdk.strict_json import parse

T = TypeVar("T")
LARGEST_DRAFTS = 2**28
"""Most bytes of one batch's drafts, unpacked."""


@dataclass(frozen=True, slots=True)
class Generations:
    """N generations; everything in the order of the prompts."""

    prompts: tuple[Prompt, ...]
    signals: Signals
    """sigma and logit [N, T, C] float32, every tapped layer."""
    outcomes: tuple[Outcome, ...]
    clock: NDArray[np.int64]
    """[N, S + 1] int64: progress before each step and after the last. One that ended early repeats its last value."""
    drafts: NDArray[np.int8]
    """[N, S] int8: place in `OUTCOMES` of each step's draft; `NONE` = no such step, or drafts were not judged."""
    responses: tuple[str, ...] | None
    """None = not stored."""
    draft_texts: tuple[tuple[str, ...], ...] | None
    """What each response read as after each of its steps; None = not stored."""
    seconds: float
    """Wall-clock seconds of generating all N, with the tap and without judging."""

    def __len__(self) -> int:
        return len(self.prompts)

    @property
    def classes(self) -> NDArray[np.str_]:
        """[N] class of each generation, a key of `guard_rates.CLASSES`; "" = none of them."""
        return np.array([class_of(p, o) or "" for p, o in zip(self.prompts, self.outcomes, strict=True)])

    def first(self, count: int | None) -> Generations:
        """The first `count`; None = all. Time is shared evenly."""
        return self if count is None or count >= len(self) else self.take(range(count))

    def take(self, rows: Sequence[int]) -> Generations:
        """Some of them. Time is shared evenly."""
        rows = list(rows)

        def some(given: Sequence[T]) -> tuple[T, ...]:
            return tuple(given[row] for row in rows)

        return Generations(
            some(self.prompts), self.signals.take(rows), some(self.outcomes), self.clock[rows], self.drafts[rows],
            None if self.responses is None else some(self.responses),
            None if self.draft_texts is None else some(self.draft_texts), self.seconds * len(rows) / max(len(self), 1),
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


def _drafts(packed: NDArray[np.uint8], prompts: Sequence[Prompt]) -> tuple[tuple[str, ...], ...]:
    """The texts in what was stored, [K] uint8: a tuple per prompt.

    Raises:
        ConfigError: damaged, or not what this evaluation writes.
    """
    try:
        unpacker = zlib.decompressobj()
        content = unpacker.decompress(packed.tobytes(), LARGEST_DRAFTS)
        found = parse(content)
        if unpacker.unconsumed_tail or len(found) != len(prompts):
            raise ValueError(f"more than {LARGEST_DRAFTS} bytes, or not one list for each of {len(prompts)} prompts")
        return tuple(tuple(row) for row in found)
    except (ValueError, TypeError, zlib.error) as err:
        raise ConfigError(
            f"stored drafts of {len(prompts)} prompts from {prompts[0].id!r} on: damaged ({err}). Delete the folder of "
            "generations in the evaluation's own, and run again."
        ) from err


@dataclass(frozen=True, slots=True)
class Generator:
    """Generates groups of prompts under one model's tap, and finds again what a former run has made."""

    collector: Collector
    anchors: Anchors
    draft_judge: Judge | None
    draft_judge_name: str | None
    keep_texts: bool
    keep_drafts: bool
    steered: Steered | None = None
    """How the model is steered while it is watched; None = it is not."""

    def group(self, name: str, prompts: Sequence[Prompt]) -> Generations:
        """All generations of one group.

        Raises:
            CaptureError: a generation could not be watched whole.
            ConfigError: prompts hold the mask token, or too many generations cannot be judged.
        """
        self.collector.refuse_special({name: prompts})
        counters, made = self.collector.counters, 0
        order = longest_first(prompts)
        ordered = [prompts[at] for at in order]
        parts = []
        for some, batch in self.collector.batches(name, ordered, self._key(ordered), self._task()):
            notes, made = batch[1], made + len(some)
            counters.add(name, len(some), notes["counts"])
            if self.draft_judge is not None:
                counters.add(name, notes["drafts"], notes["counts"], counters=["unparsable drafts"])
            counters.check(name, ended=made == len(prompts))
            parts.append(self._read(some, batch))
        return Generations.joined(parts).take(places(order))

    def _task(self) -> WatchedDrafts:
        judge = self.draft_judge
        return WatchedDrafts(
            self.anchors, judge, "" if judge is None else str(self.draft_judge_name), keep_texts=self.keep_texts,
            keep_drafts=self.keep_drafts, steered=self.steered,
        )  # fmt: skip

    def _read(self, prompts: tuple[Prompt, ...], batch: Batch) -> Generations:
        arrays, notes = batch
        ids = tuple(p.id for p in prompts)
        texts, drafts = notes["responses"], None
        if self.keep_drafts:
            drafts = _drafts(arrays["draft_texts"], prompts)
        return Generations(
            prompts, Signals(ids, arrays["sigma"], arrays["logit"], self.collector.printed(self.anchors)),
            words(arrays["outcomes"]), arrays["clock"], arrays["drafts"], None if texts is None else tuple(texts),
            drafts, notes["seconds"],
        )  # fmt: skip

    def _key(self, prompts: Sequence[Prompt]) -> dict[str, object]:
        judge = self.draft_judge
        return {
            **self.collector.key(prompts),
            **({} if self.steered is None else {"steered": self.steered.key()}),
            "anchors": self.anchors.digest,
            "drafts": None
            if judge is None
            else [self.draft_judge_name, judge.version, judge.config.model_dump(mode="json")],
            "texts": [self.keep_texts, self.keep_drafts],
        }
