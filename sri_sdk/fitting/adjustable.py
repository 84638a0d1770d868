"""A graph whose constants can be replaced from call to call: what would happen if one of them were wrong?

In ONNX a constant that is also listed among the inputs is a default, and a caller may give another value. So the same
session answers for thousands of changed graphs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sri_sdk.scoring.inspect import onnx_messages as onnx
from sri_sdk.scoring.inspect.wire import read
from sri_sdk.scoring.runtime import RunGraph, load_own

_FLOAT = 1
_GRAPH, _INPUT = b"\x3a", b"\x5a"
"""Tags of the graph in a model, and of an input in a graph."""


@dataclass(frozen=True, slots=True)
class Adjustable:
    """A loaded graph. Give a constant's name among the inputs to replace it."""

    run: RunGraph
    constants: dict[str, NDArray[np.float32]]
    """By name, [...] float32 of any shape: all of that type."""
    learnt: int
    """Float numbers in attributes, as trees and support vectors have them; those cannot be replaced."""

    @classmethod
    def of(cls, content: bytes, subject: str) -> Adjustable:
        """From an ONNX file that was drawn in this process."""
        model = read(content, (0, len(content)), onnx.MODEL)
        start, end = model.span("graph")
        constants: dict[str, NDArray[np.float32]] = {}
        inputs = b""
        graph = model.message("graph", onnx.GRAPH)
        for each in graph.messages("initializer", onnx.TENSOR):
            if each.number("data_type") != _FLOAT or "raw_data" not in each:
                continue
            shape, (first, last) = tuple(each.numbers("dims")), each.span("raw_data")
            constants[each.text("name")] = np.frombuffer(content[first:last], "<f4").reshape(shape)
            inputs += _INPUT + _sized(_edge(each.text("name"), shape))
        learnt = sum(
            (last - first) // 5  # A tag and four bytes each.
            for node in graph.messages("node", onnx.NODE)
            for attribute in node.messages("attribute", onnx.ATTRIBUTE)
            for first, last in attribute.spans("floats")
        )
        head = content[: start - len(_varint(end - start)) - len(_GRAPH)]
        changed = head + _GRAPH + _sized(content[start:end] + inputs) + content[end:]
        return cls(load_own(changed, subject), constants, learnt)


def _edge(name: str, shape: tuple[int, ...]) -> bytes:
    dims = b"".join(b"\x0a" + _sized(b"\x08" + _varint(size)) for size in shape)
    tensor = b"\x08" + _varint(_FLOAT) + b"\x12" + _sized(dims)
    return b"\x0a" + _sized(name.encode()) + b"\x12" + _sized(b"\x0a" + _sized(tensor))


def _sized(content: bytes) -> bytes:
    return _varint(len(content)) + content


def _varint(number: int) -> bytes:
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])
