"""Does the tap fire? One short generation tells more than any look at a model's structure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sri_sdk.capture.drive import drive
from sri_sdk.capture.settings import WatchSettings
from sri_sdk.hook import Hook
from sri_sdk.pooling import USUAL
from sri_sdk.records import LoadedModel, Prompt
from sri_sdk.sampler import Sampler
from sri_sdk.signal import norm_squared

PROBE_PROMPT = "hello"


@dataclass(frozen=True, slots=True)
class Probe:
    """What one generation showed."""

    steps_seen: int
    steps_expected: int | None
    norms: tuple[float, float]
    """Smallest and largest length of the pooled states."""
    reasons: tuple[str, ...]
    """Why the tap cannot be trusted; empty = it can."""
    shape: tuple[int, ...]
    """(S, C, D) of the pooled states."""

    def __str__(self) -> str:
        low, high = self.norms
        steps = (
            f"tap fired at {self.steps_seen} of {self.steps_expected} steps, states of length {low:.3g} to {high:.3g}"
        )
        return steps if not self.reasons else f"{steps}: {', '.join(self.reasons)}"


def probe(hook: Hook, loaded: LoadedModel, sampler: Sampler) -> Probe:
    """Generates one response and counts what the tap saw."""
    settings = WatchSettings(USUAL[hook.scheme], keep_states=True)
    batch = drive(hook, loaded, sampler, [Prompt("probe", PROBE_PROMPT, "harmless")], settings)
    for _ in batch:
        pass
    (trace,) = batch.run.traces
    lengths = np.sqrt(norm_squared(trace.phi)) if trace.phi.size else np.array([np.nan])
    norms = float(lengths.min()), float(lengths.max())
    return Probe(trace.steps, trace.expected, norms, trace.reasons, trace.phi.shape)
