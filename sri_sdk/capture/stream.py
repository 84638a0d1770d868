"""Streaming signals: each step of a running generation fills its cells of the step grid, once and for all."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sri_sdk.anchors import Anchors
from sri_sdk.capture.device_signal import device_sri, device_usable
from sri_sdk.grid import StepGrid
from sri_sdk.signal import sri_of_units, unit, usable


class SignalStream:
    """The signals of R requests while they grow. Equal bit for bit to the offline signal of the same states.

    States on an accelerator are measured there, so that 2 * C numbers per step and request move, not C * D; states on
    the CPU go through the numpy reference. A state without a direction (NaN, infinity, zero length) leaves NaN in its
    cells: no signal, and every scorer answers `unmonitored`.
    """

    def __init__(self, anchors: Anchors, grid: StepGrid, requests: int, *, tau: float, eps: float) -> None:
        self._grid, self._tau, self._eps = grid, tau, eps
        self._units = (unit(anchors.harmless), unit(anchors.harmful))
        shape = (requests, *anchors.harmless.shape[:2])
        self.sigma = np.full(shape, np.nan, dtype=np.float32)
        """[R, T, C]; cells beyond `lengths` are not filled yet."""
        self.logit = np.full(shape, np.nan, dtype=np.float32)
        """[R, T, C]."""
        self.lengths = np.zeros(requests, dtype=np.int64)
        """[R]: cells that can no longer change."""
        self.broken = np.zeros(requests, dtype=np.bool_)
        """[R]: a state without a direction was seen."""
        self._last: list[tuple[torch.Tensor, int]] = [(torch.empty(0), -1)] * requests
        self._device_units: list[torch.Tensor] | None = None

    def add(
        self, phi: torch.Tensor, before: NDArray[np.int64], after: NDArray[np.int64], active: NDArray[np.bool_]
    ) -> None:
        """Takes one step.

        Args:
            phi: [R, C, D] float32 pooled states.
            before: [R] progress before the step, in units of the grid's budget.
            after: [R] progress after it.
            active: [R] requests the step belongs to.
        """
        first = np.minimum(before * self._grid.cells // self._grid.budget, self._grid.cells - 1)
        closed = np.minimum(after * self._grid.cells // self._grid.budget, self._grid.cells)
        # With fewer steps than cells, the cells up to the next step's own hold this one.
        stop = np.maximum(first + 1, closed)
        self._bridge(first, active, phi)
        # Mostly one group: rows in step share their cells.
        for start, end in {(int(a), int(b)) for a, b in zip(first[active], stop[active], strict=True)}:
            rows = np.flatnonzero(active & (first == start) & (stop == end))
            self._fill(phi, rows, start, end)
        self.lengths = np.where(active, closed, self.lengths)
        for row in np.flatnonzero(active):
            self._last[row] = (phi[row], int(stop[row]))

    def _bridge(self, first: NDArray[np.int64], active: NDArray[np.bool_], phi: torch.Tensor) -> None:
        """Cells that progress jumped over hold the step before: counting tokens, only the next step shows the jump.

        Progress may begin beyond the first cell, where a response was started: there is no step before, and those cells
        hold the first one.

        Args:
            first: [R] int64, cell that each request's step begins in.
            active: [R] bool, requests the step belongs to.
            phi: [R, C, D] float32 pooled states.
        """
        for row in np.flatnonzero(active):
            held, stop = self._last[row]
            held, stop = (phi[row], 0) if stop < 0 else (held, stop)
            if stop < first[row]:
                self._fill(held[None], np.array([0]), stop, int(first[row]), into=np.array([row]))

    def finish(self, whole: NDArray[np.bool_]) -> None:
        """After the end the last state holds: it is measured against the anchors of the cells that are left.

        Only for requests that did end ([R] bool): what was never generated has no signal, and cells that were only
        supposed would flag harmless generations that were cut short.
        """
        for row, (phi, stop) in enumerate(self._last):
            if not whole[row]:
                continue
            if 0 <= stop < self._grid.cells:
                self._fill(phi[None], np.array([0]), stop, self._grid.cells, into=np.array([row]))
            if stop >= 0:
                self.lengths[row] = self._grid.cells

    def _fill(
        self, phi: torch.Tensor, rows: NDArray[np.int64], start: int, end: int, into: NDArray[np.int64] | None = None
    ) -> None:
        into = rows if into is None else into
        states = phi if len(rows) == len(phi) else phi[torch.as_tensor(rows, device=phi.device)]
        good, sigma, logit = self._measure(states[:, None], start, end)
        cells = slice(start, end)
        self.sigma[into, cells] = np.where(good, sigma, np.float32(np.nan))
        self.logit[into, cells] = np.where(good, logit, np.float32(np.nan))
        self.broken[into] |= ~good.all(axis=(1, 2))

    def _measure(self, states: torch.Tensor, start: int, end: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """[R, 1, C, D] states against cells start..end: usable [R, 1, C], sigma and logit [R, end - start, C]."""
        if states.device.type == "cpu":
            phi = states.numpy()
            good = usable(phi)
            with np.errstate(invalid="ignore", over="ignore"):
                harmless, harmful = (anchor[start:end] for anchor in self._units)
                measured = sri_of_units(unit(phi), harmless, harmful, tau=self._tau, eps=self._eps)
            return good, measured.sigma, measured.logit
        if self._device_units is None:
            self._device_units = [torch.from_numpy(anchor).to(states.device) for anchor in self._units]
        near, far = (anchor[start:end] for anchor in self._device_units)
        sigma, logit = device_sri(states, near, far, tau=self._tau, eps=self._eps)
        # One transfer for all three: a copy per tensor would wait for the device three times.
        good_device = device_usable(states).expand_as(sigma).float()
        good, sigma_host, logit_host = torch.stack([good_device, sigma, logit]).cpu().numpy()
        return good.astype(np.bool_), sigma_host, logit_host
