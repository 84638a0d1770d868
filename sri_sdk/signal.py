"""The SRI signal (arXiv 2602.02600, section 3.1): one number per step of a generation.

    d_t^k   = 1 - cos(phi_t, mu_t^k)                        k in {harmless, harmful}
    logit_t = log((d_t^harmful + eps) / (d_t^harmless + eps)) / tau
    sigma_t = sigmoid(logit_t)

This file is the reference: numpy, float32. `capture/device_signal.py` is the same on the model's device, and
`signal_graph.py` the same as a graph. All three compute d as half the squared distance of the unit vectors: real
hidden states lie so close to the anchors that `1 - dot` in float32 loses up to 0.17 of sigma and can fall below 0.

Appendix D of the paper prints the log-ratio with the opposite sign; section 3.1 and the authors' code agree on
the sign used here: 1 = internally compliant, 0 = refusal-aligned.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

TAU = 0.1
EPS = 1e-8
SMALLEST_NORM_SQUARED = 1e-30
"""Below this the direction of a float32 vector is rounding noise: it counts as zero."""

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
    squared = norm_squared(states)
    return np.isfinite(squared) & (squared > SMALLEST_NORM_SQUARED)


def unit(states: NDArray[Any]) -> Floats:
    """[..., D] -> [..., D] float32, each of length 1."""
    states = states.astype(np.float32, copy=False)
    length: Floats = np.sqrt(np.maximum(norm_squared(states), np.float32(SMALLEST_NORM_SQUARED)))
    direction: Floats = np.divide(states, length[..., None], dtype=np.float32)
    return direction


def cosine_distance(states: NDArray[Any], anchors: NDArray[Any]) -> Floats:
    """[..., D] against [..., D] -> [...] float32 in [0, 2]: 1 - cos, as half the squared distance of unit vectors."""
    return _half_squared(unit(states) - unit(anchors))


def _half_squared(gap: Floats) -> Floats:
    distance: Floats = np.float32(0.5) * (gap * gap).sum(axis=-1)
    return distance


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
        sigma and logit, [..., T, C] float32, unitless. Never NaN for states that are `usable`; the caller refuses the
        others.
    """
    return sri_of_units(unit(phi), unit(harmless), unit(harmful), tau=tau, eps=eps)


def sri_of_units(phi: Floats, harmless: Floats, harmful: Floats, *, tau: float = TAU, eps: float = EPS) -> Signal:
    """`sri` for unit vectors (see `unit`): the anchors of a long run are normalised only once.

    `phi` is [..., T, C, D], `harmless` and `harmful` are [T, C, D], all float32; the result is [..., T, C] float32.
    """
    towards_refusal = _half_squared(phi - harmful)
    towards_answer = _half_squared(phi - harmless)
    # One logarithm of the ratio, not two of the parts: near sigma = 0.5 its rounding error is ten times smaller.
    ratio = (towards_refusal + np.float32(eps)) / (towards_answer + np.float32(eps))
    logit: Floats = np.log(ratio) * np.float32(1.0 / tau)
    return Signal(sigmoid(logit), logit)


def sigmoid(logit: Floats) -> Floats:
    """[...] -> [...] float32 in [0, 1], without overflow at either end."""
    small = np.exp(-np.abs(logit))
    value: Floats = np.where(logit >= 0, 1 / (1 + small), small / (1 + small)).astype(np.float32, copy=False)
    return value
