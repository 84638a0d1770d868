"""Verdicts by the thousand: as their constructor makes them, in a third of its time, and no Python per record."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cache
from itertools import repeat
from typing import Any, TypeVar

from sri_sdk.records import PartVerdict, Verdict

Record = TypeVar("Record", Verdict, PartVerdict)


def in_bulk(kind: type[Record], count: int, columns: Mapping[str, Sequence[Any]], **same: Any) -> list[Record]:
    """`count` records; a field that is named nowhere has its default.

    Field after field, each in one pass that runs in C.

    Args:
        kind: a dataclass with slots, and without a `__post_init__`, since no constructor runs.
        count: of records.
        columns: field -> its value in each record.
        same: field -> its value in all of them.
    """
    if count == 1:
        return [kind(**{name: column[0] for name, column in columns.items()}, **same)]
    made = list(map(object.__new__, repeat(kind, count)))
    # A type always is hashable; of these mypy looks at the `__hash__` of their instances.
    for name, (put, default) in _slots(kind).items():  # type: ignore[arg-type]
        column = columns[name] if name in columns else repeat(same.get(name, default))
        # A queue without room: runs the map, and keeps none of its results.
        deque(map(put, made, column), maxlen=0)
    return made


@cache
def _slots(kind: type[Any]) -> dict[str, tuple[Any, Any]]:
    """Field -> what writes it, past the frozen `__setattr__`, and its default."""
    return {each.name: (getattr(kind, each.name).__set__, each.default) for each in fields(kind)}
