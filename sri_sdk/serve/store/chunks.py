"""Lists in pieces that a database takes at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

AT_ONCE = 500
"""Parameters of one statement; SQLite takes a limited number."""


def chunks(found: Sequence[T], size: int = AT_ONCE) -> Iterator[Sequence[T]]:
    """Pieces of at most `size`, in order."""
    for start in range(0, len(found), size):
        yield found[start : start + size]
