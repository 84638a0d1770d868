"""The step grid: generations of any number of steps, laid on T cells that anchors and signals share.

Only causal mappings exist: the cell of a step depends on the progress made *before* it, so a running generation
lands on the same cells as a finished one.

    progress   p = steps done (mapping `step`) or largest number of committed tokens so far (mapping `committed`)
    cell       floor(p * T / budget)           each cell keeps the last step that falls in it
    closed     floor(p_after * T / budget)     cells below it can no longer change

Empty cells repeat the step before them; cells after the end repeat the last step. A started response may begin at a
progress above 0; the cells before its first step repeat that step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Mapping = Literal["step", "committed"]


@dataclass(frozen=True, slots=True)
class StepGrid:
    """T cells over one generation."""

    cells: int = 32
    """T."""
    mapping: Mapping = "step"
    """What progress counts: sampler steps, or committed tokens."""
    budget: int = 32
    """Progress of a whole generation: the largest number of steps, or of tokens."""

    def __post_init__(self) -> None:
        if self.cells < 1 or self.budget < 1:
            raise ValueError(f"step grid: cells {self.cells} and budget {self.budget} must both be at least 1")

    def closed(self, progress: int) -> int:
        """Number of cells that can no longer change after this much progress; T at the end.

        Steps beyond the budget, if there are any, still overwrite the last cell.
        """
        return min(progress * self.cells // self.budget, self.cells)

    def cells_of(self, before: int, after: int) -> tuple[int, int]:
        """The cells of a step by the progress before and after it: its first one, and the one behind its last.

        With fewer steps than cells, those up to the next step's own hold this one.
        """
        first = min(before * self.cells // self.budget, self.cells - 1)
        return first, max(first + 1, self.closed(after))

    def progress_for(self, length: int) -> int:
        """The least progress that closes the first `length` cells."""
        return -(-length * self.budget // self.cells)

    def source(self, clock: NDArray[np.int64]) -> NDArray[np.int64]:
        """The step in each cell.

        Args:
            clock: [S + 1] int64 progress before each step and after the last, in units of the budget; never falls.

        Returns:
            [T] int64 step numbers, counted from 0; -1 = a cell before the first step. A step that starts at or beyond
            the budget belongs to the last cell.
        """
        before = np.minimum(np.asarray(clock[:-1], dtype=np.int64) * self.cells // self.budget, self.cells - 1)
        return np.searchsorted(before, np.arange(self.cells), side="right").astype(np.int64) - 1

    def place(self, values: NDArray[Any], clock: NDArray[np.int64]) -> NDArray[Any]:
        """Lays per-step values [S, ...] on the grid: [T, ...], same dtype. `clock` [S + 1] int64 as in `source`."""
        return values[np.maximum(self.source(clock), 0)]

    def to_dict(self) -> dict[str, Any]:
        """The grid as a hard field of the fingerprint."""
        return {"cells": self.cells, "mapping": self.mapping, "budget": self.budget}
