"""Which operators a graph of each tier may use, and with which attributes.

`portable` is what `sri_sdk.graph` draws, plus the support vector machine of ai.onnx.ml: operators that mean the same in
ONNX opsets 13 to 24 and whose results have a shape that is known before anything runs. `python` adds what a small
network or a scikit-learn model becomes under the usual converters. Neither has control flow, random numbers, strings,
sequences, or an operator of one runtime alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sri_sdk.graph.builder import ML_OPERATORS, OPERATORS, OPSETS
from sri_sdk.records import Tier

ML = "ai.onnx.ml"

Key = tuple[str, str]
"""Domain and operator; the domain of ONNX itself is empty."""

TREES: Key = (ML, "TreeEnsembleRegressor")
SVM: Key = (ML, "SVMRegressor")

ATTRIBUTES: Mapping[str, Mapping[str, str]] = {
    "Cast": {"to": "i"},
    "Gather": {"axis": "i"},
    "Gemm": {"alpha": "f", "beta": "f", "transA": "i", "transB": "i"},
    "ReduceSum": {"keepdims": "i"},
    "Reshape": {"allowzero": "i"},
    "TopK": {"axis": "i", "largest": "i", "sorted": "i"},
    "TreeEnsembleRegressor": {
        "aggregate_function": "s", "base_values": "floats", "n_targets": "i", "nodes_falsenodeids": "ints",
        "nodes_featureids": "ints", "nodes_hitrates": "floats", "nodes_missing_value_tracks_true": "ints",
        "nodes_modes": "strings", "nodes_nodeids": "ints", "nodes_treeids": "ints", "nodes_truenodeids": "ints",
        "nodes_values": "floats", "post_transform": "s", "target_ids": "ints", "target_nodeids": "ints",
        "target_treeids": "ints", "target_weights": "floats",
    },
    "SVMRegressor": {
        "coefficients": "floats", "kernel_params": "floats", "kernel_type": "s", "n_supports": "i", "one_class": "i",
        "post_transform": "s", "rho": "floats", "support_vectors": "floats",
    },
}  # fmt: skip
"""Portable operators that have attributes: name -> the field of an AttributeProto with its value."""

TWO_RESULTS = frozenset({"TopK"})
"""Portable operators that have a second result, of the shape of the first; all others have one."""

PYTHON_ONLY = frozenset(
    "Abs And ArgMax ArgMin AveragePool BatchNormalization Ceil Clip Concat Constant ConstantOfShape Conv Cos CumSum "
    "Elu Erf Expand Flatten Floor GatherElements GatherND Gelu GlobalAveragePool GlobalMaxPool GRU GreaterOrEqual "
    "HardSigmoid HardSwish Identity InstanceNormalization LayerNormalization LeakyRelu LessOrEqual LogSoftmax LSTM "
    "MaxPool Mean Min Mish Neg Not Or Pad Pow PRelu Range Reciprocal ReduceL1 ReduceL2 ReduceLogSumExp ReduceMax "
    "ReduceMean ReduceMin ReduceProd ReduceSumSquare RNN Round Selu Shape Sign Sin Slice Softmax Softplus Softsign "
    "Split Sum Tan Tanh ThresholdedRelu Tile Transpose Xor".split()
)
PYTHON_ONLY_ML = frozenset("ArrayFeatureExtractor LabelEncoder LinearRegressor Normalizer Scaler".split())

GROWS: Mapping[str, int] = {"ConstantOfShape": 0, "Expand": 1, "Tile": 1, "Pad": 1, "Range": 1}
"""Operators of the tier `python` with an input that sets the size of the result: name -> index of that input, which
must be a constant here. Otherwise a file of 168 bytes could ask for gigabytes."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a graph of one tier may be."""

    tier: Tier
    operators: frozenset[Key]
    ir: range
    opsets: Mapping[str, range]
    dtypes: frozenset[int]
    """TensorProto.DataType of constants and edges."""
    shapes_known: bool
    """Whether the shape of every tensor must follow from the graph alone."""


_PORTABLE = frozenset({("", op) for op in OPERATORS} | {(ML, op) for op in ML_OPERATORS | {"SVMRegressor"}})
FLOAT, INT32, INT64, BOOL, DOUBLE = 1, 6, 7, 9, 11
RULES: Mapping[Tier, Rules] = {
    "portable": Rules(
        "portable", _PORTABLE, range(8, 9), {"": range(17, 18), ML: range(3, 4)}, frozenset({FLOAT, INT64, BOOL}), True
    ),
    "python": Rules(
        "python", _PORTABLE | {("", op) for op in PYTHON_ONLY} | {(ML, op) for op in PYTHON_ONLY_ML}, range(7, 13),
        {"": OPSETS, ML: range(1, 4)}, frozenset({FLOAT, INT32, INT64, BOOL, DOUBLE}), False,
    ),
}  # fmt: skip
