"""A small graph builder: how a detector becomes ONNX without importing onnx.

It offers only operators whose meaning did not change between ONNX opset 13 and 24 and that every supported runtime
has, so every drawing is portable by construction. A detector of the tier `python` may also embed a ready-made ONNX
model, which is only stored here: exporters turn a `Graph` into files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sri_sdk.graph.tree_ensemble import Attribute, tree_attributes

Dtype = Literal["float32", "int64", "bool"]

OPERATORS = frozenset(
    "Add Sub Mul Div Max Sqrt Log Exp Sigmoid Relu Gemm MatMul ReduceSum Reshape Squeeze Unsqueeze Gather Where "
    "Equal Less Greater Cast TopK".split()
)
"""Operators of ONNX itself that the portable tier allows."""
ML_OPERATORS = frozenset({"TreeEnsembleRegressor"})
"""Operators of the domain ai.onnx.ml that it allows: every build of onnxruntime has them, OpenVINO does not."""
OPSETS = range(13, 25)
"""Versions of ONNX's own operator set in which all of these mean the same, and which embedded models may use."""


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """One tensor in a graph. Arithmetic and comparisons draw nodes: `a - b`, `a * 2`, `a @ w`, `a < b`."""

    graph: Graph
    name: str
    dtype: Dtype

    def __add__(self, other: Any) -> Value:
        return self.graph.node("Add", self, other)

    def __sub__(self, other: Any) -> Value:
        return self.graph.node("Sub", self, other)

    def __mul__(self, other: Any) -> Value:
        return self.graph.node("Mul", self, other)

    def __truediv__(self, other: Any) -> Value:
        return self.graph.node("Div", self, other)

    def __matmul__(self, other: Any) -> Value:
        return self.graph.node("MatMul", self, other)

    def __lt__(self, other: Any) -> Value:
        return self.graph.node("Less", self, other, dtype="bool")

    def __gt__(self, other: Any) -> Value:
        return self.graph.node("Greater", self, other, dtype="bool")


@dataclass(frozen=True, slots=True)
class Node:
    """One operator call."""

    op: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Attribute]
    unused: tuple[str, ...] = ()
    """Further results that the operator has and nobody reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded(Node):
    """A whole model in place of an operator. `op` is not an operator of ONNX, so an exporter that only knows operators
    refuses it by name."""

    model: bytes
    """An ONNX file."""
    wanted: str | None
    """Which of the model's outputs becomes `output`; None = it has only one."""


