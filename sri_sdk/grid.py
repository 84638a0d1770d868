"""The step grid: generations of any number of steps, laid on T cells that anchors and signals share.

Only causal mappings exist: the cell of a step depends on the progress made *before* it, so a running generation
lands on the same cells as a finished one.

    progress   p = steps done (mapping `step`) or largest number of committed tokens so far (mapping `committed`)
    cell       floor(p * T / budget)           a cell takes the last step that falls in it
    closed     floor(p_after * T / budget)     cells below it can no longer change

An empty cell holds the step before it, and after the end the last step holds. Before the first step, where a response
was started and progress does not begin at 0, the first step holds.
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
    """Progress of a whole generation: most steps, or most tokens."""

    def __post_init__(self) -> None:
        if self.cells < 1 or self.budget < 1:
            raise ValueError(f"step grid: cells {self.cells} and budget {self.budget} must both be at least 1")

    def closed(self, progress: int) -> int:
        """Number of cells that can no longer change once this much progress is made; T at the end.

        Steps beyond the budget, should there be any, still overwrite the last cell.
        """
        return min(progress * self.cells // self.budget, self.cells)

    def source(self, clock: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which step each cell holds.

        Args:
            clock: [S + 1] progress before each step and after the last; never falls.

        Returns:
            [T] step numbers, counted from 0; -1 = a cell before the first step. A step that starts at or beyond the
            budget is the last cell's.
        """
        before = np.minimum(np.asarray(clock[:-1], dtype=np.int64) * self.cells // self.budget, self.cells - 1)
        return np.searchsorted(before, np.arange(self.cells), side="right").astype(np.int64) - 1

    def place(self, values: NDArray[Any], clock: NDArray[np.int64]) -> NDArray[Any]:
        """Lays per-step values [S, ...] on the grid: [T, ...]."""
        return values[np.maximum(self.source(clock), 0)]

    def to_dict(self) -> dict[str, Any]:
        """The grid as a hard field of the fingerprint."""
        return {"cells": self.cells, "mapping": self.mapping, "budget": self.budget}
