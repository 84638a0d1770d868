"""The SRI signal (arXiv 2602.02600, section 3.1): one number per step of a generation.

    d_t^k   = 1 - cos(phi_t, mu_t^k)                        k in {harmless, harmful}
    logit_t = log((d_t^harmful + eps) / (d_t^harmless + eps)) / tau
    sigma_t = sigmoid(logit_t)

This file is the reference: numpy. `capture/device_signal.py` is the same on the model's device, and `signal_graph.py`
the same as a graph. Real hidden states lie so close to the anchors that `1 - dot` in float32 loses up to 0.17 of sigma
and can fall below 0. So those two, in float32, compute d as half the squared distance of the unit vectors; here the dot
products are float64, in which `1 - dot` loses nothing that float32 could hold. That also is the fastest way on a CPU: a
block of states is read once, and its copy in float64 stays in the cache for all three products.

Appendix D of the paper prints the log-ratio with the opposite sign; section 3.1 and the authors' code agree on
the sign used here: 1 = internally compliant, 0 = refusal-aligned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

TAU = 0.1
EPS = 1e-8
SMALLEST_NORM_SQUARED = 1e-30
"""Below this the direction of a float32 vector is rounding noise: it counts as zero."""
LARGEST_NORM_SQUARED = float(np.finfo(np.float32).max)
BLOCK = 2**16
"""Numbers of one block of states: as float64 half a MiB, which a core's own cache holds beside the anchors."""

Floats = NDArray[np.float32]


class Signal(NamedTuple):
    """One or many signals, in both forms."""

    sigma: Floats
    """[..., T, C] in [0, 1]: 1 = internally compliant, 0 = refusal-aligned."""
    logit: Floats
    """[..., T, C] unbounded; sigma = sigmoid(logit)."""


def norm_squared(states: NDArray[Any]) -> Floats:
    """[..., D] -> [...] float32: squared length of each state; not finite where the state is not."""
    states = states.astype(np.float32, copy=False)
    with np.errstate(over="ignore", invalid="ignore"):
        squared: Floats = (states * states).sum(axis=-1)
    return squared


def usable(states: NDArray[Any]) -> NDArray[np.bool_]:
    """[..., D] -> [...] bool: finite and with a direction. Anything else has no signal."""
    wide = states.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        return _has_direction(_dots(wide, wide))


def _has_direction(squared: NDArray[np.float64]) -> NDArray[np.bool_]:
    """[...] -> [...] bool. Bounds as if lengths were float32, in which a device and a graph compute them."""
    return (squared > SMALLEST_NORM_SQUARED) & (squared <= LARGEST_NORM_SQUARED)


def unit(states: NDArray[Any]) -> Floats:
    """[..., D] -> [..., D] float32, each of length 1."""
    states = states.astype(np.float32, copy=False)
    length: Floats = np.sqrt(np.maximum(norm_squared(states), np.float32(SMALLEST_NORM_SQUARED)))
    direction: Floats = np.divide(states, length[..., None], dtype=np.float32)
    return direction


class UnitAnchors:
    """The two anchors as unit vectors, ready to be measured against; made once for all generations."""

    def __init__(self, harmless: NDArray[Any], harmful: NDArray[Any]) -> None:
        """Takes the anchors, [T, C, D] each."""
        self.pair = np.empty((*harmless.shape[:-1], 2, harmless.shape[-1]))
        """[T, C, 2, D] float64, harmless first, each of length 1."""
        self.pair[..., 0, :], self.pair[..., 1, :] = harmless, harmful
        self.pair /= np.sqrt(np.maximum(_dots(self.pair, self.pair), SMALLEST_NORM_SQUARED))[..., None]


def sri(
    phi: NDArray[Any], harmless: NDArray[Any], harmful: NDArray[Any], *, tau: float = TAU, eps: float = EPS
) -> Signal:
    """The signal of pooled hidden states against the two anchors.

    Args:
        phi: [..., T, C, D] hidden states, pooled per step; float32 or float16. The caller upcasts bfloat16.
        harmless: [T, C, D] anchor of answered harmless prompts; float32.
        harmful: [T, C, D] anchor of refused harmful prompts; float32.
        tau: temperature; smaller = sharper.
        eps: keeps the logarithm finite when a state equals an anchor.

    Returns:
        sigma and logit, [..., T, C] float32, unitless; NaN for states that are not `usable`, and for no others.
    """
    rows = phi.reshape(-1, *phi.shape[-3:])
    logit = sri_logits(rows, UnitAnchors(harmless, harmful).pair, tau=tau, eps=eps).reshape(phi.shape[:-1])
    return Signal(sigmoid(logit), logit)


