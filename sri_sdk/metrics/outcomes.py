"""Outcomes as small integers: what a judge says of many drafts, as one array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from sri_sdk.records import Outcome

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
"""The words of a judge; a code is the place of a word in it."""
REFUSAL, HARMFUL = OUTCOMES.index("refusal"), OUTCOMES.index("harmful")
NONE = -1
"""No draft: the hook gave none for this step, or the generation had ended. Written `""` where outcomes are words."""

Codes = NDArray[np.int8]


def codes(outcomes: NDArray[Any] | Sequence[Any]) -> Codes:
    """Words, rows of words, or codes already -> codes.

    Args:
        outcomes: [N] outcomes, or [N, S] outcomes per step: words of `OUTCOMES`, `""` for no draft, or their codes.
            Rows may differ in length; short ones are filled with `NONE`.

    Returns:
        [N] or [N, S] int8, -1 = no draft. An empty sequence is [0].

    Raises:
        ValueError: a word no judge may say, or a code out of range.
    """
    if not isinstance(outcomes, np.ndarray) and any(_is_row(item) for item in outcomes):
        rows = [codes(row) for row in outcomes]
        table = np.full((len(rows), max(map(len, rows))), NONE, dtype=np.int8)
        for filled, row in zip(table, rows, strict=True):
            filled[: len(row)] = row
        return table
    found = np.asarray(outcomes)
    if not found.size:
        return np.empty(found.shape, dtype=np.int8)
    if found.dtype.kind in "UO":
        return _of_words(found)
    if found.dtype.kind not in "iu" or found.min() < NONE or found.max() >= len(OUTCOMES):
        raise ValueError(
            f"outcomes: {found.dtype} from {found.min()} to {found.max()}; allowed: integers from {NONE} (no draft) to "
            f"{len(OUTCOMES) - 1}, which stand for {', '.join(OUTCOMES)}"
        )
    return found.astype(np.int8)


def words(found: Codes) -> tuple[Outcome, ...]:
    """The words behind codes: the inverse of `codes` for one outcome per generation.

    Args:
        found: [N] int8, each a place in `OUTCOMES`.
    """
    return tuple(OUTCOMES[code] for code in found.tolist())


def _is_row(item: Any) -> bool:
    return isinstance(item, Sequence | np.ndarray) and not isinstance(item, str)


def _of_words(words: NDArray[Any]) -> Codes:
    table = {word: code for code, word in enumerate(OUTCOMES)} | {"": NONE}
    unknown = {str(word) for word in words.flat} - table.keys()
    if unknown:
        raise ValueError(f"outcomes: {sorted(unknown)}; allowed: {', '.join(OUTCOMES)}, or an empty word for no draft")
    return np.array([table[str(word)] for word in words.flat], dtype=np.int8).reshape(words.shape)
