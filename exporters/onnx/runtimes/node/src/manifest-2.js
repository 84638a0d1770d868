/** `manifest.json` of a bundle, format 2: columns of signals, several scored parts, groups and a horizon. */

import { INVALID_SCORE, LARGEST_PROBE, MOST_GOLDEN, SENSITIVE } from "./limits.js";
import { calibrated, equal, floats, goldenFits, gridCounts, same, WHOLE } from "./manifest-checks.js";
import { packed, unpack } from "./packed.js";
import {
  anything, either, flag, list, mapOf, matching, Misfit, number, object, oneOf, sha256, share, some, text, whole,
} from "./schema.js";

/** @typedef {import("../index.js").Manifest2} Manifest2 */
/** @typedef {import("./manifest-checks.js").Edges} Edges */

/** The one group of a guard without groups. */
export const ALL = "all";
const GRAPHS = ["signal", "prefix", "full", "step"];
/** Cells times columns. */
const MOST_CELLS = 2 ** 18;

const tensor = object({ dtype: oneOf("float32", "int64", "bool"), shape: list(either(whole(0), text)) });
const tier = oneOf("portable", "python");
const column = matching(/^[a-z0-9@-]{1,64}$/);
const group = object({ value: number, n: whole(1), rank: whole(1), tolerance: number, scores: packed });
const rule = object({
  alpha: share,
  parts: mapOf(object({ alpha: share, delta: either(oneOf(null), share), groups: mapOf(group) })),
});

const shape = object({
  format: oneOf(2),
  digest: sha256,
  files: mapOf(object({ sha256, size: whole(0) })),
  graphs: mapOf(object({ file: text, inputs: mapOf(tensor), outputs: mapOf(tensor) })),
  sensitive: flag,
  signal: object({
    cells: whole(1, 4096),
    hidden_size: whole(1, 2 ** 20),
    domain: oneOf("sigma", "logit"),
    columns: some(1, 1024, object({
      name: column,
      kind: oneOf("sri", "request"),
      layers: some(1, 1024, either(oneOf("final"), whole(0))),
      low: number,
      high: number,
    })),
  }),
  tau: number,
  eps: number,
  pooling: anything,
  grid: anything,
  fingerprint: object({ hard: mapOf(anything), soft: mapOf(anything) }),
  fingerprint_digest: sha256,
  anchors: object({
    sha256,
    provenance: mapOf(anything),
    request: either(oneOf(null), object({ sha256, provenance: mapOf(anything) })),
  }),
  parts: some(1, 16, object({
    name: matching(/^[a-z][a-z0-9-]{0,31}$/),
    columns: some(1, 1024, column),
    reason: matching(/^[a-z][a-z0-9_]{0,63}$/),
    detector: object({ name: text, config: mapOf(anything), tier }),
  })),
  tier,
  groups: some(0, 64, matching(/^[A-Za-z0-9_.-]{1,64}$/)),
  rules: mapOf(rule),
  horizon: either(oneOf(null), object({ steps: whole(1, 2 ** 31 - 1) })),
  ended: either(oneOf(null), object({ column, value: number })),
  invalid_score: number,
  rates: list(object({ name: text, k: whole(0), n: whole(1), low: number, high: number })),
  golden: mapOf(object({ inputs: mapOf(packed), score: packed, valid: packed, tolerance: packed })),
  producer: mapOf(text),
});

/**
 * The parts that read nothing but the request, and decide as soon as the prompt has been read.
 * @param {Manifest2} manifest
 */
export function requestParts({ signal, parts }) {
  const request = signal.columns.find(({ kind }) => kind === "request")?.name;
  return parts.filter(({ columns }) => columns.length === 1 && columns[0] === request).map(({ name }) => name);
}

/**
 * What the entries must agree on.
 * @param {Manifest2} value
 */
