"""Numbers on their way from an accelerator, of steps that are judged while the model runs.

Whoever asked for the numbers of a step within that step would wait until the device has done all of it. So their copy
is started, and read when the next step comes: an alarm is known one step later than on a CPU. A policy that stops
generations says how late that may be (`look_every`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sri_sdk.capture.pool import Pooled
from sri_sdk.capture.states import MOST_ON_DEVICE, DeviceStates, Formula, Rows, StepStates

Arrives = Callable[[], NDArray[np.float32]]
"""Waits until a copy is there."""


@dataclass(frozen=True, slots=True)
class Landed:
    """What a flight brought, of S steps."""

    states: list[StepStates]
    """S of them."""
    active: NDArray[np.bool_] | None
    """[S, R]; None = all."""
    committed: NDArray[np.int64] | None
    """[S, R]; None = not known."""


def facts_of(steps: Sequence[Pooled]) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """What S steps say beside their states, where these are.

    Returns:
        [S, R] bool, requests each belongs to, None = all; [S, R] int64, tokens committed before each, None = not known.
    """
    active, committed = None, None
    shown = [each.active for each in steps]
    if any([each is not None for each in shown]):
        every = torch.ones(len(steps[0].phi), dtype=torch.bool)
        active = _stacked([every if each is None else each for each in shown], steps)
    counts = [each.committed for each in steps if each.committed is not None]
    if len(counts) == len(steps):
        committed = _stacked(counts, steps)
    return active, committed


def _stacked(facts: list[torch.Tensor], steps: Sequence[Pooled]) -> torch.Tensor:
    # A model spread over devices has its norm elsewhere than its embedding, where the plan was made.
    there = steps[0].phi.device
    return facts[0].to(there)[None] if len(facts) == 1 else torch.stack([each.to(there) for each in facts])


class Flight:
    """S steps, measured on the device against the cells they may be in; which they are is known once it has landed."""

    def __init__(self, steps: Sequence[Pooled], formula: Formula, start: int, end: int) -> None:
        """Starts it.

        Args:
            steps: S steps on an accelerator.
            formula: what they are measured against.
            start: first cell that any of them may be in.
            end: the cell behind the last one.
        """
        self._phi, self._formula, self._start = [each.phi for each in steps], formula, start
        requests, columns, width = self._phi[0].shape
        self._shape = (len(steps), requests, end - start, columns)
        wide = max(1, MOST_ON_DEVICE // max(1, requests * columns * width))
        tables = [
            torch.cat(
                [formula.on_device(phi[:, None], at, min(at + wide, end)) for at in range(start, end, wide)], dim=1
            )
            for phi in self._phi
        ]
        facts = facts_of(steps)
        self._known = [fact is not None for fact in facts]
        moving = [*tables, *(fact for fact in facts if fact is not None)]
        # Exact: nobody counts 2^24 tokens.
        self._arrives = start_copy(torch.cat([each.flatten().float() for each in moving]))

    def land(self) -> Landed:
        """Waits until the numbers are there, which they mostly are."""
        numbers = self._arrives()
        steps, requests = self._shape[:2]
        table, rest = np.split(numbers, [int(np.prod(self._shape))])
        found = table.reshape(self._shape)
        states: list[StepStates] = [
            _Measured(each, self._start, DeviceStates(phi, self._formula))
            for each, phi in zip(found, self._phi, strict=True)
        ]
        facts = iter(rest.reshape(-1, steps, requests))
        active, committed = (next(facts) if known else None for known in self._known)
        return Landed(
            states,
            None if active is None else active.astype(np.bool_),
            None if committed is None else committed.astype(np.int64),
        )


class _Measured(StepStates):
    """States that were measured against some cells in advance; against others it takes another wait."""

    def __init__(self, table: NDArray[np.float32], start: int, behind: StepStates) -> None:
        """Takes logits [R, n, C] for n cells from `start` on, and the states themselves."""
        self._table, self._start, self._behind = table, start, behind

    def logits(self, rows: Rows, start: int, end: int) -> NDArray[np.float32]:
        """[rows, end - start, C] float32."""
        low = start - self._start
        if low < 0 or end - self._start > self._table.shape[1]:
            return self._behind.logits(rows, start, end)
        found: NDArray[np.float32] = self._table[rows, low : end - self._start]
        return found


def start_copy(numbers: torch.Tensor) -> Arrives:
    """Starts the copy of [N] float32 to the host; returns what waits for it. Only CUDA copies without waiting."""
    if numbers.device.type != "cuda":
        here: NDArray[np.float32] = numbers.cpu().numpy()
        return lambda: here
    pinned = torch.empty(numbers.shape, dtype=numbers.dtype, pin_memory=True)
    pinned.copy_(numbers, non_blocking=True)
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record()

    def arrives() -> NDArray[np.float32]:
        event.synchronize()
        found: NDArray[np.float32] = pinned.numpy()
        return found

    return arrives
