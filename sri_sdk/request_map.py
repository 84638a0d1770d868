"""The request column: what the hidden states of a request say of its harm, as one number per generation.

The mean state over the positions of the request, at every tapped layer and in the pass that reads it, goes through one
affine map. Harm and refusal are encoded apart (arXiv 2507.11878): these states show a harmful request even where the
model goes along with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sri_sdk.files import sha256

LARGEST = 1_000.0
"""Log-odds are clipped to plus and minus this, far beyond what states of text give, so that no row fails.

A smaller number would make ties among the most suspicious harmless requests. A threshold for few false alarms then is
the clip itself, and nothing is ever above it.
"""


@dataclass(frozen=True, slots=True, eq=False)
class RequestMap:
    """An affine map from states to log-odds; high = harmless, like sigma. Keep it private, as the anchors."""

    weight: NDArray[np.float32]
    """[C, D] float32."""
    bias: float
    """Log-odds of a state of zeros."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Prompts it was fitted on, and what it is worth on those it had not seen, as JSON types; not in the digest."""

    def log_odds(self, states: NDArray[Any]) -> NDArray[np.float32]:
        """How harmless each request reads.

        Args:
            states: [..., C, D] mean states of requests; float32 or float16.

        Returns:
            [...] float32, natural log-odds in [-1000, 1000], positive = harmless; NaN where a state is not finite.
        """
        odds = np.full(states.shape[:-2], self.bias)
        with np.errstate(over="ignore", invalid="ignore"):
            # Layer by layer: all of them at once, as float64, would be twice the memory of the states.
            for layer, weight in enumerate(self.weight.astype(np.float64)):
                odds += (states[..., layer, :].astype(np.float64) * weight).sum(axis=-1)
        odds[~np.isfinite(states).all(axis=(-2, -1))] = np.nan
        clipped: NDArray[np.float32] = np.clip(odds, -LARGEST, LARGEST).astype(np.float32)
        return clipped

    @property
    def digest(self) -> str:
        """SHA-256 over the little-endian bytes of weight, bias and clip: identifies the map that made a column."""
        return sha256(self.weight.astype("<f4").tobytes() + np.array([self.bias, LARGEST], dtype="<f8").tobytes())
