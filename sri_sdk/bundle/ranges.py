"""What a cell of a signal may be, and what a generation scores that has another one."""

from __future__ import annotations

import numpy as np

from sri_sdk.records import Domain

INVALID_SCORE = float(np.float32(3e38))
"""Score of a row that cannot be scored. A detector's own score is below it, or the row counts as invalid."""
RANGE: dict[Domain, tuple[float, float]] = {"sigma": (-1e-3, 1 + 1e-3), "logit": (-1e4, 1e4)}
"""Open interval a cell must lie in. Sigma has room for rounding; logits beyond 1e4 come from no real model."""