function consistent(value) {
  const { signal, parts, groups, graphs, golden } = value;
  const { columns } = signal;
  const order = columns.map(({ name }) => name);
  const request = columns.some(({ kind }) => kind === "request");
  const names = Object.keys(graphs);
  /** @type {[boolean, string][]} */
  const problems = [
    [distinct(order), "signal.columns: two columns have one name"],
    [columns.slice(0, -1).every(({ kind }) => kind === "sri"), "signal.columns: there may be one request column, and it comes last"],
    [columns.every(({ kind, layers }) => kind !== "sri" || layers.length === 1), "signal.columns: a column sri has one layer"],
    [columns.every(({ low, high }) => low < high), "signal.columns: low is not below high"],
    [signal.cells * columns.length <= MOST_CELLS, `signal: cells times columns is above ${MOST_CELLS}`],
    [distinct(parts.map(({ name }) => name)), "parts: two parts have one name"],
    [
      parts.every((part) => part.columns.join() === order.filter((name) => part.columns.includes(name)).join()),
      "parts: one reads a column that does not exist, twice, or not in order",
    ],
    [(value.tier === "python") === parts.some(({ detector }) => detector.tier === "python"), "tier does not follow from the parts"],
    [groups.join() === [...new Set(groups)].sort().join() && !groups.includes(ALL), "groups are not sorted names, each once"],
    [request === (value.anchors.request !== null), "anchors.request and the request column differ"],
    [names.includes("signal") && names.includes("prefix"), "graphs signal and prefix must be there"],
    [names.every((name) => GRAPHS.includes(name)), `graphs: allowed are ${GRAPHS.join(", ")}`],
    [same(names, Object.keys(golden)), "every graph needs golden vectors"],
    [same(names.map((name) => graphs[name]?.file ?? ""), Object.keys(value.files)), "files and graphs differ"],
    [Number(value.invalid_score) === INVALID_SCORE, `invalid_score must be ${INVALID_SCORE}`],
    [value.sensitive === names.some((name) => SENSITIVE.includes(name)), "sensitive must say whether anchors are inside"],
    [gridCounts(value.grid), "grid.budget and grid.cells must be whole numbers above 0"],
    [probesFit(value), "golden hidden states are too many"],
    ...rulesFit(value),
    ...endFits(value),
  ];
  // In turn: what comes later relies on what came before.
  const refuse = (/** @type {[boolean, string][]} */ found) => found.forEach(([fine, problem]) => {
    if (!fine) throw new Misfit("", problem);
  });
  refuse(problems);
  for (const [name, entry] of Object.entries(graphs)) {
    const edges = edgesOf(name, value);
    refuse([
      [
        edges !== undefined && entry.file === `${name}.onnx` && equal(entry.inputs, edges.inputs) && equal(entry.outputs, edges.outputs),
        `graph ${name} has another shape, other edges or another file`,
      ],
      [goldenFits(golden[name], edges), `golden inputs of graph ${name} do not fit it`],
      [oneEach(golden[name], parts.length), `golden.${name}: not one answer per row and part, or a part's rows are all valid, or none`],
    ]);
  }
}

/** @param {readonly string[]} names */
const distinct = (names) => new Set(names).size === names.length;

/**
 * @param {Manifest2} value
 * @returns {[boolean, string][]}
 */
function rulesFit(value) {
  const [every, reading] = [value.parts.map(({ name }) => name), requestParts(value)];
  const wanted = new Map([["final", every], ["online", every], ...(reading.length ? [/** @type {const} */ (["request", reading])] : [])]);
  const groups = value.groups.length ? [...value.groups] : [ALL];
  return [
    [same(Object.keys(value.rules), [...wanted.keys()]), `rules must be ${[...wanted.keys()].join(", ")}`],
    ...Object.entries(value.rules).flatMap(([name, { alpha, parts }]) => {
      const each = Object.values(parts);
      const thresholds = each.flatMap((part) => Object.values(part.groups));
      return /** @type {[boolean, string][]} */ ([
        [same(Object.keys(parts), wanted.get(name) ?? []), `rules.${name} does not have the parts it must have`],
        [each.every((part) => same(Object.keys(part.groups), groups)), `rules.${name} has other groups`],
        [each.reduce((sum, part) => sum + Number(part.alpha), 0) <= alpha * (1 + 1e-9), `the parts of rules.${name} have more than its alpha`],
        [thresholds.every((entry) => entry.value < 3e38), `rules.${name}: a threshold is above invalid_score`],
        [thresholds.every(calibrated), `rules.${name}: scores are not n finite, sorted numbers, or rank or tolerance is off`],
      ]);
    }),
  ];
}

