"""The messages of an ONNX file, and which of their fields a bundle may use.

Numbers are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto). `refused` names what ONNX has
and no bundle needs: other files, functions, graphs within graphs.
"""

from __future__ import annotations

import re

from sri_sdk.scoring.inspect.wire import BYTES, FIXED32, FLOAT_RUN, INT_RUN, VARINT, Field, Message, run_of

MOST_NODES = 4096
_MODES = re.compile(rb"(?:\x4a\x0aBRANCH_LEQ|\x4a\x04LEAF)++")
"""The only lists of strings that any operator needs."""

PROPERTY = Message("property", {1: Field("key", BYTES), 2: Field("value", BYTES)})
OPSET = Message("opset_import", {1: Field("domain", BYTES), 2: Field("version", VARINT)})
MODEL = Message(
    "model",
    {
        1: Field("ir_version", VARINT), 2: Field("producer_name", BYTES), 3: Field("producer_version", BYTES),
        4: Field("domain", BYTES), 5: Field("model_version", VARINT), 6: Field("doc_string", BYTES),
        7: Field("graph", BYTES), 8: Field("opset_import", BYTES, most=4),
        14: Field("metadata_props", BYTES, most=256),
    },
    refused={20: "training information", 25: "functions", 26: "device configurations"},
)  # fmt: skip
GRAPH = Message(
    "graph",
    {
        1: Field("node", BYTES, most=MOST_NODES), 2: Field("name", BYTES),
        5: Field("initializer", BYTES, most=MOST_NODES), 10: Field("doc_string", BYTES),
        11: Field("input", BYTES, most=16), 12: Field("output", BYTES, most=16),
        13: Field("value_info", BYTES, most=4 * MOST_NODES), 16: Field("metadata_props", BYTES, most=256),
    },
    refused={14: "quantisation annotations", 15: "sparse constants"},
)  # fmt: skip
NODE = Message(
    "node",
    {
        1: Field("input", BYTES, most=64), 2: Field("output", BYTES, most=64), 3: Field("name", BYTES),
        4: Field("op_type", BYTES), 5: Field("attribute", BYTES, most=32), 6: Field("doc_string", BYTES),
        7: Field("domain", BYTES), 9: Field("metadata_props", BYTES, most=256),
    },
    refused={8: "a function overload", 10: "device configurations"},
)  # fmt: skip
ATTRIBUTE = Message(
    "attribute",
    {
        1: Field("name", BYTES), 2: Field("f", FIXED32), 3: Field("i", VARINT), 4: Field("s", BYTES),
        5: Field("t", BYTES), 7: Field("floats", FIXED32, most=64, run=run_of(FLOAT_RUN, 0x3D)),
        8: Field("ints", VARINT, most=64, run=run_of(INT_RUN, 0x40)),
        9: Field("strings", BYTES, most=64, run=_MODES), 13: Field("doc_string", BYTES), 20: Field("type", VARINT),
    },
    refused={
        6: "a nested graph", 10: "a list of tensors", 11: "nested graphs", 14: "a type", 15: "types",
        21: "a reference to a function's attribute", 22: "a sparse tensor", 23: "sparse tensors",
    },
)  # fmt: skip
ATTRIBUTE_TYPES = {"f": 1, "i": 2, "s": 3, "t": 4, "floats": 6, "ints": 7, "strings": 8}
"""Field -> AttributeProto.AttributeType."""
EMPTY = {6: "floats", 7: "ints", 8: "strings"}
TENSOR = Message(
    "tensor",
    {
        1: Field("dims", VARINT, most=8), 2: Field("data_type", VARINT), 4: Field("float_data", BYTES),
        5: Field("int32_data", BYTES), 7: Field("int64_data", BYTES), 8: Field("name", BYTES),
        9: Field("raw_data", BYTES), 10: Field("double_data", BYTES), 12: Field("doc_string", BYTES),
        14: Field("data_location", VARINT), 16: Field("metadata_props", BYTES, most=256),
    },
    refused={3: "a segment of a tensor", 6: "strings", 13: "a reference to another file"},
)  # fmt: skip
VALUE = Message(
    "edge",
    {1: Field("name", BYTES), 2: Field("type", BYTES), 3: Field("doc_string", BYTES)},
)
TYPE = Message(
    "type",
    {1: Field("tensor_type", BYTES), 6: Field("denotation", BYTES)},
    refused={4: "a sequence", 5: "a map", 7: "an opaque type", 8: "a sparse tensor", 9: "an optional value"},
)
TENSOR_TYPE = Message("tensor type", {1: Field("elem_type", VARINT), 2: Field("shape", BYTES)})
SHAPE = Message("shape", {1: Field("dim", BYTES, most=8)})
DIM = Message("dimension", {1: Field("dim_value", VARINT), 2: Field("dim_param", BYTES), 3: Field("denotation", BYTES)})
