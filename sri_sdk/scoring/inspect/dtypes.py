"""The data type of every tensor, tracked so that no operator divides integers by an arbitrary value.

Such a division crashes the process if it has no result (by zero, or the lowest number by -1), and a runtime that folds
constants divides while it loads. So integers may be divided by constants only, as converters do with tensor sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from sri_sdk.scoring.inspect.wire import Parsed, Refused

FLOATS = frozenset({1, 11})
"""TensorProto.DataType: float, double. Every other type a graph may use counts as an integer, bool included."""
_FLOAT, _INT64, _BOOL = 1, 7, 9

_BOOLS = frozenset("And Equal Greater GreaterOrEqual Less LessOrEqual Not Or Xor".split())
_COUNTS = frozenset("ArgMax ArgMin Shape".split())
"""Operators whose results are integers whatever their inputs."""
_LEARNT = frozenset("LinearRegressor Normalizer SVMRegressor Scaler TreeEnsembleRegressor".split())
"""Operators of ai.onnx.ml whose results are floats whatever their inputs."""
_INDICES = frozenset("MaxPool TopK".split())
"""Operators whose second result is the position of the first."""


class Dtypes:
    """Tensor name -> data type, filled node by node. Unless listed above, a result has the type of the first input."""

    def __init__(self, known: Iterable[tuple[str, int]], constant: Callable[[str], Sequence[int]]) -> None:
        """`known` are the types of inputs and constants; `constant` returns the values of a small integer constant."""
        self.known, self._constant = dict(known), constant

    def add(self, op: str, inputs: Sequence[str], outputs: Sequence[str], attributes: Mapping[str, Parsed]) -> None:
        """Works out the result types of one node, whose inputs are known.

        Args:
            op: operator.
            inputs: names; an empty name is an optional input that is left out.
            outputs: names; those already known, such as results of Constant, keep their type.
            attributes: by name.

        Raises:
            Refused: it divides integers by something other than a constant, or by 0 or -1.
        """
        divided = inputs[0] if op in ("Div", "ReduceMean") else ""
        if divided and self.known[divided] not in FLOATS and (op != "Div" or not self._divides(inputs[1])):
            raise Refused(f"{op} {outputs[0]!r} divides integers by a value that could crash the process")
        dtype = self._result(op, inputs, attributes)
        for place, name in enumerate(outputs):
            self.known.setdefault(name, _INT64 if place and op in _INDICES else dtype)

    def _divides(self, divisor: str) -> bool:
        """Whether a tensor is a constant by which every integer can be divided."""
        return not {0, -1} & set(self._constant(divisor))

    def _result(self, op: str, inputs: Sequence[str], attributes: Mapping[str, Parsed]) -> int:
        if op == "Cast":
            return attributes["to"].number("i")
        if op == "Constant":
            return _FLOAT if attributes.keys() & {"value_float", "value_floats"} else _INT64
        if op == "LabelEncoder":
            values = [name for name in attributes if name.startswith("values_")]
            return _FLOAT if values == ["values_floats"] else _INT64
        if op in _BOOLS:
            return _BOOL
        if op in _COUNTS:
            return _INT64
        if op in _LEARNT or op == "ConstantOfShape":
            # Without a value ConstantOfShape makes floats; with one, its type is known already.
            return _FLOAT
        return self.known[inputs[1] if op == "Where" else inputs[0]]
