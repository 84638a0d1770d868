"""Protobuf's text format, as much of it as a model configuration needs: the same fields give the same bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

WIDTH = 100
"""A message that fits into so many characters stands in one line."""


class Word(str):
    """The name of an enum's value, which stands without quotes."""


Field: TypeAlias = "str | int | Word | Sequence[int] | Sequence[Mapping[str, Field]] | Mapping[str, Field]"
"""A string (printable ASCII), a whole number, true or false, an enum's value, numbers, messages, or one message."""


def to_text(fields: Mapping[str, Field]) -> str:
    """The fields in the order given; a list of messages stands as one message after the other."""
    return "".join(line + "\n" for line in _lines(fields))


def _lines(fields: Mapping[str, Field]) -> Iterator[str]:
    for name, value in fields.items():
        for each in _repeated(value):
            if not isinstance(each, Mapping):
                yield f"{name}: {_scalar(each)}"
                continue
            inside = list(_lines(each))
            if len(short := f"{name} {{ {' '.join(inside)} }}") <= WIDTH:
                yield short
            else:
                yield from [f"{name} {{", *(f"  {line}" for line in inside), "}"]


def _repeated(value: Field) -> Iterator[str | int | Sequence[int] | Mapping[str, Field]]:
    """What a field stands once for. Numbers share one line."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        numbers = [each for each in value if isinstance(each, int)]
        messages = [each for each in value if isinstance(each, Mapping)]
        yield from [numbers] if len(numbers) == len(value) else messages
    else:
        yield value


def _scalar(value: str | int | Sequence[int]) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Word):
        return str(value)
    # JSON quotes printable ASCII, and lists numbers, as protobuf does.
    return json.dumps(value if isinstance(value, str) else list(value))
