"""Pooled states and what they measure to, where they are: on the host with numpy, else on the model's device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sri_sdk.capture.device_signal import device_logits, device_pair, device_usable
from sri_sdk.signal import UnitAnchors, sri_logits, usable

Rows = slice | NDArray[np.int64]
"""Some of R requests; a slice where it is all of them."""
MOST_ON_DEVICE = 2**25
"""Numbers of one temporary on the device: 128 MiB."""


@dataclass(frozen=True, slots=True)
class Formula:
    """What states are measured against."""

    units: UnitAnchors
    tau: float
    eps: float

    def on_host(
        self, phi: NDArray[np.float32], start: int, end: int, index: NDArray[np.int64] | None = None
    ) -> NDArray[np.float32]:
        """States [B, T or 1, C, D] float32 in cells start..end -> logit [B, T, C]; with `index`, see `sri_logits`."""
        return sri_logits(phi, self.units.pair[start:end], tau=self.tau, eps=self.eps, index=index)

    def on_device(self, phi: torch.Tensor, start: int, end: int) -> torch.Tensor:
        """The same for states on a device, [..., T or 1, C, D] -> logit [..., T, C]. Waits for nothing."""
        pair = device_pair(self.units, phi.device)[start:end]
        return device_logits(phi, pair, tau=self.tau, eps=self.eps)


class StepStates(ABC):
    """The pooled states of one step, of R requests."""

    @abstractmethod
    def logits(self, rows: Rows, start: int, end: int) -> NDArray[np.float32]:
        """The logit of some requests' states in cells start..end, [rows, end - start, C] float32; NaN = not usable."""


class HostStates(StepStates):
    """On the host."""

    def __init__(self, phi: NDArray[np.float32], formula: Formula) -> None:
        """Takes the states, [R, C, D]."""
        self._phi, self._formula = phi[:, None], formula

    def logits(self, rows: Rows, start: int, end: int) -> NDArray[np.float32]:
        """[rows, end - start, C] float32."""
        return self._formula.on_host(self._phi[rows], start, end)


class DeviceStates(StepStates):
    """On an accelerator; whoever asks waits for it."""

    def __init__(self, phi: torch.Tensor, formula: Formula) -> None:
        """Takes the states, [R, C, D]."""
        self._phi, self._formula = phi[:, None], formula

    def logits(self, rows: Rows, start: int, end: int) -> NDArray[np.float32]:
        """[rows, end - start, C] float32."""
        phi = self._phi if isinstance(rows, slice) else self._phi[torch.from_numpy(rows).to(self._phi.device)]
        found: NDArray[np.float32] = self._formula.on_device(phi, start, end).cpu().numpy()
        return found


def on_host(states: torch.Tensor) -> bool:
    """Whether numpy can read the tensor where it is."""
    return states.device.type == "cpu"


def states_of(phi: torch.Tensor, formula: Formula) -> StepStates:
    """The states [R, C, D] of a step."""
    return HostStates(phi.numpy(), formula) if on_host(phi) else DeviceStates(phi, formula)


def measure_all(
    phi: torch.Tensor, formula: Formula, active: NDArray[np.bool_], index: NDArray[np.int64], start: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The states of S steps in the cells they are in, in one call; from an accelerator, in one transfer.

    Args:
        phi: [S, R, C, D] float32 states.
        formula: what they are measured against.
        active: [S, R] bool, requests each step belongs to.
        index: [R, T] int64, the step whose state each of T cells has; -1 = none of these.
        start: the first of the T cells.

    Returns:
        [R, T, C] float32 logit, NaN where the state is not usable and anything where there is none, and [R] bool:
        requests with a state that is not usable, whether or not it is in a cell.
    """
    one = _measure_on_host if on_host(phi) else _measure_on_device
    return one(phi, formula, active, index, start)


def _measure_on_host(
    phi: torch.Tensor, formula: Formula, active: NDArray[np.bool_], index: NDArray[np.int64], start: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    states, (steps, requests) = phi.numpy(), active.shape
    cells, end = index.shape[1], start + index.shape[1]
    first = int(index[0, 0])
    if first >= 0 and (index == np.arange(first, first + cells)).all():
        # A step for each cell, the same for all requests: as they lie.
        logit = formula.on_host(states[first : first + cells].swapaxes(0, 1), start, end)
    else:
        flat = states.reshape(steps * requests, *states.shape[2:])
        at = np.maximum(index, 0) * requests + np.arange(requests)[:, None]
        logit = formula.on_host(flat, start, end, at)
    broken: NDArray[np.bool_] = np.any(np.isnan(logit) & (index >= 0)[:, :, None], axis=(1, 2))
    rest, (row, cell) = active.copy(), np.nonzero(index >= 0)
    rest[index[row, cell], row] = False
    # Overwritten by a later step of their cell; a state that cannot be measured is told all the same.
    for step in np.flatnonzero(rest.any(axis=1)):
        broken |= rest[step] & ~usable(states[step]).all(axis=1)
    return logit, broken


def _measure_on_device(
    phi: torch.Tensor, formula: Formula, active: NDArray[np.bool_], index: NDArray[np.int64], start: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    requests, cells = index.shape
    columns = phi.shape[2]
    at = torch.from_numpy(np.maximum(index, 0)).to(phi.device)
    every = torch.arange(requests, device=phi.device)[:, None]
    wide = max(1, MOST_ON_DEVICE // max(1, phi[0].numel()))
    parts = [
        formula.on_device(phi[at[:, cell : cell + wide], every], start + cell, start + min(cell + wide, cells))
        for cell in range(0, cells, wide)
    ]
    bad = torch.stack([~device_usable(step).all(-1) for step in phi]) & torch.from_numpy(active).to(phi.device)
    found = torch.cat([torch.cat(parts, dim=1).flatten(), bad.any(0).float()]).cpu().numpy()
    return found[:-requests].reshape(requests, cells, columns), found[-requests:].astype(np.bool_)
