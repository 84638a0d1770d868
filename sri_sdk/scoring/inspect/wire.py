"""Protocol buffers, read strictly: every byte is accounted for, and what ONNX would not write is refused.

A lenient parser accepts unknown fields, repeated singular ones (the last wins, or they merge) and numbers with padding.
Each is a way for a file to mean one thing to a checker and another to a runtime, so here each is an error.

https://protobuf.dev/programming-guides/encoding/ describes the format.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

VARINT, BYTES, FIXED32 = 0, 2, 5
"""Wire types that ONNX uses."""

_GOES_ON = bytes(range(0x80, 0x100))

Span = tuple[int, int]
"""Start and end of some bytes in the file. Nothing is copied: weights may be large."""


class Refused(Exception):
    """The file must not be loaded. The message says why; the caller of the inspector adds which file it is."""


class Field(NamedTuple):
    """One field of a message."""

    name: str
    wire: int
    most: int = 1
    """How often it may occur."""
    run: re.Pattern[bytes] | None = None
    """Matches the field repeated in a row, tags included, to be read as one value: a forest has 100,000 numbers."""


class Message:
    """The fields a message may have. Any other field is refused."""

    def __init__(self, name: str, fields: Mapping[int, Field], refused: Mapping[int, str] | None = None) -> None:
        """`refused` names fields that exist in ONNX but that no bundle may use: number -> what it is."""
        self.name = name
        self.fields = {number << 3 | field.wire: field for number, field in fields.items()}
        """By tag, so that a known field of another wire type counts as unknown."""
        self._known = {number: field.name for number, field in fields.items()}
        self._refused = dict(refused or {})

    def unknown(self, tag: int) -> Refused:
        """The reason why this tag is not allowed."""
        number, wire = tag >> 3, tag & 7
        if number in self._refused:
            return Refused(f"{self.name} contains {self._refused[number]}, which no bundle needs")
        if number in self._known:
            return Refused(f"{self.name}.{self._known[number]} has the wrong wire type, {wire}")
        return Refused(f"{self.name} has a field {number}, which ONNX does not know")


class Parsed:
    """One message that was read. Unless stated otherwise, asking for a missing field raises `Refused`.

    The schema says which fields are numbers and which are bytes; the caller uses the method of that type.
    """

    __slots__ = ("data", "fields", "name")

    def __init__(self, data: bytes, name: str, fields: dict[str, list[Any]]) -> None:
        """Use `read`."""
        self.data, self.name, self.fields = data, name, fields

    def __contains__(self, field: str) -> bool:
        return field in self.fields

    def number(self, field: str, default: int | None = None) -> int:
        """A varint, unsigned."""
        found: int | None = self.fields[field][0] if field in self.fields else default
        if found is None:
            raise Refused(f"{self.name}.{field} is missing")
        return found

    def numbers(self, field: str) -> list[int]:
        """Every varint of a field, unsigned."""
        return self.fields.get(field, [])

    def span(self, field: str) -> Span:
        """Where the bytes of a field are."""
        if field not in self.fields:
            raise Refused(f"{self.name}.{field} is missing")
        found: Span = self.fields[field][0]
        return found

    def spans(self, field: str) -> list[Span]:
        """The same for every occurrence."""
        return self.fields.get(field, [])

    def text(self, field: str) -> str:
        """A string; empty if the field is missing, as in ONNX."""
        return text(self.data, self.fields[field][0]) if field in self.fields else ""

    def texts(self, field: str) -> list[str]:
        """Every string of a field."""
        return [text(self.data, span) for span in self.fields.get(field, ())]

    def message(self, field: str, message: Message) -> Parsed:
        """The message in a field."""
        return read(self.data, self.span(field), message)

    def messages(self, field: str, message: Message) -> Iterator[Parsed]:
        """Every message in a field, read one at a time."""
        return (read(self.data, span, message) for span in self.fields.get(field, ()))


def read(data: bytes, span: Span, message: Message) -> Parsed:
    """The fields of one message.

    A varint becomes an int, anything else the span of its bytes. Fields with a `run` have tags of one byte.

    Raises:
        Refused: the bytes are not exactly such a message.
    """
    at, end = span
    known = message.fields
    found: dict[str, list[Any]] = {}
    while at < end:
        tag = data[at]
        if tag < 0x80:
            at += 1
        else:
            tag, at = varint(data, at, end)
        field = known.get(tag)
        if field is None:
            raise message.unknown(tag)
        name, wire, most, run = field
        value: int | Span
        if run is not None:
            whole = run.match(data, at - 1, end)
            if whole is None:
                raise Refused(f"{message.name}.{name} contains something that is not allowed")
            at = whole.end()
            value = whole.span()
        elif wire == FIXED32:
            value = (at, at + 4)
            at += 4
        else:
            # Most numbers are one byte. If there is none, `at` ends up beyond the end, which is checked below.
            number = data[at] if at < end else 0
            at += 1
            if number > 0x7F:
                number, at = varint(data, at - 1, end)
            value = number
            if wire == BYTES:
                value = (at, at + number)
                at += number
        if at > end:
            raise Refused(f"{message.name}.{name} runs beyond the end of the message around it")
        values = found.get(name)
        if values is None:
            found[name] = [value]
        elif len(values) < most:
            values.append(value)
        else:
            raise Refused(f"{message.name}.{name} occurs more often than allowed, {most}")
    return Parsed(data, message.name, found)


def varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """The unsigned number that begins at `at`, and the position after it.

    Raises:
        Refused: cut off, longer than it needs to be, or beyond 64 bits.
    """
    value = shift = 0
    while at < end:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if not byte and shift:
                raise Refused("a number is written longer than it needs to be")
            if value >> 64:
                break
            return value, at
        shift += 7
        if shift > 63:
            break
    raise Refused("a number is cut off, or beyond 64 bits")


def signed(value: int) -> int:
    """An unsigned 64-bit number as the signed one with the same bits."""
    return value - (1 << 64) if value >> 63 else value


def packed(data: bytes, span: Span) -> int:
    """The number of varints in a span.

    Raises:
        Refused: the last one is cut off.
    """
    found = data[span[0] : span[1]]
    if found and found[-1] > 0x7F:
        raise Refused("a number is cut off")
    return len(found.translate(None, _GOES_ON))


def text(data: bytes, span: Span, *, longest: int = 1024) -> str:
    """A string of UTF-8.

    Raises:
        Refused: too long, not UTF-8, or with control characters, which no name needs.
    """
    start, end = span
    if end - start > longest:
        raise Refused(f"a name has {end - start} bytes, allowed: up to {longest}")
    try:
        found = data[start:end].decode()
    except UnicodeDecodeError as err:
        raise Refused("a name is not UTF-8") from err
    if not found.isprintable():
        raise Refused(f"a name has control characters: {found[:40]!r}")
    return found


INT_RUN = r"(?:%s[\x80-\xff]{0,9}[\x00-\x7f])++"
FLOAT_RUN = r"(?:%s[\x00-\xff]{4})++"
"""Runs of a field whose tag is `%s`; possessive, because there is only one way to read them."""


def run_of(pattern: str, tag: int) -> re.Pattern[bytes]:
    """One of the patterns above, for one tag."""
    return re.compile((pattern % re.escape(chr(tag))).encode("latin-1"), re.DOTALL)


def ints(data: bytes, runs: Sequence[Span]) -> NDArray[np.int64]:
    """[K] int64: the numbers in runs of varints.

    Raises:
        Refused: a number is longer than it needs to be, or beyond 64 bits.
    """
    parts = [np.zeros(0, np.uint64)]
    for start, end in runs:
        raw = np.frombuffer(data, np.uint8, end - start, start)
        # In each field exactly two bytes are below 0x80: its tag, and the last byte of its number.
        low = np.flatnonzero(raw < 0x80)
        first, last = low[0::2] + 1, low[1::2]
        length = last - first
        if ((raw[last] == 0) & (length > 0)).any() or ((length == 9) & (raw[last] > 1)).any():
            raise Refused("a number is written longer than it needs to be, or is beyond 64 bits")
        value = np.zeros(len(first), np.uint64)
        for k in range(int(length.max()) + 1):
            here = length >= k
            value[here] |= (raw[first[here] + k] & 0x7F).astype(np.uint64) << np.uint64(7 * k)
        parts.append(value)
    return np.concatenate(parts).view(np.int64)


def floats(data: bytes, runs: Sequence[Span]) -> NDArray[np.float32]:
    """[K] float32: the numbers in runs of 32-bit floats."""
    parts = [np.zeros(0, np.float32)]
    for start, end in runs:
        raw = np.frombuffer(data, np.uint8, end - start, start).reshape(-1, 5)[:, 1:]
        parts.append(np.ascontiguousarray(raw).view("<f4").ravel())
    return np.concatenate(parts)
