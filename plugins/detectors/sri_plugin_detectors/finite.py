"""The check on its input that every detector makes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sri_sdk.errors import ScoringError


def refuse_non_finite(detector: str, signals: NDArray[Any]) -> None:
    """Refuses NaN and infinity.

    Args:
        detector: its name, for the message.
        signals: [N, T, C], any float dtype, sigma or logit.

    Raises:
        ScoringError: a signal holds NaN or infinity.
    """
    good: NDArray[np.bool_] = np.asarray(np.isfinite(signals).reshape(len(signals), -1).all(axis=1))
    if not good.all():
        raise ScoringError(
            f"{detector}: signal {int(np.argmin(good))} holds NaN or infinity ({int((~good).sum())} of {len(good)}). "
            "Compute it again, or leave the prompt out."
        )
