"""Prompts of like length in one batch: the shorter ones of a batch are padded, and padding costs what a prompt costs.

A mix of requests, of which a few stand in long wrappers, would have one of these in nearly every batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from sri_sdk.records import Prompt

T = TypeVar("T")
SHORT = 400
"""Characters up to which a prompt costs little beside its response, so that the given order stays. What evaluations
have stored lies in this order."""
SHORT_IN_FITS = 100
"""The same for fits, which look at nothing before a fold is whole."""


def longest_first(prompts: Sequence[Prompt], short: int = SHORT) -> list[int]:
    """Places of the prompts in the order to generate them: long ones first, by length, then the short ones as given.

    The longest first, so that a batch too large for the memory shows at once, and the time left is overestimated.

    Args:
        prompts: as they are given.
        short: characters up to which a prompt is a short one.
    """
    lengths = [max(len(p.text) + len(p.prefill or ""), short) for p in prompts]
    # sorted() is stable.
    return sorted(range(len(prompts)), key=lambda at: -lengths[at])


def places(order: Sequence[int]) -> list[int]:
    """Where each prompt is in this order: what puts results back into the order of the prompts."""
    found = [0] * len(order)
    for at, prompt in enumerate(order):
        found[prompt] = at
    return found