/**
 * @param {Manifest2} value
 * @returns {[boolean, string][]}
 */
function endFits({ horizon, ended, grid, signal }) {
  const { mapping, budget } = /** @type {any} */ (grid ?? {});
  const named = ended === null || signal.columns.some(({ name, kind }) => kind === "sri" && name === ended.column);
  return [
    [horizon === null || mapping !== "step" || horizon.steps === budget, "horizon.steps differs from grid.budget"],
    [named && (ended === null || horizon === null), "ended needs a column of kind sri, and no horizon"],
  ];
}

/** @param {Manifest2} value */
function probesFit({ signal, golden }) {
  const { cells, hidden_size: width } = signal;
  const [sri, layers] = counts(signal);
  const rows = golden["step"]?.score.shape[0] ?? 0;
  const whole = golden["full"] === undefined ? 0 : Math.max(cells * sri, layers) * width;
  return whole <= LARGEST_PROBE && rows * Math.max(sri, layers) * width <= LARGEST_PROBE;
}

/**
 * Columns of kind sri, and layers of the request.
 * @param {Manifest2["signal"]} signal
 * @returns {[number, number]}
 */
function counts({ columns }) {
  const request = columns.find(({ kind }) => kind === "request");
  return [columns.length - (request ? 1 : 0), request?.layers.length ?? 0];
}

/**
 * The edges that a graph of that name has: T cells, C columns, S of them sri, L layers of the request, D wide, K parts.
 * @param {string} name
 * @param {Manifest2} manifest
 * @returns {{ inputs: Edges, outputs: Edges } | undefined}
 */
function edgesOf(name, { signal, parts }) {
  const { cells: t, hidden_size: d, columns: { length: c } } = signal;
  const [s, l] = counts(signal);
  const answer = { score: floats(parts.length), valid: { dtype: "bool", shape: ["B", parts.length] } };
  const signals = floats(t, c);
  /** @type {Edges} */
  const prompt = l ? { prompt: floats(l, d) } : {};
  if (name === "signal") return { inputs: { signals }, outputs: answer };
  if (name === "prefix") return { inputs: { signals, length: WHOLE }, outputs: answer };
  if (name === "full") {
    return { inputs: { ...(s && { activations: floats(t, s, d) }), ...prompt }, outputs: { ...answer, sigma: signals, logit: signals } };
  }
  // Without a column of kind sri there is no step to follow.
  return s === 0 ? undefined : {
    inputs: { phi: floats(s, d), step: WHOLE, state: signals, ...prompt },
    outputs: { ...answer, sigma: floats(c), state_out: signals },
  };
}

/**
 * @param {any} golden
 * @param {number} parts
 */
function oneEach({ inputs, score, valid, tolerance }, parts) {
  const [rows] = score.shape;
  const each = /** @type {const} */ ([[score, "float32"], [valid, "bool"], [tolerance, "float32"]]);
  if (!each.every(([array, dtype]) => array.dtype === dtype && array.shape.join() === `${rows},${parts}`)) return false;
  if (rows > MOST_GOLDEN || !Object.values(inputs).every((array) => array.shape[0] === rows)) return false;
  const room = /** @type {Float32Array} */ (unpack(tolerance).data);
  const right = /** @type {Uint8Array} */ (unpack(valid).data);
  const some = (/** @type {number} */ k, /** @type {number} */ wanted) => right.some((x, i) => i % parts === k && x === wanted);
  return room.every((x) => x >= 0 && Number.isFinite(x))
    && Array.from({ length: parts }, (_, k) => some(k, 0) && some(k, 1)).every(Boolean);
}

export const MANIFEST_2 = { shape, consistent };
