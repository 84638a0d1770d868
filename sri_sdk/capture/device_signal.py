"""The SRI signal on the model's device: the formula of `sri_sdk.signal`, in torch, so that only numbers move."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import torch

from sri_sdk.signal import EPS, SMALLEST_NORM_SQUARED, TAU, UnitAnchors

_there: WeakKeyDictionary[UnitAnchors, dict[torch.device, torch.Tensor]] = WeakKeyDictionary()
"""Anchors on the devices they have been used on: they move once, not with each generation."""


def device_pair(units: UnitAnchors, device: torch.device) -> torch.Tensor:
    """[T, C, 2, D] float32 on the device, harmless first."""
    found = _there.setdefault(units, {})
    if device not in found:
        found[device] = torch.from_numpy(units.pair).float().to(device)
    return found[device]


def device_unit(states: torch.Tensor) -> torch.Tensor:
    """[..., D] of any float dtype -> [..., D] float32 of length 1."""
    states = states.float()
    squared = (states * states).sum(-1, keepdim=True)
    return states / squared.clamp(min=SMALLEST_NORM_SQUARED).sqrt()


def device_usable(states: torch.Tensor) -> torch.Tensor:
    """[..., D] -> [...] bool: finite and with a direction."""
    squared = states.float().square().sum(-1)
    return squared.isfinite() & (squared > SMALLEST_NORM_SQUARED)


def device_sri(
    phi: torch.Tensor, harmless: torch.Tensor, harmful: torch.Tensor, *, tau: float = TAU, eps: float = EPS
) -> tuple[torch.Tensor, torch.Tensor]:
    """The signal of pooled states against the anchors.

    Args:
        phi: [..., C, D] pooled states, any float dtype.
        harmless: [..., C, D] anchor as *unit* vectors, float32, same device (see `device_unit`).
        harmful: [..., C, D] anchor as *unit* vectors, float32, same device.
        tau: temperature.
        eps: keeps the logarithm finite when a state equals an anchor.

    Returns:
        sigma in [0, 1] and logit, [..., C] float32.
    """
    direction = device_unit(phi)
    towards_refusal = (direction - harmful).square().sum(-1) * 0.5
    towards_answer = (direction - harmless).square().sum(-1) * 0.5
    logit = ((towards_refusal + eps) / (towards_answer + eps)).log() * (1.0 / tau)
    return logit.sigmoid(), logit


def device_logits(phi: torch.Tensor, pair: torch.Tensor, *, tau: float, eps: float) -> torch.Tensor:
    """The logit of [..., C, D] states against [..., C, 2, D] (`device_pair`), [..., C] float32; NaN if not usable."""
    _, logit = device_sri(phi, pair[..., 0, :], pair[..., 1, :], tau=tau, eps=eps)
    return torch.where(device_usable(phi), logit, torch.nan)
