"""Pooling profiles by name: which hidden states of a step are averaged. `capture/pool.py` computes them.

Paper and published code differ in which states count, so the profile is a named, recorded choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Pooling = Literal["generated", "response", "predicting"]

MEANING: Mapping[Pooling, str] = {
    "generated": "tokens committed so far",
    "response": "all response positions (masked models)",
    "predicting": "the row that predicts the next token (autoregressive models)",
}
PROFILES: Mapping[str, tuple[Pooling, ...]] = {
    "masked": ("response", "generated"),
    "autoregressive": ("predicting", "generated"),
    "canvas": ("response",),
}
"""Scheme of the hook -> the profiles defined for it, the usual one first."""
USUAL: Mapping[str, Pooling] = {scheme: profiles[0] for scheme, profiles in PROFILES.items()}
"""Scheme of the hook -> the profile of the authors' code."""
