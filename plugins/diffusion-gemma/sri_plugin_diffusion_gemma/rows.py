"""What this plugin's sampler tells this plugin's hook: a pass itself does not show which rows are still at work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sri_sdk.canvas import PassNote

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one decoder pass."""

    canvas: int
    """Canvases that were finished before it."""
    active: torch.Tensor
    """[B] bool: rows that are still being denoised; the others are forwarded, and what comes of it is thrown away."""


ROWS: PassNote[Rows] = PassNote("sri_plugin_diffusion_gemma.rows")
"""The rows of the decoder pass that is running; it has none where the pass is not our sampler's."""
