"""How much memory a file takes once it is loaded, and how much memory and time one row, from sizes and shapes alone.

onnxruntime chooses the order of the nodes itself, and it is not the order in the file: tensors that are short-lived in
the file may all be alive at once. So memory is the sum over all results, a bound that holds in every order. Time is
counted in nanoseconds of one slow core; each weight below is the slowest case that was measured, rounded up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from sri_sdk.scoring.inspect.shapes import BATCH, Call, Shape, elements
from sri_sdk.scoring.inspect.wire import Refused

MOST_FILE = 12 * 2**20
"""Bytes of constants, and three times all other bytes of a file: onnxruntime keeps three copies of a constant while it
loads, five of a name or a text, and up to fifteen times the size of trees. A bundle has at least two such files. The
detectors that are shipped need less than 100 KiB, the forest of trees 700."""
FILE_PER_INPUT_BYTE = 4
"""The same for inputs so large that this gives more: `full` has two anchors per hidden state."""
_OTHER = 3

MOST_BYTES = 2**24
"""Bytes per row of all results together. The detectors that are shipped need less than 64 KiB on 32 cells, those that
compare with many points 256 KiB."""
BYTES_PER_INPUT_BYTE = 32
"""The same for inputs so large that this gives more: `full` takes every hidden state, and makes a dozen copies."""
MOST_TIME = 2**25
"""Nanoseconds per row. A network that fills its file uses each of its weights once, and ten times that is allowed. The
detectors that are shipped need a fiftieth of it."""
TIME_PER_INPUT = 2**7
"""The same per element of the inputs, for `full`."""

_NODE = 2**11
"""A call of an operator, however small."""
_ELEMENT = 8
"""One element of a result: a logarithm, or a maximum with a broadcast operand."""
_SCATTERED = 32
"""One element where memory is read out of order."""
_VIEW = 1
_PRODUCT = 512
"""One product of matrices among those of a MatMul, however small they are."""
_BRANCH = 64
"""One branch of a tree: the node is rarely in a cache."""
_SORTED = 8
"""One element per halving of what is picked: for one of two, twice; for all of them, a whole sort."""
_PLACES = 16
"""Bytes per element that is sorted: its place, and a copy of it."""
_INDEX = 8
_KERNEL = 64
"""The exponential or power of one support vector."""
_WEIGHTS: Mapping[str, int] = {
    "Where": _SCATTERED, "Gather": _SCATTERED, "Reshape": _VIEW, "Squeeze": _VIEW, "Unsqueeze": _VIEW
}  # fmt: skip
_COPIES: Mapping[str, int] = {"Where": 3}
"""Copies of its result that an operator makes on the way."""


def affordable(size: int, constants: int, inputs: Mapping[str, tuple[Shape, int]]) -> None:
    """Refuses a file of `size` bytes, of which `constants` are initializers, that takes too much once it is loaded.

    `inputs` are shape and bytes per element, by name.

    Raises:
        Refused: the file is too large.
    """
    taken = constants + _OTHER * (size - constants)
    most = max(MOST_FILE, FILE_PER_INPUT_BYTE * _bytes(inputs))
    if taken > most:
        raise Refused(
            f"it has {constants} bytes of constants and {size - constants} others, which count {_OTHER} times; "
            f"allowed: up to {most} together"
        )


def _bytes(inputs: Mapping[str, tuple[Shape, int]]) -> int:
    return sum(elements(shape) * width for shape, width in inputs.values())


@dataclass(slots=True)
class Work:
    """Upper bounds for one row, filled node by node. What does not depend on the row counts as well."""

    most_bytes: int
    most_time: int
    size: int
    """Bytes of the inputs and all results."""
    time: int = 0
    """Nanoseconds."""

    @classmethod
    def of(cls, inputs: Mapping[str, tuple[Shape, int]]) -> Work:
        """Nothing done yet; `inputs` are shape and bytes per element, by name."""
        size = _bytes(inputs)
        count = sum(elements(shape) for shape, _ in inputs.values())
        return cls(max(MOST_BYTES, BYTES_PER_INPUT_BYTE * size), max(MOST_TIME, TIME_PER_INPUT * count), size)

    def add(self, call: Call, inputs: list[Shape], result: Shape, width: int) -> None:
        """Counts one node, with the shapes of its inputs and its result, whose elements have `width` bytes.

        Raises:
            Refused: all nodes so far take more memory or time than a bundle may.
        """
        size = elements(result) * width * _COPIES.get(call.op, 1)
        time = _NODE + elements(result) * _WEIGHTS.get(call.op, _ELEMENT)
        if call.op in ("MatMul", "Gemm"):
            time += elements(result) * _inner(call, inputs[0]) + _PRODUCT * elements(result[:-2])
        elif call.op == "ReduceSum":
            size += elements(inputs[0]) * width  # The input may be transposed first.
            time += elements(inputs[0]) * _ELEMENT
        elif call.op == "TopK":
            size += elements(inputs[0]) * _PLACES + elements(result) * _INDEX
            time += elements(inputs[0]) * _SORTED * result[call.attributes.get("axis", -1)].bit_length()
        elif call.op == "TreeEnsembleRegressor":
            time += elements(result) * call.steps * _BRANCH
        elif call.op == "SVMRegressor":
            size += elements(result) * call.steps * width
            time += elements(result) * call.steps * (call.width + _KERNEL)
        self.size += size
        self.time += time
        if self.size > self.most_bytes:
            raise Refused(
                f"its results up to {call.op} {call.output!r} take {self.size} bytes per row, "
                f"allowed: up to {self.most_bytes}"
            )
        if self.time > self.most_time:
            raise Refused(
                f"its nodes up to {call.op} {call.output!r} may take {self.time} ns per row, "
                f"allowed: up to {self.most_time}"
            )


def _inner(call: Call, left: Shape) -> int:
    """Products per element of a matrix product."""
    return prod(size for size in left[-2 if call.attributes.get("transA") else -1 :][:1] if size != BATCH)
