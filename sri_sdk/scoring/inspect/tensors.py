"""Edges and constants of a graph, as a file declares them: known types, real shapes, and exactly the data they need."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from sri_sdk.bundle.manifest import TensorEntry
from sri_sdk.scoring.inspect import onnx_messages as onnx
from sri_sdk.scoring.inspect.operators import BOOL, DOUBLE, FLOAT, INT32, INT64, Rules
from sri_sdk.scoring.inspect.shapes import BATCH, Shape, elements
from sri_sdk.scoring.inspect.wire import Parsed, Refused, Span, packed

MOST_CONSTANTS = 2**26
"""Elements of all constants together, and of one row of an input. A `full` graph of 33 layers of 8192 wide states on 32
cells has 17 million."""
MOST_SHAPE_VALUES = 64
"""Most elements of a constant that is read as a shape or as axes."""

BYTES = {FLOAT: 4, INT32: 4, INT64: 8, BOOL: 1, DOUBLE: 8}
"""Bytes of one element."""
WIDEST = 16
"""Bytes of one element of any type that is not in `BYTES`."""
_TYPED = {"float_data": 4, "double_data": 8, "int32_data": 0, "int64_data": 0}
"""Bytes of one element where a constant is not `raw_data`; 0 = varints."""
_DTYPES = {"float32": FLOAT, "int64": INT64, "bool": BOOL}

Edge = tuple[int, tuple[int | str, ...]]
"""Data type and shape; a string is a free dimension."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A tensor that is part of the graph."""

    shape: Shape
    dtype: int
    data: bytes
    """The whole file it is in."""
    raw: Span | None
    """Where its bytes are; None = they are in a typed field."""


class Tensors:
    """The constants of one file."""

    def __init__(self, rules: Rules) -> None:
        """`rules` say which types are allowed."""
        self.rules = rules
        self.constants: dict[str, Constant] = {}
        self._room = MOST_CONSTANTS

    def add(self, name: str, found: Parsed) -> None:
        """Adds one TensorProto under a name.

        Raises:
            Refused: its data is elsewhere, or does not fit its type and shape; or all constants together are too many.
        """
        dtype = found.number("data_type")
        if dtype not in self.rules.dtypes:
            raise Refused(f"constant {name!r} has data type {dtype}, allowed: {sorted(self.rules.dtypes)}")
        if found.number("data_location", 0):
            raise Refused(f"constant {name!r} has its data in another file")
        shape = tuple(found.numbers("dims"))
        count = prod(shape)
        self._room -= count
        if not count or self._room < 0:
            raise Refused(f"constant {name!r} of shape {list(shape)} has no elements, or too many")
        held = [field for field in ("raw_data", *_TYPED) if field in found]
        if len(held) != 1 or (self.rules.shapes_known and held != ["raw_data"]):
            raise Refused(f"constant {name!r} has its data in {held or 'no field'}, allowed: raw_data")
        span = found.span(held[0])
        width = BYTES[dtype] if held == ["raw_data"] else _TYPED[held[0]]
        size = (span[1] - span[0]) / width if width else packed(found.data, span)
        if size != count:
            raise Refused(f"constant {name!r} of shape {list(shape)} has {size:g} elements")
        self.constants[name] = Constant(shape, dtype, found.data, span if held == ["raw_data"] else None)

    def whole_numbers(self, name: str) -> Sequence[int]:
        """The values of a constant that is used as a shape or as axes.

        Raises:
            Refused: it is not a constant of a few int64 numbers.
        """
        constant = self.constants.get(name)
        if constant is None or constant.raw is None or constant.dtype != INT64 or len(constant.shape) > 1:
            raise Refused(f"{name!r} is used as a shape, so it must be a constant of int64")
        if prod(constant.shape) > MOST_SHAPE_VALUES:
            raise Refused(f"{name!r} is used as a shape and has {prod(constant.shape)} dimensions")
        start, end = constant.raw
        return struct.unpack(f"<{(end - start) // 8}q", constant.data[start:end])


def edge(found: Parsed, rules: Rules) -> tuple[str, Edge]:
    """Name, data type and shape of a ValueInfoProto.

    Raises:
        Refused: a type of another tier, or a dimension with neither size nor name.
    """
    name = found.text("name")
    tensor = found.message("type", onnx.TYPE).message("tensor_type", onnx.TENSOR_TYPE)
    dtype = tensor.number("elem_type")
    if dtype not in rules.dtypes:
        raise Refused(f"{name!r} has data type {dtype}, allowed: {sorted(rules.dtypes)}")
    shape: list[int | str] = []
    for size in tensor.message("shape", onnx.SHAPE).messages("dim", onnx.DIM):
        shape.append(size.number("dim_value") if "dim_value" in size else size.text("dim_param"))
    if not shape or 0 in shape or ("" in shape and rules.shapes_known):
        raise Refused(f"{name!r} has a dimension without a size or a name, or of size 0")
    if elements(sizes(shape)) > MOST_CONSTANTS:
        raise Refused(f"{name!r} has {elements(sizes(shape))} elements per row, allowed: up to {MOST_CONSTANTS}")
    return name, (dtype, tuple(shape))


def sizes(shape: Sequence[int | str]) -> Shape:
    """A shape in a file, as `shapes` represents it."""
    return tuple(BATCH if isinstance(size, str) else size for size in shape)


def promised(what: str, found: Mapping[str, Edge], entries: Mapping[str, TensorEntry]) -> None:
    """Compares edges with those of a manifest.

    Raises:
        Refused: they differ.
    """
    expected = {name: (_DTYPES[entry.dtype], entry.shape) for name, entry in entries.items()}
    if found != expected:
        raise Refused(f"its {what} are {_edges(found)}, the manifest promises {_edges(expected)}")


def listed(shape: Sequence[int | str]) -> str:
    """A shape as text, for a message."""
    return f"[{', '.join(map(str, shape))}]"


def _edges(edges: Mapping[str, Edge]) -> str:
    names = {number: name for name, number in _DTYPES.items()}
    return ", ".join(f"{n} {names.get(dtype, dtype)}{listed(shape)}" for n, (dtype, shape) in edges.items()) or "none"
