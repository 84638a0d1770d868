"""The shape of every tensor of a portable graph, from the graph alone.

Two small constants can be broadcast into gigabytes, and a graph that mixes the rows of a batch gives a verdict that
depends on which other generations were scored with it. Both show in the shapes: a tensor must have a known number of
elements per row, and the batch must be its first dimension and no other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

from sri_sdk.scoring.inspect.wire import Refused

BATCH = -2
"""The free dimension, only ever the first: a number that no shape in a file can hold."""
MOST_ELEMENTS = 2**20
"""Elements per row of one tensor that a graph computes: 4 MiB. A larger input raises this to four times its size."""

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """What the shapes need to know about one node."""

    op: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, int]
    """Those that are one integer."""
    width: int = 0
    """Columns that a tree ensemble or a support vector machine reads."""
    steps: int = 0
    """Branches that a tree ensemble takes at most, or support vectors."""


@dataclass(slots=True)
class Shapes:
    """Tensor name -> shape, filled node by node."""

    known: dict[str, Shape]
    constant: Callable[[str], Sequence[int]]
    """Values of a constant of small integers; refuses anything else."""
    most: int = field(init=False)

    def __post_init__(self) -> None:
        """Limits follow from the inputs, which are all that is known so far."""
        self.most = max([MOST_ELEMENTS, *(4 * elements(shape) for shape in self.known.values())])

    def add(self, call: Call) -> None:
        """Works out the result shape of one node, whose inputs are known.

        Raises:
            Refused: the shapes do not fit together, mix rows, or are too large.
        """
        inputs = [self.known[name] for name in call.inputs]
        try:
            shape = RULES[call.op](self, call, inputs)
        except (IndexError, ValueError) as err:
            given = ", ".join(map(_described, inputs))
            raise Refused(f"{call.op} {call.output!r} does not fit its inputs {given}") from err
        if BATCH in shape[1:]:
            raise Refused(f"{call.op} {call.output!r} mixes the rows of a batch (shape {_described(shape)})")
        if elements(shape) > self.most:
            raise Refused(
                f"{call.op} {call.output!r} has {elements(shape)} elements per row, allowed: up to {self.most}"
            )
        self.known[call.output] = shape


def elements(shape: Shape) -> int:
    """Number of elements per row of the batch."""
    return prod(size for size in shape if size != BATCH)


def _described(shape: Shape) -> str:
    return "[" + ", ".join("B" if size == BATCH else str(size) for size in shape) + "]"


def _broadcast(*shapes: Shape) -> Shape:
    longest = max(shapes, key=len)
    if all(not shape or shape == longest for shape in shapes):  # Nearly always; a plain number has no dimension.
        return longest
    rank, found = len(longest), []
    for sizes in zip(*((1,) * (rank - len(shape)) + shape for shape in shapes), strict=True):
        wide = {size for size in sizes if size != 1}
        if len(wide) > 1:
            raise ValueError
        found.append(wide.pop() if wide else 1)
    return tuple(found)


def _elementwise(_: Shapes, __: Call, inputs: list[Shape]) -> Shape:
    return _broadcast(*inputs)


def _matmul(_: Shapes, __: Call, inputs: list[Shape]) -> Shape:
    a, b = inputs
    left, right = (a if len(a) > 1 else (1, *a)), (b if len(b) > 1 else (*b, 1))
    if left[-1] != right[-2] or left[-1] == BATCH:
        raise ValueError
    rows = (left[-2],) if len(a) > 1 else ()
    columns = (right[-1],) if len(b) > 1 else ()
    return (*_broadcast(left[:-2], right[:-2]), *rows, *columns)


def _gemm(_: Shapes, call: Call, inputs: list[Shape]) -> Shape:
    a, b = (s[::-1] if call.attributes.get(t) else s for s, t in zip(inputs[:2], ("transA", "transB"), strict=True))
    (rows, inner), (again, columns) = a, b
    if inner != again or inner == BATCH:
        raise ValueError
    result = (rows, columns)
    if len(inputs) > 2 and _broadcast(inputs[2], result) != result:
        raise ValueError
    return result


def _reduce(shapes: Shapes, call: Call, inputs: list[Shape]) -> Shape:
    shape, axes = inputs[0], _axes(shapes.constant(call.inputs[1]), len(inputs[0]))
    if any(shape[axis] == BATCH for axis in axes):
        raise Refused(f"{call.op} {call.output!r} sums over the rows of a batch")
    if call.attributes.get("keepdims", 1):
        return tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    return tuple(size for axis, size in enumerate(shape) if axis not in axes)


def _reshape(shapes: Shapes, call: Call, inputs: list[Shape]) -> Shape:
    old, wanted = inputs[0], shapes.constant(call.inputs[1])
    free = [axis for axis, size in enumerate(wanted) if size == -1]
    if call.attributes.get("allowzero") or len(free) > 1 or any(size < -1 for size in wanted):
        raise ValueError
    new = [old[axis] if size == 0 else size for axis, size in enumerate(wanted)]
    if free and BATCH in old and BATCH not in new:
        new[free[0]] = BATCH
    elif free:
        new[free[0]] = elements(old) // prod(size for size in new if size not in (-1, BATCH))
    if elements(tuple(new)) != elements(old) or (BATCH in old) != (BATCH in new):
        raise ValueError
    return tuple(new)


def _squeeze(shapes: Shapes, call: Call, inputs: list[Shape]) -> Shape:
    shape, axes = inputs[0], _axes(shapes.constant(call.inputs[1]), len(inputs[0]))
    if any(shape[axis] != 1 for axis in axes):
        raise ValueError
    return tuple(size for axis, size in enumerate(shape) if axis not in axes)


def _unsqueeze(shapes: Shapes, call: Call, inputs: list[Shape]) -> Shape:
    given = shapes.constant(call.inputs[1])
    axes, sizes = _axes(given, len(inputs[0]) + len(given)), iter(inputs[0])
    return tuple(1 if axis in axes else next(sizes) for axis in range(len(inputs[0]) + len(given)))


def _gather(_: Shapes, call: Call, inputs: list[Shape]) -> Shape:
    data, index = inputs
    (axis,) = _axes([call.attributes.get("axis", 0)], len(data))
    if data[axis] == BATCH:
        raise Refused(f"{call.op} {call.output!r} picks rows of a batch")
    return (*data[:axis], *index, *data[axis + 1 :])


def _top(shapes: Shapes, call: Call, inputs: list[Shape]) -> Shape:
    shape, (count,) = inputs[0], shapes.constant(call.inputs[1])
    (axis,) = _axes([call.attributes.get("axis", -1)], len(shape))
    if shape[axis] == BATCH:
        raise Refused(f"{call.op} {call.output!r} picks rows of a batch")
    if len(inputs) != 2 or not 0 < count <= shape[axis]:
        raise ValueError
    return (*shape[:axis], count, *shape[axis + 1 :])


def _columns(_: Shapes, call: Call, inputs: list[Shape]) -> Shape:
    """A tree ensemble or a support vector machine: [B, F] -> [B, 1]."""
    ((rows, columns),) = inputs
    if columns < call.width or (call.op == "SVMRegressor" and columns != call.width):
        raise Refused(f"{call.op} {call.output!r} reads {call.width} columns of {columns}")
    return (rows, 1)


def _axes(given: Sequence[int], rank: int) -> set[int]:
    axes = {axis + rank if axis < 0 else axis for axis in given}
    if len(axes) != len(given) or not axes <= set(range(rank)):
        raise ValueError
    return axes


RULES: Mapping[str, Callable[[Shapes, Call, list[Shape]], Shape]] = {
    **dict.fromkeys(
        "Add Sub Mul Div Max Sqrt Log Exp Sigmoid Relu Where Equal Less Greater Cast".split(), _elementwise
    ),
    "MatMul": _matmul,
    "Gemm": _gemm,
    "ReduceSum": _reduce,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Gather": _gather,
    "TopK": _top,
    "TreeEnsembleRegressor": _columns,
    "SVMRegressor": _columns,
}
"""One per portable operator."""
