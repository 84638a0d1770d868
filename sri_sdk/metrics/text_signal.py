"""The text as a signal: what a detector sees if it reads drafts instead of hidden states.

The paper's comparison at the level of the text (arXiv 2602.02600): 1 where the draft of a step does not refuse, 0 where
it does, in the direction of sigma, so that any detector runs on it unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sri_sdk.grid import StepGrid
from sri_sdk.metrics.outcomes import NONE, REFUSAL, Codes, codes

Floats = NDArray[np.float32]


def text_signal(
    drafts: NDArray[Any] | Sequence[Any], grid: StepGrid, clocks: Sequence[NDArray[np.int64]] | None = None
) -> Floats:
    """Refusals of drafts, laid on a step grid: each cell keeps its last draft; empty cells repeat the previous one.

    Args:
        drafts: [N, S] what the judge says of each step's draft: words or codes as in `outcomes.codes`, -1 or `""` = no
            draft. A step without one repeats the draft before it; before the first there is no text, so no refusal.
        grid: the grid of the signals this one is compared with.
        clocks: per row [S_i + 1] progress before each of its S_i steps and after the last, in units of the grid's
            budget, as in `Trace.clock`. None = every step is one unit, and a row ends with its last draft.

    Returns:
        [N, T] float32: 1 = does not refuse, 0 = refuses; NaN in rows that have no draft at all.

    Raises:
        ValueError: drafts are not [N, S]; clocks are missing where the grid counts tokens, are not one per row, or end
            before a row's last draft.
    """
    steps = codes(drafts)
    if steps.ndim == 1 and not steps.size:
        steps = np.empty((0, 0), dtype=np.int8)
    if steps.ndim != 2:
        raise ValueError(f"text signal: drafts {steps.shape}; needed: [N, S], one outcome per step")
    if clocks is None and grid.mapping != "step":
        raise ValueError(f"text signal: the grid counts by `{grid.mapping}`, so it needs the clock of each row")
    if clocks is not None and len(clocks) != len(steps):
        raise ValueError(f"text signal: {len(clocks)} clocks for {len(steps)} rows of drafts; one clock per row")
    signal = np.full((len(steps), grid.cells), np.nan, dtype=np.float32)
    for number, row in enumerate(steps):
        told = np.flatnonzero(row != NONE)
        if not len(told):
            continue
        clock = np.arange(told[-1] + 2) if clocks is None else np.asarray(clocks[number])
        if len(clock) < told[-1] + 2:
            raise ValueError(
                f"text signal: row {number} has a draft at step {told[-1]}, and a clock for {len(clock) - 1} steps; a "
                "clock has one entry more than there are steps"
            )
        signal[number] = grid.place(_held(row, len(clock) - 1), clock)
    return signal


def _held(row: Codes, steps: int) -> Floats:
    """[S] codes -> [steps] 1 or 0, the newest draft so far."""
    filled = np.full(steps, NONE, dtype=np.int8)
    filled[: len(row)] = row[:steps]
    newest = np.maximum.accumulate(np.where(filled != NONE, np.arange(steps), -1))
    held: Floats = np.where((newest >= 0) & (filled[newest] == REFUSAL), 0, 1).astype(np.float32)
    return held
