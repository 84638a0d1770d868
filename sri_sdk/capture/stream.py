"""Streaming signals: each step of a running generation fills its cells of the step grid, once and for all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from sri_sdk.anchors import Anchors
from sri_sdk.capture.few_states import FewStates, sigmoid_of
from sri_sdk.capture.states import Formula, HostStates, Rows, StepStates, last_states, measure_all, states_of
from sri_sdk.grid import StepGrid
from sri_sdk.signal import Floats, sigmoid

ALL = slice(None)


class SignalStream:
    """The signals of R requests while they grow. On the CPU equal bit for bit to the offline signal of the same states.

    So it does not matter whether steps are given one by one or many at once. States on an accelerator are measured
    there, so that C numbers per step and request move, not C * D; states on the CPU go through the numpy reference. A
    state without a direction (NaN, infinity, zero length) leaves NaN in its cells: no signal, and every scorer answers
    `unmonitored`.
    """

    def __init__(self, anchors: Anchors, grid: StepGrid, requests: int, *, tau: float, eps: float) -> None:
        self._grid = grid
        self.formula = Formula(anchors.units, tau, eps)
        self.logit = np.full((requests, *anchors.harmless.shape[:2]), np.nan, dtype=np.float32)
        """[R, T, C]; cells beyond `lengths` are not filled yet."""
        self.closed = [0] * requests
        """R of them: cells that can no longer change."""
        self.broken = np.zeros(requests, dtype=np.bool_)
        """[R]: a state without a direction was seen."""
        self._sigma: Floats | None = None
        self._last: list[StepStates | None] = [None] * requests
        # Lists, since a few rows are faster counted without numpy.
        self._stops = [0] * requests
        self._few = FewStates(self.formula, requests)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """[R]: cells that can no longer change."""
        return np.array(self.closed, dtype=np.int64)

    @property
    def sigma(self) -> Floats:
        """[R, T, C]; cells beyond `lengths` are not filled yet."""
        if self._sigma is None:
            self._sigma = sigmoid(self.logit)
        return self._sigma

    def add(
        self, phi: torch.Tensor, before: NDArray[np.int64], after: NDArray[np.int64], active: NDArray[np.bool_]
    ) -> None:
        """Takes one step.

        Args:
            phi: [R, C, D] float32 pooled states; nobody may write to them later.
            before: [R] progress before the step, in units of the grid's budget.
            after: [R] progress after it.
            active: [R] requests the step belongs to.
        """
        self.add_one(phi, before.tolist(), after.tolist(), active.tolist())

    def add_one(self, phi: torch.Tensor, before: list[int], after: list[int], active: list[bool]) -> None:
        """`add` for those who have the facts of the R requests as plain numbers; `phi` is [R, C, D]."""
        states = states_of(phi, self.formula)
        here = isinstance(states, HostStates) and self._few.takes(phi, sum(active))
        self._fill(states, before, after, active, few=here)

    def add_states(
        self, states: StepStates, before: NDArray[np.int64], after: NDArray[np.int64], active: NDArray[np.bool_]
    ) -> None:
        """`add` for the states [R, C, D] of one step wherever they are; `before`, `after` and `active` are [R]."""
        self._fill(states, before.tolist(), after.tolist(), active.tolist(), few=False)

    def _fill(
        self, states: StepStates, before: list[int], after: list[int], active: list[bool], *, few: bool
    ) -> None:  # fmt: skip
        """Fills the cells of a step; `few` = its states were taken, to be measured number by number."""
        cells, budget = self._grid.cells, self._grid.budget
        groups: dict[tuple[int, int], list[int]] = {}
        for row, on in enumerate(active):
            if on:
                groups.setdefault((before[row], after[row]), []).append(row)
        # Mostly one: rows in step share their cells.
        for (begins, ends), rows in groups.items():
            start, closed = min(begins * cells // budget, cells - 1), min(ends * cells // budget, cells)
            stop = max(start + 1, closed)
            if min([self._stops[row] for row in rows]) < start:
                self._bridge(states, rows, start)
            if few and self._few.suits(len(rows) * (stop - start)):
                for row in rows:
                    self._write_numbers(row, start, self._few.logits(row, start, stop))
            else:
                its: Rows = ALL if len(rows) == len(self._stops) else np.array(rows)
                self._write(its, start, states.logits(its, start, stop))
            for row in rows:
                self.closed[row], self._last[row], self._stops[row] = closed, states, stop

    def _bridge(self, states: StepStates, rows: list[int], start: int) -> None:
        """Cells that progress jumped over hold the step before: counting tokens, only the next step shows the jump.

        Progress may begin beyond the first cell, where a response was started: there is no step before, and those cells
        hold the first one.

        Args:
            states: of the step.
            rows: the requests it belongs to.
            start: the cell it begins in.
        """
        for row in rows:
            stop, last = self._stops[row], self._last[row] or states
            if stop < start:
                its = np.array([row])
                self._write(its, stop, last.logits(its, stop, start))

    def add_many(
        self, phi: Sequence[torch.Tensor], before: NDArray[np.int64], after: NDArray[np.int64],
        active: NDArray[np.bool_],
    ) -> None:  # fmt: skip
        """Takes S steps, measured in one call.

        Args:
            phi: S tensors [R, C, D] float32, the pooled states of each.
            before: [S, R] progress before each step, in units of the grid's budget; never falls.
            after: [S, R] progress after it.
            active: [S, R] requests each step belongs to.
        """
        if self._in_step(before, after, active):
            self._add_in_step(phi, before[:, 0].tolist(), int(after[-1, 0]), active)
            return
        seen: NDArray[np.bool_] = np.any(active, axis=0)
        if not seen.any():
            return
        steps, requests = active.shape
        cells, budget, every = self._grid.cells, self._grid.budget, np.arange(requests)
        first = np.minimum(before * cells // budget, cells - 1)
        # The last step that begins at or before a cell is in it, whatever came between.
        in_cell = np.full((requests, cells), -1)
        step, row = np.nonzero(active)
        np.maximum.at(in_cell, (row, first[step, row]), step)
        in_cell = np.maximum.accumulate(in_cell, axis=1)
        opening, closing = active.argmax(axis=0), steps - 1 - active[::-1].argmax(axis=0)
        start = first[opening, every]
        for at in np.flatnonzero(seen):
            its, last = np.array([at]), self._last[at]
            if last is None:
                # Cells before the first step of all hold it.
                start[at] = 0
            elif self._stops[at] < start[at]:
                self._write(its, self._stops[at], last.logits(its, self._stops[at], int(start[at])))
        closed = np.minimum(after[closing, every] * cells // budget, cells)
        stop = np.maximum(first[closing, every] + 1, closed)
        cell = np.arange(cells)
        mine = seen[:, None] & (cell >= start[:, None]) & (cell < stop[:, None])
        index = np.where(mine, np.where(in_cell < 0, opening[:, None], in_cell), -1)
        low, high = int(start[seen].min()), int(stop[seen].max())
        logit, broken = measure_all(phi, self.formula, active, index[:, low:high], low)
        self.logit[:, low:high][mine[:, low:high]] = logit[mine[:, low:high]]
        self._sigma = None
        self.broken |= broken
        # A copy, so that the states of the other steps can go.
        states = last_states(phi, closing, self.formula)
        for at in np.flatnonzero(seen):
            self.closed[at], self._last[at], self._stops[at] = int(closed[at]), states, int(stop[at])

    def _in_step(self, before: NDArray[np.int64], after: NDArray[np.int64], active: NDArray[np.bool_]) -> bool:
        """Whether all R requests are in the same cells in each of S steps, and go on where they were; [S, R] each."""
        stops = self._stops
        if stops.count(stops[0]) != len(stops) or not active.all():
            return False
        if active.shape[1] > 1 and not ((before == before[:, :1]).all() and (after[-1] == after[-1, 0]).all()):
            return False
        # Behind a jump, cells hold the step before.
        return min(int(before[0, 0]) * self._grid.cells // self._grid.budget, self._grid.cells - 1) <= stops[0]

    def _add_in_step(
        self, phi: Sequence[torch.Tensor], before: list[int], after: int, active: NDArray[np.bool_]
    ) -> None:
        """`add_many` of S steps [R, C, D] that are `_in_step`: progress before each, and after the last."""
        cells, budget, requests = self._grid.cells, self._grid.budget, len(self._stops)
        first = [min(begins * cells // budget, cells - 1) for begins in before]
        closed = min(after * cells // budget, cells)
        start, stop = first[0], max(first[-1] + 1, closed)
        # The last step that begins at or before a cell is in it.
        its, step = list[int](), 0
        for cell in range(start, stop):
            while step + 1 < len(first) and first[step + 1] <= cell:
                step += 1
            its.append(step)
        index = np.array([its] * requests)
        logit, broken = measure_all(phi, self.formula, active, index, start)
        self.logit[:, start:stop] = logit
        self._sigma = None
        if broken.any():
            self.broken |= broken
        # A copy, so that the states of the other steps can go.
        states = states_of(phi[-1].clone(), self.formula)
        self.closed, self._last, self._stops = [closed] * requests, [states] * requests, [stop] * requests

    def finish(self, whole: NDArray[np.bool_]) -> None:
        """After the end the last state holds: it is measured against the anchors of the cells that are left.

        Only for requests that did end ([R] bool): what was never generated has no signal, and cells that were only
        supposed would flag harmless generations that were cut short.
        """
        cells, groups = self._grid.cells, dict[int, list[int]]()
        for row, last in enumerate(self._last):
            if not whole[row] or last is None:
                continue
            self.closed[row] = cells
            if self._stops[row] < cells:
                groups.setdefault(id(last), []).append(row)
        for rows in groups.values():
            last, start, its = self._last[rows[0]], min(self._stops[row] for row in rows), np.array(rows)
            assert last is not None
            logit = last.logits(its, start, cells)
            for row, found in zip(rows, logit, strict=True):
                self._write(np.array([row]), self._stops[row], found[None, self._stops[row] - start :])
                self._stops[row] = cells

    def _write_numbers(self, row: int, start: int, numbers: list[list[float]]) -> None:
        """Puts C numbers each into the cells of a request from `start` on."""
        logit, sigma = self.logit, self._sigma
        for cell, columns in enumerate(numbers, start):
            for column, number in enumerate(columns):
                logit[row, cell, column] = number
                if sigma is not None:
                    sigma[row, cell, column] = sigmoid_of(logit[row, cell, column])
                if number != number:
                    self.broken[row] = True

    def _write(self, rows: Rows, start: int, logit: NDArray[np.float32]) -> None:
        """Puts [rows, n, C] float32 into n cells from `start` on."""
        cells = slice(start, start + logit.shape[1])
        self.logit[rows, cells] = logit
        if self._sigma is not None:
            self._sigma[rows, cells] = sigmoid(logit)
        # The sum shows a NaN too, and is cheaper.
        if np.isnan(logit.sum()):
            self.broken[rows] |= np.isnan(logit).any(axis=(1, 2))
