"""Pooled states and what they measure to, where they are: on the host with numpy, else on the model's device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sri_sdk.capture.device_signal import device_logits, device_pair, device_usable
from sri_sdk.signal import UnitAnchors, sri_logits, sri_logits_of_steps, usable

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

    def on_host(self, phi: NDArray[np.float32], start: int, end: int) -> NDArray[np.float32]:
        """States [B, T or 1, C, D] float32 in cells start..end -> logit [B, T, C]."""
        return sri_logits(phi, self.units.pair[start:end], tau=self.tau, eps=self.eps)

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

    def __init__(self, phi: torch.Tensor, formula: Formula) -> None:
        """Takes the states, [R, C, D]."""
        self._phi, self._formula = phi, formula

    def logits(self, rows: Rows, start: int, end: int) -> NDArray[np.float32]:
        """[rows, end - start, C] float32."""
        return self._formula.on_host(self._phi.numpy()[rows, None], start, end)


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
    """Whether numpy can read states, [...] of any dtype, where they are."""
    return states.device.type == "cpu"


def states_of(phi: torch.Tensor, formula: Formula) -> StepStates:
    """The states [R, C, D] of a step."""
    return HostStates(phi, formula) if on_host(phi) else DeviceStates(phi, formula)


def last_states(phi: Sequence[torch.Tensor], last: NDArray[np.int64], formula: Formula) -> StepStates:
    """The states [R, C, D] that S steps leave: of each request those of step `last`, [R] int64; a copy."""
    rows = [phi[step][row] for row, step in enumerate(last.tolist())]
    return states_of(torch.stack(rows), formula)


def measure_all(
    phi: Sequence[torch.Tensor], formula: Formula, active: NDArray[np.bool_], index: NDArray[np.int64], start: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The states of S steps in the cells they are in, in one call; from an accelerator, in one transfer.

    Args:
        phi: S tensors [R, C, D] float32.
        formula: what they are measured against.
        active: [S, R] bool, requests each step belongs to.
        index: [R, T] int64, the step whose state each of T cells has; -1 = none of these.
        start: the first of the T cells.

    Returns:
        [R, T, C] float32 logit, NaN where the state is not usable and anything where there is none, and [R] bool:
        requests with a state that is not usable, whether or not it is in a cell.
    """
    one = _measure_on_host if on_host(phi[0]) else _measure_on_device
    return one(phi, formula, active, index, start)


def _measure_on_host(
    phi: Sequence[torch.Tensor], formula: Formula, active: NDArray[np.bool_], index: NDArray[np.int64], start: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    # Where they lie: putting them side by side would take longer than measuring them.
    states = [step.numpy() for step in phi]
    pair = formula.units.pair[start : start + index.shape[1]]
    logit = sri_logits_of_steps(states, np.maximum(index, 0), pair, tau=formula.tau, eps=formula.eps)
    # The sum shows a NaN too, and is cheaper; mostly there is none.
    if np.isnan(logit.sum()):
        broken: NDArray[np.bool_] = np.any(np.isnan(logit) & (index >= 0)[:, :, None], axis=(1, 2))
    else:
        broken = np.zeros(len(index), dtype=np.bool_)
    if index.size == active.size and not index[:, 0].any() and (np.diff(index) == 1).all():
        # Each step is in a cell of its own: none was overwritten.
        return logit, broken
    rest, (row, cell) = active.copy(), np.nonzero(index >= 0)
    rest[index[row, cell], row] = False
    # Overwritten by a later step of their cell; a state that cannot be measured is told all the same.
    for step in np.flatnonzero(rest.any(axis=1)):
        broken |= rest[step] & ~usable(states[step]).all(axis=1)
    return logit, broken


def _measure_on_device(
    phi: Sequence[torch.Tensor], formula: Formula, active: NDArray[np.bool_], index: NDArray[np.int64], start: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    (requests, cells), states = index.shape, torch.stack(list(phi))
    at = torch.from_numpy(np.maximum(index, 0)).to(states.device)
    every = torch.arange(requests, device=states.device)[:, None]
    wide = max(1, MOST_ON_DEVICE // max(1, states[0].numel()))
    parts = [
        formula.on_device(states[at[:, cell : cell + wide], every], start + cell, start + min(cell + wide, cells))
        for cell in range(0, cells, wide)
    ]
    bad = torch.stack([~device_usable(step).all(-1) for step in states]) & torch.from_numpy(active).to(states.device)
    found = torch.cat([torch.cat(parts, dim=1).flatten(), bad.any(0).float()]).cpu().numpy()
    return found[:-requests].reshape(requests, cells, -1), found[-requests:].astype(np.bool_)
