"""What is made of each batch of a stage: the same here as in any worker, from the same batch.

A task can travel: what it needs beside a model is in its state, arrays and JSON.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from sri_sdk.anchors import AnchorBuilder, Anchors
from sri_sdk.errors import CaptureError
from sri_sdk.fingerprint import Fingerprint
from sri_sdk.fitting.generating import Generating
from sri_sdk.fitting.packed import Batch
from sri_sdk.metrics.outcomes import codes
from sri_sdk.records import Prompt, Signals
from sri_sdk.request_map import RequestMap


class Task(ABC):
    """Makes one batch of a stage."""

    name: ClassVar[str]
    """Under which a worker knows it."""

    @abstractmethod
    def make(self, live: Generating, prompts: Sequence[Prompt]) -> Batch:
        """What is kept of a batch: arrays [...] of any shape by name, and notes; depends on model and batch alone.

        Raises:
            CaptureError: a generation could not be watched whole, or a state is not usable.
        """

    @abstractmethod
    def state(self) -> Batch:
        """Everything it was made from: arrays [...] of any shape by name, and JSON."""

    @classmethod
    @abstractmethod
    def restored(cls, state: Batch) -> Self:
        """The inverse of `state`, from the same arrays [...]."""


class AnchorSums(Task):
    """The sums of states that one batch adds to the anchors; see `AnchorBuilder`."""

    name = "anchors"

    def make(self, live: Generating, prompts: Sequence[Prompt]) -> Batch:
        """Sums [T, C, D] float64 and counts [2, 2] of a batch; outcomes and counts of what may make it worthless."""
        grid = live.grid
        settings = replace(live.settings, keep_states=True, request_layers=())
        driven, said = live.generate(prompts, settings)
        builder = AnchorBuilder(live.anchor_shape)
        for prompt, trace, outcome in zip(prompts, driven.run.traces, said.outcomes, strict=True):
            builder.add(prompt.label, outcome, grid.place(trace.phi, trace.clock), prompt_id=prompt.id)
        return builder.state(), {"outcomes": list(said.outcomes), "counts": said.counts}

    def state(self) -> Batch:
        """Nothing, no array [...]: the live model knows all of it."""
        return {}, {}

    @classmethod
    def restored(cls, state: Batch) -> Self:
        """The inverse of `state`, from the same arrays [...]."""
        return cls()


@dataclass(frozen=True, slots=True)
class FoldSignals(Task):
    """Signals and outcomes of the generations of a fold."""

    name = "signals"

    anchors: Anchors
    """What they are measured against."""

    def make(self, live: Generating, prompts: Sequence[Prompt]) -> Batch:
        """`sigma` and `logit` [B, T, C] float32, `outcomes` [B] int8; counts of what may make them worthless."""
        driven, said = live.generate(prompts, live.signal_settings(self.anchors))
        signals = driven.run.signals
        assert signals is not None
        refuse_missing(signals)
        outcomes = codes(said.outcomes)
        return {"sigma": signals.sigma, "logit": signals.logit, "outcomes": outcomes}, {"counts": said.counts}

    def state(self) -> Batch:
        """The anchors: means [T, C, D], and weight [C, D] and bias of the request map."""
        return anchors_state(self.anchors)

    @classmethod
    def restored(cls, state: Batch) -> Self:
        """The inverse of `state`, from the same arrays [...]."""
        return cls(restored_anchors(state))


def anchors_state(anchors: Anchors) -> Batch:
    """Anchors as arrays and JSON: means [T, C, D] float32, weight [C, D] float32 and bias float64 of a request map."""
    arrays = {"harmless": anchors.harmless, "harmful": anchors.harmful}
    notes = {"fingerprint": anchors.fingerprint.to_dict(), "provenance": dict(anchors.provenance), "request": None}
    if (read := anchors.request) is not None:
        arrays |= {"request_weight": read.weight, "request_bias": np.array(read.bias, dtype=np.float64)}
        notes["request"] = dict(read.provenance)
    return arrays, notes


def restored_anchors(state: Batch) -> Anchors:
    """The inverse of `anchors_state`, from the same means [T, C, D], weight [C, D] and bias."""
    arrays, notes = state
    read = None
    if notes["request"] is not None:
        read = RequestMap(arrays["request_weight"], arrays["request_bias"].item(), notes["request"])
    fingerprint = Fingerprint.from_dict(notes["fingerprint"])
    return Anchors(arrays["harmless"], arrays["harmful"], fingerprint, notes["provenance"], read)


def refuse_missing(signals: Signals) -> None:
    """Raises CaptureError if a column has no number for a generation; nothing is fitted on such."""
    for name, whys in (signals.missing or {}).items():
        row = next(at for at, why in enumerate(whys) if why is not None)
        raise CaptureError(
            f"prompt {signals.ids[row]!r}: column {name!r} has no number ({whys[row]}). Leave the prompt out if it is "
            "alone; otherwise check the chat template and the hook's `prompt_columns` with `sri check hook NAME`."
        )
