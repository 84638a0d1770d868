"""The data type of every tensor, as far as it takes to see that no operator divides whole numbers by just anything.

Such a division stops the whole process where it has no result (by zero, or the lowest number by -1), and a
runtime that folds constants divides while it loads. So whole numbers are divided by constants only, as converters do
with the sizes of tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from sri_sdk.scoring.inspect.wire import Parsed, Refused

FLOATS = frozenset({1, 11})
"""TensorProto.DataType: float, double. Every other type a graph may hold counts as whole numbers, bool included."""
_FLOAT, _INT64, _BOOL = 1, 7, 9

_BOOLS = frozenset("And Equal Greater GreaterOrEqual Less LessOrEqual Not Or Xor".split())
_COUNTS = frozenset("ArgMax ArgMin Shape".split())
"""Operators whose results are whole numbers whatever they are given."""
_LEARNT = frozenset("LinearRegressor Normalizer SVMRegressor Scaler TreeEnsembleRegressor".split())
"""Operators of ai.onnx.ml whose results are floats whatever they are given."""
_INDICES = frozenset("MaxPool TopK".split())
"""Operators whose second result says where the first was found."""


class Dtypes:
    """Tensor name -> data type, filled node by node. What is not an exception has the type of its first input."""

    def __init__(self, known: Iterable[tuple[str, int]], constant: Callable[[str], Sequence[int]]) -> None:
        """Takes the types of inputs and constants, and what gives the values of a constant of few whole numbers."""
        self.known, self._constant = dict(known), constant

    def add(self, op: str, inputs: Sequence[str], outputs: Sequence[str], attributes: Mapping[str, Parsed]) -> None:
        """Works out the results of one node, whose inputs are known.

        Args:
            op: operator.
            inputs: names; the empty name is an input that is left out.
            outputs: names; those that are known already, as results of Constant are, keep their type.
            attributes: by name.

        Raises:
            Refused: it divides whole numbers by something else than a constant, or by 0 or -1.
        """
        divided = inputs[0] if op in ("Div", "ReduceMean") else ""
        if divided and self.known[divided] not in FLOATS and (op != "Div" or not self._divides(inputs[1])):
            raise Refused(f"{op} {outputs[0]!r} divides whole numbers by what may stop the process")
        dtype = self._result(op, inputs, attributes)
        for place, name in enumerate(outputs):
            self.known.setdefault(name, _INT64 if place and op in _INDICES else dtype)

    def _divides(self, divisor: str) -> bool:
        """Whether a tensor is a constant that every whole number can be divided by."""
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
