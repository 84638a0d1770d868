/** What manifests of either format hold, and what their entries must agree on. */

import { INVALID_SCORE, MOST_GOLDEN, SENSITIVE } from "./limits.js";
import { packed, unpack } from "./packed.js";
import { anything, either, flag, isObject, list, mapOf, Misfit, number, object, oneOf, sha256, text, whole } from "./schema.js";

/** @typedef {Record<string, { dtype: string, shape: readonly (string | number)[] }>} Edges */
/** @typedef {{ inputs: Edges, outputs: Edges }} Both */
/** @typedef {[boolean, string]} Fact  whether it is fine, and the problem if it is not */

/** Inputs that follow a rule and are not stored. */
const HIDDEN = ["activations", "phi", "prompt"];

// -- keys ------------------------------------------------------------------------------------------------------

const tensor = object({ dtype: oneOf("float32", "int64", "bool"), shape: list(either(whole(0), text)) });
export const tier = oneOf("portable", "python");
export const detector = object({ name: text, config: mapOf(anything), tier });
/** What was calibrated: the threshold, and what it was taken from. */
export const CALIBRATION = { value: number, n: whole(1), rank: whole(1), tolerance: number, scores: packed };
/** Of `signal`, without what a format says of columns. */
export const SIGNAL = { cells: whole(1, 4096), hidden_size: whole(1, 2 ** 20), domain: oneOf("sigma", "logit") };
/** Keys of every manifest. */
export const KEYS = {
  digest: sha256,
  files: mapOf(object({ sha256, size: whole(0) })),
  graphs: mapOf(object({ file: text, inputs: mapOf(tensor), outputs: mapOf(tensor) })),
  sensitive: flag,
  tau: number,
  eps: number,
  pooling: anything,
  grid: anything,
  fingerprint: object({ hard: mapOf(anything), soft: mapOf(anything) }),
  fingerprint_digest: sha256,
  invalid_score: number,
  rates: list(object({ name: text, k: whole(0), n: whole(1), low: number, high: number })),
  golden: mapOf(object({ inputs: mapOf(packed), score: packed, valid: packed, tolerance: packed })),
  producer: mapOf(text),
};

// -- what must agree -------------------------------------------------------------------------------------------

/**
 * Refuses a manifest at the first problem. In turn, because what comes later relies on what came before.
 * @param {Iterable<Fact>} facts
 */
export function refuse(facts) {
  for (const [fine, problem] of facts) {
    if (!fine) throw new Misfit("", problem);
  }
}

/**
 * What graphs, files and golden vectors must agree on.
 * @param {import("../index.js").Manifest} value
 * @returns {Fact[]}
 */
export function graphFacts({ graphs, golden, files, invalid_score: invalid, sensitive, grid }) {
  const names = Object.keys(graphs);
  return [
    [names.includes("signal") && names.includes("prefix"), "graphs signal and prefix must be there"],
    [same(names, Object.keys(golden)), "every graph needs golden vectors"],
    [same(names.map((name) => graphs[name]?.file ?? ""), Object.keys(files)), "files and graphs differ"],
    [Number(invalid) === INVALID_SCORE, `invalid_score must be ${INVALID_SCORE}`],
    [sensitive === names.some((name) => SENSITIVE.includes(name)), "sensitive must say whether anchors are inside"],
    [gridCounts(grid), "grid.budget and grid.cells must be whole numbers above 0"],
  ];
}

/**
 * What each graph must be, and its golden vectors with it.
 * @param {import("../index.js").Manifest} value
 * @param {Sizes} sizes
 */
export function* edgeFacts({ graphs, golden }, sizes) {
  for (const [name, entry] of Object.entries(graphs)) {
    const edges = edgesOf(name, sizes);
    const fits = edges !== undefined && entry.file === `${name}.onnx`
      && equal(entry.inputs, edges.inputs) && equal(entry.outputs, edges.outputs);
    yield /** @type {Fact} */ ([fits, `graph ${name} has another shape, other edges or another file`]);
    yield /** @type {Fact} */ ([goldenFits(golden[name], edges), `golden inputs of graph ${name} do not fit it`]);
    yield /** @type {Fact} */ ([
      oneEach(golden[name], sizes.parts),
      `golden.${name}: not one answer per row and part, a tolerance is no number, or a part's rows are all valid, or none`,
    ]);
  }
}

/**
 * @typedef {object} Sizes
 * @property {number} cells
 * @property {number} columns
 * @property {number} sri  columns that a tap fills
 * @property {number} layers  of the request; 0 = no column has it
 * @property {number} width
 * @property {number | null} parts  answers per row; null = one, without a dimension of its own
 */

/**
 * The edges that a graph of that name has.
 * @param {string} name
 * @param {Sizes} sizes
 * @returns {Both | undefined}
 */
