/**
 * The messages of an ONNX file, and which of their fields a bundle may use.
 *
 * Numbers are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto). The last argument of a
 * message names what ONNX has and no bundle needs: other files, code in functions, graphs in graphs.
 */

import { BYTES, field, FIXED32, floatRun, intRun, Message, VARINT, wordRun } from "./wire.js";

const MOST_NODES = 4096;
const notes = field("metadata_props", BYTES, { most: 256 });
const remark = field("doc_string", BYTES);

export const PROPERTY = new Message("property", { 1: field("key", BYTES), 2: field("value", BYTES) });
export const OPSET = new Message("opset_import", { 1: field("domain", BYTES), 2: field("version", VARINT) });
export const MODEL = new Message(
  "model",
  {
    1: field("ir_version", VARINT),
    2: field("producer_name", BYTES),
    3: field("producer_version", BYTES),
    4: field("domain", BYTES),
    5: field("model_version", VARINT),
    6: remark,
    7: field("graph", BYTES),
    8: field("opset_import", BYTES, { most: 4 }),
    14: notes,
  },
  { 20: "training information", 25: "functions", 26: "configurations of devices" },
);
export const GRAPH = new Message(
  "graph",
  {
    1: field("node", BYTES, { most: MOST_NODES }),
    2: field("name", BYTES),
    5: field("initializer", BYTES, { most: MOST_NODES }),
    10: remark,
    11: field("input", BYTES, { most: 16 }),
    12: field("output", BYTES, { most: 16 }),
    13: field("value_info", BYTES, { most: 4 * MOST_NODES }),
    16: notes,
  },
  { 14: "notes on quantisation", 15: "sparse constants" },
);
export const NODE = new Message(
  "node",
  {
    1: field("input", BYTES, { most: 64 }),
    2: field("output", BYTES, { most: 64 }),
    3: field("name", BYTES),
    4: field("op_type", BYTES),
    5: field("attribute", BYTES, { most: 32 }),
    6: remark,
    7: field("domain", BYTES),
    9: notes,
  },
  { 8: "an overload of a function", 10: "configurations of devices" },
);
export const ATTRIBUTE = new Message(
  "attribute",
  {
    1: field("name", BYTES),
    2: field("f", FIXED32),
    3: field("i", VARINT),
    4: field("s", BYTES),
    5: field("t", BYTES),
    7: field("floats", FIXED32, { most: 64, run: floatRun(0x3d) }),
    8: field("ints", VARINT, { most: 64, run: intRun(0x40) }),
    9: field("strings", BYTES, { most: 64, run: wordRun(0x4a, ["BRANCH_LEQ", "LEAF"]) }),
    13: remark,
    20: field("type", VARINT),
  },
  {
    6: "a graph in a graph",
    10: "a list of tensors",
    11: "graphs in a graph",
    14: "a type",
    15: "types",
    21: "a reference to a function's attribute",
    22: "a sparse tensor",
    23: "sparse tensors",
  },
);
/** Field -> AttributeProto.AttributeType. */
export const ATTRIBUTE_TYPES = new Map(
  Object.entries({ f: 1, i: 2, s: 3, t: 4, floats: 6, ints: 7, strings: 8 }),
);
/** A list of no elements leaves no trace but its type. */
export const EMPTY = new Map([[6, "floats"], [7, "ints"], [8, "strings"]]);
export const TENSOR = new Message(
  "tensor",
  {
    1: field("dims", VARINT, { most: 8 }),
    2: field("data_type", VARINT),
    4: field("float_data", BYTES),
    5: field("int32_data", BYTES),
    7: field("int64_data", BYTES),
    8: field("name", BYTES),
    9: field("raw_data", BYTES),
    10: field("double_data", BYTES),
    12: remark,
    14: field("data_location", VARINT),
    16: notes,
  },
  { 3: "a part of a tensor", 6: "strings", 13: "a reference to another file" },
);
export const VALUE = new Message("edge", { 1: field("name", BYTES), 2: field("type", BYTES), 3: remark });
export const TYPE = new Message(
  "type",
  { 1: field("tensor_type", BYTES), 6: field("denotation", BYTES) },
  { 4: "a sequence", 5: "a map", 7: "an opaque type", 8: "a sparse tensor", 9: "an optional value" },
);
export const TENSOR_TYPE = new Message("tensor type", { 1: field("elem_type", VARINT), 2: field("shape", BYTES) });
export const SHAPE = new Message("shape", { 1: field("dim", BYTES, { most: 8 }) });
export const DIMENSION = new Message("dimension", {
  1: field("dim_value", VARINT),
  2: field("dim_param", BYTES),
  3: field("denotation", BYTES),
});
