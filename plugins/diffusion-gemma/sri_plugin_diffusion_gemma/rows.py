"""What this plugin's sampler tells this plugin's hook: a pass itself does not show which rows are still at work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one decoder pass."""

    canvas: int
    """Canvases that were finished before it."""
    active: torch.Tensor
    """[B] bool: rows that are still being denoised; the others are forwarded, and what comes of it is thrown away."""


_rows: ContextVar[Rows | None] = ContextVar("sri_plugin_diffusion_gemma_rows", default=None)


@contextmanager
def announced(rows: Rows) -> Iterator[None]:
    """Says what the rows of the decoder pass inside the block are."""
    token = _rows.set(rows)
    try:
        yield
    finally:
        _rows.reset(token)


def told() -> Rows | None:
    """What was said of the pass that runs now; None = nothing, it is not ours."""
    return _rows.get()