function edgesOf(name, { cells, columns, sri, layers, width, parts }) {
  const each = parts === null ? [] : [parts];
  const answer = { score: floats(...each), valid: { dtype: "bool", shape: ["B", ...each] } };
  const signals = floats(cells, columns);
  /** @type {Edges} */
  const prompt = layers ? { prompt: floats(layers, width) } : {};
  if (name === "signal") return { inputs: { signals }, outputs: answer };
  if (name === "prefix") return { inputs: { signals, length: WHOLE }, outputs: answer };
  if (name === "full") {
    /** @type {Edges} */
    const activations = sri ? { activations: floats(cells, sri, width) } : {};
    return { inputs: { ...activations, ...prompt }, outputs: { ...answer, sigma: signals, logit: signals } };
  }
  // Without a column that a tap fills there is no step to follow.
  return name !== "step" || sri === 0 ? undefined : {
    inputs: { phi: floats(sri, width), step: WHOLE, state: signals, ...prompt },
    outputs: { ...answer, sigma: floats(columns), state_out: signals },
  };
}

/** @param {...number} shape */
const floats = (...shape) => ({ dtype: "float32", shape: ["B", ...shape] });
const WHOLE = { dtype: "int64", shape: ["B"] };

/**
 * Golden inputs are those of the graph, without what follows a rule and is not stored.
 * @param {any} golden
 * @param {Both | undefined} edges
 */
function goldenFits(golden, edges) {
  const inputs = Object.entries(edges?.inputs ?? {}).filter(([name]) => !HIDDEN.includes(name));
  return golden !== undefined && same(inputs.map(([name]) => name), Object.keys(golden.inputs))
    && inputs.every(([name, { dtype, shape }]) => {
      const given = golden.inputs[name];
      return given.dtype === dtype && given.shape.slice(1).join() === shape.slice(1).join();
    });
}

/**
 * One answer for each row and part, and of each part some valid and some not.
 * @param {any} golden
 * @param {number | null} parts
 */
function oneEach({ inputs, score, valid, tolerance }, parts) {
  const [rows] = score.shape;
  const [shape, count] = [parts === null ? [rows] : [rows, parts], parts ?? 1];
  const each = /** @type {const} */ ([[score, "float32"], [valid, "bool"], [tolerance, "float32"]]);
  if (!each.every(([array, dtype]) => array.dtype === dtype && array.shape.join() === shape.join())) return false;
  if (rows > MOST_GOLDEN || !Object.values(inputs).every((array) => array.shape[0] === rows)) return false;
  const right = /** @type {Uint8Array} */ (unpack(valid).data);
  const room = /** @type {Float32Array} */ (unpack(tolerance).data);
  const some = (/** @type {number} */ k, /** @type {number} */ wanted) => right.some((x, i) => i % count === k && x === wanted);
  return room.every((x) => x >= 0 && Number.isFinite(x)) && Array.from({ length: count }, (_, k) => some(k, 0) && some(k, 1)).every(Boolean);
}

/**
 * What was calibrated, under a name.
 * @param {string} name
 * @param {any[]} entries  with the keys of `CALIBRATION`
 * @returns {Fact[]}
 */
export function calibrationFacts(name, entries) {
  return [
    [entries.every(({ value }) => value < 3e38), `${name}: a threshold is above invalid_score`],
    [entries.every(calibrated), `${name}: scores are not n finite, sorted numbers, or rank or tolerance is off`],
  ];
}

/** @param {any} entry */
function calibrated({ scores, n, rank, tolerance }) {
  if (scores.dtype !== "float32" || scores.shape.join() !== String(n) || rank > n || tolerance < 0) return false;
  let last = -Infinity;
  for (const score of /** @type {Float32Array} */ (unpack(scores).data)) {
    if (!Number.isFinite(score) || score < last) return false;
    last = score;
  }
  return true;
}

/** A grid of steps says how many. @param {unknown} grid */
function gridCounts(grid) {
  if (!isObject(grid) || grid["mapping"] !== "step") return true;
  return [grid["budget"], grid["cells"]].every((n) => Number.isSafeInteger(n) && n > 0 && n < 2 ** 31);
}

/**
 * @param {Edges} a
 * @param {Edges} b
 */
function equal(a, b) {
  return same(Object.keys(a), Object.keys(b))
    && Object.entries(b).every(([name, { dtype, shape }]) => {
      const given = a[name];
      return given?.dtype === dtype && JSON.stringify(given.shape) === JSON.stringify(shape);
    });
}

/**
 * @param {string[]} a
 * @param {string[]} b
 */
export function same(a, b) {
  return a.length === b.length && JSON.stringify([...a].sort()) === JSON.stringify([...b].sort());
}