def sri_logits(phi: NDArray[Any], pair: NDArray[np.float64], *, tau: float = TAU, eps: float = EPS) -> Floats:
    """`sri` against anchors that are unit vectors already, in blocks that stay in the cache.

    A number depends on its own state and anchors alone, bit for bit, however many are computed at once.

    Args:
        phi: [B, T, C, D] states, or [B, 1, C, D] for the same state in all cells.
        pair: [T, C, 2, D] float64, as `UnitAnchors` has it, or some of its cells.
        tau: temperature; smaller = sharper.
        eps: keeps the logarithm finite when a state equals an anchor.

    Returns:
        [B, T, C] float32 logit; NaN for states that are not `usable`.
    """
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        if phi.size <= BLOCK:
            states = phi.astype(np.float64)
            return _logits(_dots(states, states), _dots(pair, states[..., None, :]), tau, eps)

        def copy(into: NDArray[np.float64], rows: slice, cells: slice) -> None:
            into[...] = phi[rows, cells]

        return _logits(*_in_blocks(copy, phi.shape, pair), tau, eps)


def sri_logits_of_steps(
    steps: Sequence[NDArray[Any]], index: NDArray[np.int64], pair: NDArray[np.float64], *, tau: float = TAU,
    eps: float = EPS,
) -> Floats:  # fmt: skip
    """`sri_logits` of states that lie where S steps left them; no array with all of them is made.

    Args:
        steps: S arrays [B, C, D].
        index: [B, T] int64, the step whose state is in each cell.
        pair: as for `sri_logits`.
        tau: as for `sri_logits`.
        eps: as for `sri_logits`.

    Returns:
        [B, T, C] float32 logit; NaN for states that are not `usable`.
    """
    in_cells: list[list[int]] = index.T.tolist()

    def gather(into: NDArray[np.float64], rows: slice, cells: slice) -> None:
        for cell, every in enumerate(in_cells[cells]):
            its = every[rows]
            if its.count(its[0]) == len(its):
                into[:, cell] = steps[its[0]][rows]
            else:
                for row, step in enumerate(its):
                    into[row, cell] = steps[step][rows.start + row]

    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return _logits(*_in_blocks(gather, (*index.shape, *steps[0].shape[1:]), pair), tau, eps)


def _in_blocks(
    fill: Callable[[NDArray[np.float64], slice, slice], None], shape: tuple[int, ...], pair: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Squared lengths [B, T, C] of states and their products with the anchors, [B, T, C, 2].

    Args:
        fill: copies the states of some rows and cells, the slices, into [b, t, C, D].
        shape: (B, T, C, D) of all states.
        pair: [T, C, 2, D] unit anchors; T may be 1 here, or in `shape`.
    """
    rows, cells, columns, width = shape
    squared, dots = np.empty((rows, cells, columns)), np.empty((rows, max(cells, len(pair)), columns, 2))
    # Rows before cells: the anchors of a cell are then read once for many rows.
    most = max(1, BLOCK // max(1, columns * width))
    high = max(1, min(rows, most))
    wide = max(1, min(cells, most // high))
    block = np.empty((high, wide, columns, width))
    for cell in range(0, cells, wide):
        its_cells = slice(cell, cell + wide)
        its_pair = pair if 1 in (cells, len(pair)) else pair[its_cells]
        for row in range(0, rows, high):
            its_rows = slice(row, row + high)
            found = squared[its_rows, its_cells]
            states = block[: found.shape[0], : found.shape[1]]
            fill(states, its_rows, its_cells)
            _dots(states, states, out=found)
            _dots(its_pair, states[..., None, :], out=dots[its_rows] if cells == 1 else dots[its_rows, its_cells])
    return squared, dots


def _dots(
    x: NDArray[np.float64], y: NDArray[np.float64], out: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """[..., D] and [..., D] -> [...]: vector by vector, so that no product depends on its neighbours."""
    into = None if out is None else out[..., None, None]
    found: NDArray[np.float64] = np.matmul(x[..., None, :], y[..., :, None], out=into)
    return found[..., 0, 0]


def _logits(squared: NDArray[np.float64], dots: NDArray[np.float64], tau: float, eps: float) -> Floats:
    """Squared lengths [B, T, C] and products with both unit anchors [B, T, C, 2] -> [B, T, C] float32."""
    length = np.sqrt(np.where(_has_direction(squared), squared, np.nan))
    distance = np.maximum((1 + eps) - dots / length[..., None], eps)
    # One logarithm of the ratio, not two of the parts: near sigma = 0.5 its rounding error is ten times smaller.
    logit: Floats = (np.log(distance[..., 1] / distance[..., 0]) * (1 / tau)).astype(np.float32)
    return logit


def sigmoid(logit: Floats) -> Floats:
    """[...] -> [...] float32 in [0, 1], without overflow at either end."""
    small = np.exp(-np.abs(logit))
    value: Floats = np.where(logit >= 0, np.float32(1), small) / (1 + small)
    return value.astype(np.float32, copy=False)