@dataclass(slots=True)
class Graph:
    """Inputs, constants, nodes in order, outputs. Names are numbered, so the same drawing gives an equal graph."""

    name: str
    inputs: dict[str, tuple[Dtype, tuple[int | str, ...]]] = field(default_factory=dict)
    """Name -> dtype and shape; a string in a shape is a free dimension."""
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    outputs: dict[str, tuple[str, Dtype, tuple[int | str, ...]]] = field(default_factory=dict)
    """Public name -> tensor name, dtype and shape."""

    # -- edges -----------------------------------------------------------------------------------------------

    def input(self, name: str, dtype: Dtype, shape: Sequence[int | str]) -> Value:
        """Declares an input."""
        self.inputs[name] = (dtype, tuple(shape))
        return Value(self, name, dtype)

    def output(self, name: str, value: Value, shape: Sequence[int | str]) -> None:
        """Declares an output under a public name."""
        self.outputs[name] = (value.name, value.dtype, tuple(shape))

    def constant(self, array: ArrayLike, dtype: Dtype = "float32") -> Value:
        """A constant [...] of any shape, stored in the graph as `dtype`."""
        name = f"c{len(self.constants)}"
        self.constants[name] = np.ascontiguousarray(np.asarray(array, dtype=dtype))
        return Value(self, name, dtype)

    # -- whole models ----------------------------------------------------------------------------------------

    def embed(self, model: bytes, x: Value, *, output: str | None = None) -> Value:
        """A ready-made ONNX model as a part of the drawing, such as a network from torch or a model from scikit-learn.

        Only for detectors of the tier `python`. The model is stored unchanged; the exporter takes it apart, and raises
        an error if it is not suitable.

        Args:
            model: the bytes of an ONNX file: opset 13 to 24 (ai.onnx.ml 1 to 3), weights inside, no control flow. It
                has one input, float32, whose first dimension is free: the batch.
            x: its input; float32, of the shape it takes.
            output: name of the output to use, float32; None = the model has only one.

        Returns:
            That output, in its own shape.

        Raises:
            TypeError: `model` is not bytes.
            ValueError: `model` is empty, or `x` is not float32.
        """
        if not isinstance(model, bytes):
            raise TypeError(f"graph {self.name}: embed() takes the bytes of an ONNX file, found {type(model).__name__}")
        if not model or x.dtype != "float32":
            raise ValueError(
                f"graph {self.name}: embed() of {len(model)} bytes on {x.dtype}; allowed: a model, on float32"
            )
        name = f"t{len(self.nodes)}"
        self.nodes.append(Embedded("Embedded", (x.name,), name, {}, model=model, wanted=output))
        return Value(self, name, "float32")

    @property
    def embeds(self) -> bool:
        """Whether a ready-made model is part of it; only a detector of the tier `python` may draw one."""
        return any(isinstance(node, Embedded) for node in self.nodes)

    # -- operators -------------------------------------------------------------------------------------------

    def node(self, op: str, *operands: Any, dtype: Dtype | None = None, **attributes: Attribute) -> Value:
        """Draws one operator; plain numbers and arrays become constants of the first tensor's dtype.

        Raises:
            ValueError: the operator is not on the allow-list.
        """
        if op not in OPERATORS | ML_OPERATORS:
            raise ValueError(
                f"graph {self.name}: operator {op} is not portable; allowed: "
                f"{', '.join(sorted(OPERATORS | ML_OPERATORS))}"
            )
        first: Dtype = next((x.dtype for x in operands if isinstance(x, Value) and x.dtype != "bool"), "float32")
        values = [x if isinstance(x, Value) else self.constant(x, first) for x in operands]
        name = f"t{len(self.nodes)}"
        self.nodes.append(Node(op, tuple(x.name for x in values), name, attributes))
        return Value(self, name, dtype or first)

    def sqrt(self, x: Value) -> Value:
        """Square root."""
        return self.node("Sqrt", x)

    def log(self, x: Value) -> Value:
        """Natural logarithm."""
        return self.node("Log", x)

    def exp(self, x: Value) -> Value:
        """Exponential."""
        return self.node("Exp", x)

    def sigmoid(self, x: Value) -> Value:
        """1 / (1 + exp(-x))."""
        return self.node("Sigmoid", x)

    def relu(self, x: Value) -> Value:
        """max(x, 0)."""
        return self.node("Relu", x)

    def maximum(self, x: Value, other: Value | float) -> Value:
        """Elementwise maximum."""
        return self.node("Max", x, other)

    def gemm(self, x: Value, weight: ArrayLike, bias: ArrayLike) -> Value:
        """`x` [B, I] @ `weight` [I, O] + `bias` [O] -> [B, O], all float32."""
        return self.node("Gemm", x, self.constant(weight), self.constant(bias))

    def reduce_sum(self, x: Value, axes: Sequence[int], *, keepdims: bool = False) -> Value:
        """Sum over axes."""
        return self.node("ReduceSum", x, self.constant(list(axes), "int64"), keepdims=int(keepdims))

    def reduce_mean(self, x: Value, axis: int, size: int, *, keepdims: bool = False) -> Value:
        """Mean over one axis of known size, drawn as a sum: ReduceMean changed between opsets."""
        return self.reduce_sum(x, [axis], keepdims=keepdims) * (1.0 / size)

    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        """Another shape; 0 keeps a dimension, -1 infers one."""
        return self.node("Reshape", x, self.constant(list(shape), "int64"), dtype=x.dtype)

    def squeeze(self, x: Value, axes: Sequence[int]) -> Value:
        """Drops dimensions of size 1."""
        return self.node("Squeeze", x, self.constant(list(axes), "int64"), dtype=x.dtype)

    def unsqueeze(self, x: Value, axes: Sequence[int]) -> Value:
        """Adds dimensions of size 1."""
        return self.node("Unsqueeze", x, self.constant(list(axes), "int64"), dtype=x.dtype)

    def gather(self, table: ArrayLike, index: Value) -> Value:
        """Rows of a constant `table` [K, ...] float32 at `index` [B] int64 -> [B, ...] float32."""
        return self.node("Gather", self.constant(table), index, dtype="float32")

    def smallest(self, x: Value, count: int, axis: int = -1) -> Value:
        """The `count` smallest values along an axis that is not the batch, smallest first; float32."""
        found = self.node("TopK", x, self.constant([count], "int64"), axis=axis, largest=0, sorted=1)
        # The operator also says where it found them, and some runtimes want a name for that.
        self.nodes[-1] = replace(self.nodes[-1], unused=(f"{found.name}.places",))
        return found

    def where(self, condition: Value, yes: Value | float, no: Value | float) -> Value:
        """`yes` where the condition holds, else `no`; elementwise."""
        return self.node("Where", condition, yes, no)

    def equal(self, x: Value, other: Value | float) -> Value:
        """Elementwise equality."""
        return self.node("Equal", x, other, dtype="bool")

    def tree_ensemble(
        self, x: Value, *, tree: ArrayLike, feature: ArrayLike, threshold: ArrayLike, left: ArrayLike,
        right: ArrayLike, value: ArrayLike,
    ) -> Value:  # fmt: skip
        """The sum over trees of the value of the leaf in which a row ends: [B, F] -> [B].

        The nodes of all trees stand in six arrays [K], tree after tree, a tree's root first and every child after its
        parent, as in scikit-learn's `tree_`.

        Args:
            x: [B, F] float32.
            tree: which tree a node belongs to, counted from 0.
            feature: column an inner node looks at.
            threshold: `x[feature] <= threshold` goes left. Rounded down to float32, which changes no decision.
            left: number of the left child, counted within its tree; -1 = the node is a leaf.
            right: the same for the right child.
            value: what a leaf adds; in float32.

        Raises:
            ValueError: the arrays are not the nodes of trees.
        """
        attributes: dict[str, Any] = {**tree_attributes(tree, feature, threshold, left, right, value)}
        return self.squeeze(self.node("TreeEnsembleRegressor", x, **attributes), [1])

    def cast(self, x: Value, dtype: Dtype) -> Value:
        """Another dtype."""
        return self.node("Cast", x, dtype=dtype, to=_ONNX_TYPE[dtype])


_ONNX_TYPE: dict[Dtype, int] = {"float32": 1, "int64": 7, "bool": 9}
