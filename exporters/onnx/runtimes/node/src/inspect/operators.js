/**
 * Which operators a portable graph may use, and with which attributes.
 *
 * They are what the SDK's graph builder draws, plus the support vector machine of ai.onnx.ml: operators that mean the
 * same in ONNX opsets 13 to 24, and whose results have a shape that is known before anything runs. There is no control
 * flow, no random number, no string, no sequence, and no operator of one runtime alone.
 */

export const ML = "ai.onnx.ml";
export const TREES = "TreeEnsembleRegressor";
export const SVM = "SVMRegressor";

/** @type {Record<string, string[]>} */
const ALLOWED = {
  "": ("Add Sub Mul Div Max Sqrt Log Exp Sigmoid Relu Gemm MatMul ReduceSum Reshape Squeeze Unsqueeze Gather Where "
    + "Equal Less Greater Cast TopK").split(" "),
  [ML]: [TREES, SVM],
};

/** How many results an operator has; a second one has the shape of the first. @param {string} op */
export const results = (op) => (op === "TopK" ? 2 : 1);

/**
 * @param {string} domain
 * @param {string} op
 */
export const allowed = (domain, op) => Object.hasOwn(ALLOWED, domain) && (ALLOWED[domain] ?? []).includes(op);

/** Versions of operator sets, and of the file format. */
export const OPSETS = new Map([["", 17], [ML, 3]]);
export const IR = 8;

export const FLOAT = 1;
export const INT64 = 7;
export const BOOL = 9;
const [INT32, DOUBLE] = [6, 11];
/** TensorProto.DataType of edges and constants -> bytes of one element. */
export const DTYPES = new Map([[FLOAT, 4], [INT64, 8], [BOOL, 1]]);
/** What a cast may make counts as a whole number unless it is one of these. */
export const FLOATS = new Set([FLOAT, DOUBLE]);
const WIDTHS = new Map([...DTYPES, [INT32, 4], [DOUBLE, 8]]);
/** Bytes of an element of any other type that a cast may make, at most. */
const WIDEST = 16;

/** Bytes of one element of a tensor. @param {number | undefined} dtype */
export const widthOf = (dtype) => WIDTHS.get(dtype ?? 0) ?? WIDEST;

/** @type {Record<string, Record<string, string>>} */
const ATTRIBUTES = {
  Cast: { to: "i" },
  Gather: { axis: "i" },
  Gemm: { alpha: "f", beta: "f", transA: "i", transB: "i" },
  ReduceSum: { keepdims: "i" },
  Reshape: { allowzero: "i" },
  TopK: { axis: "i", largest: "i", sorted: "i" },
  [TREES]: {
    aggregate_function: "s",
    base_values: "floats",
    n_targets: "i",
    nodes_falsenodeids: "ints",
    nodes_featureids: "ints",
    nodes_hitrates: "floats",
    nodes_missing_value_tracks_true: "ints",
    nodes_modes: "strings",
    nodes_nodeids: "ints",
    nodes_treeids: "ints",
    nodes_truenodeids: "ints",
    nodes_values: "floats",
    post_transform: "s",
    target_ids: "ints",
    target_nodeids: "ints",
    target_treeids: "ints",
    target_weights: "floats",
  },
  [SVM]: {
    coefficients: "floats",
    kernel_params: "floats",
    kernel_type: "s",
    n_supports: "i",
    one_class: "i",
    post_transform: "s",
    rho: "floats",
    support_vectors: "floats",
  },
};

/**
 * @param {string} op
 * @param {string} name
 * @returns {string | undefined} the field of an AttributeProto that holds it; undefined = not allowed
 */
export function attributeField(op, name) {
  const fields = Object.hasOwn(ATTRIBUTES, op) ? ATTRIBUTES[op] : undefined;
  return fields !== undefined && Object.hasOwn(fields, name) ? fields[name] : undefined;
}
