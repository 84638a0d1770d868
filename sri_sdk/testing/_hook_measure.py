"""The numbers behind the hook checks, for a report: steps seen of steps expected, and how far phi is from its mean."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sri_sdk.testing._hook_case import HookCase, copy_of, observe
from sri_sdk.testing._hook_states import phi_against_mean


@dataclass(frozen=True, slots=True)
class Measured:
    """What one watched generation of a case showed."""

    passes: int
    """Forward passes that the tap saw, steps or not."""
    seen: tuple[int, ...]
    """Steps per request."""
    expected: tuple[int, ...] | None
    """Steps there should have been; None = the case does not say."""
    gap: float
    """Largest relative difference between phi and a float64 mean of the same captured states."""
    unchanged: bool
    """Whether the tokens are those of an unwatched run, bit for bit."""
    reasons: tuple[str, ...]
    """Why some trace cannot be trusted; empty = all can."""

    def __str__(self) -> str:
        expected = "?" if self.expected is None else ", ".join(map(str, self.expected))
        tokens = "tokens unchanged" if self.unchanged else "TOKENS CHANGED"
        steps = ", ".join(map(str, self.seen))
        return f"steps {steps} of {expected} in {self.passes} passes, phi within {self.gap:.2g}, {tokens}"


def measure_hook(case: HookCase) -> Measured:
    """Generates once without and once under watch, and compares.

    Raises:
        ConformanceError: the hook failed while it watched.
    """
    free = case.generate(copy_of(case.encoded))
    seen = observe(case)
    expected: tuple[int, ...] | None = None
    if case.steps is not None:
        expected = (case.steps,) * len(seen.run.traces) if isinstance(case.steps, int) else tuple(case.steps)
    elif case.hook.scheme == "autoregressive":
        expected = tuple(case.hook.lengths(seen.tokens))
    gaps = [gap for row in range(len(seen.run.traces)) for gap in phi_against_mean(case, seen, row)]
    whole = case.generate(copy_of(case.encoded))
    return Measured(
        passes=len(seen.passes),
        seen=tuple(trace.steps for trace in seen.run.traces),
        expected=expected,
        gap=max(gaps, default=float("inf")),
        unchanged=torch.equal(free, whole) and torch.equal(free[:, -seen.tokens.shape[1] :], seen.tokens),
        reasons=tuple(dict.fromkeys(reason for trace in seen.run.traces for reason in trace.reasons)),
    )
