"""Streaming signals: each step of a running generation fills its cells of the step grid, once and for all."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sri_sdk.anchors import Anchors
from sri_sdk.capture.device_signal import device_sri, device_unit, device_usable
from sri_sdk.grid import StepGrid
from sri_sdk.signal import sri, usable


class SignalStream:
    """The signals of R requests while they grow. Equal bit for bit to the offline signal of the same states.

    States on a GPU are measured there, so that 2 * C numbers per step and request move, not C * D; states on the CPU
    go through the numpy reference. A state without a direction (NaN, infinity, zero length) leaves NaN in its
    cells: no signal, and every scorer answers `unmonitored`.
    """

    def __init__(self, anchors: Anchors, grid: StepGrid, requests: int, *, tau: float, eps: float) -> None:
        self._anchors, self._grid, self._tau, self._eps = anchors, grid, tau, eps
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
        self._device_anchors: tuple[torch.Tensor, torch.Tensor] | None = None

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
        # Mostly one group: rows in step share their cells.
        for start, end in {(int(a), int(b)) for a, b in zip(first[active], stop[active], strict=True)}:
            rows = np.flatnonzero(active & (first == start) & (stop == end))
            self._fill(phi, rows, start, end)
        self.lengths = np.where(active, closed, self.lengths)
        for row in np.flatnonzero(active):
            self._last[row] = (phi[row], int(stop[row]))

    def finish(self) -> None:
        """After the end the last state holds: it is measured against the anchors of the cells that are left."""
        for row, (phi, stop) in enumerate(self._last):
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
        if not states.is_cuda:
            phi = states.numpy()
            good = usable(phi)
            with np.errstate(invalid="ignore", over="ignore"):
                measured = sri(
                    phi, self._anchors.harmless[start:end], self._anchors.harmful[start:end],
                    tau=self._tau, eps=self._eps,
                )  # fmt: skip
            return good, measured.sigma, measured.logit
        if self._device_anchors is None:
            both = (self._anchors.harmless, self._anchors.harmful)
            harmless, harmful = (device_unit(torch.from_numpy(a).to(states.device)) for a in both)
            self._device_anchors = (harmless, harmful)
        harmless, harmful = self._device_anchors
        sigma, logit = device_sri(states, harmless[start:end], harmful[start:end], tau=self._tau, eps=self._eps)
        # One transfer for all three: a copy per tensor would wait for the device three times.
        good_device = device_usable(states).expand_as(sigma).float()
        good, sigma_host, logit_host = torch.stack([good_device, sigma, logit]).cpu().numpy()
        return good.astype(np.bool_), sigma_host, logit_host
