/**
 * `manifest.json` of a bundle: reading either format, and what format 1 holds. `manifest-2.js` has format 2.
 *
 * The file is its own canonical form: the digest in it is the SHA-256 of the file's bytes with the 64 characters of the
 * digest set to "0". It guards against damage. Against tampering only a signature or a pinned digest does.
 */

import { brief, BundleError } from "./errors.js";
import { parseJson } from "./json.js";
import { INVALID_SCORE, LARGEST_PROBE, MOST_GOLDEN, SENSITIVE } from "./limits.js";
import { calibrated, equal, floats, goldenFits, gridCounts, same, WHOLE } from "./manifest-checks.js";
import { MANIFEST_2 } from "./manifest-2.js";
import { packed, unpack } from "./packed.js";
import {
  anything, either, flag, isObject, list, mapOf, Misfit, number, object, oneOf, sha256, share, text, whole,
} from "./schema.js";
import { withoutDigest } from "./signature.js";

export { INVALID_SCORE } from "./limits.js";

/** @typedef {import("../index.js").Manifest} Manifest */
/** @typedef {import("../index.js").Manifest1} Manifest1 */
/** @typedef {import("./manifest-checks.js").Edges} Edges */

const tensor = object({ dtype: oneOf("float32", "int64", "bool"), shape: list(either(whole(0), text)) });
const rule = object({
  value: number,
  alpha: share,
  delta: either(oneOf(null), share),
  n: whole(1),
  rank: whole(1),
  tolerance: number,
  scores: packed,
});

const SHAPE = object({
  format: oneOf(1),
  digest: sha256,
  files: mapOf(object({ sha256, size: whole(0) })),
  graphs: mapOf(object({ file: text, inputs: mapOf(tensor), outputs: mapOf(tensor) })),
  sensitive: flag,
  signal: object({
    cells: whole(1, 4096),
    layers: whole(1, 1024),
    hidden_size: whole(1, 2 ** 20),
    domain: oneOf("sigma", "logit"),
    low: number,
    high: number,
  }),
  tau: number,
  eps: number,
  pooling: anything,
  grid: anything,
  fingerprint: object({ hard: mapOf(anything), soft: mapOf(anything) }),
  fingerprint_digest: sha256,
  anchors: object({ sha256, provenance: mapOf(anything) }),
  detector: object({ name: text, config: mapOf(anything), tier: oneOf("portable", "python") }),
  rules: object({ final: rule, online: rule }),
  invalid_score: number,
  rates: list(object({ name: text, k: whole(0), n: whole(1), low: number, high: number })),
  golden: mapOf(object({ inputs: mapOf(packed), score: packed, valid: packed, tolerance: packed })),
  producer: mapOf(text),
});

/** By format: the keys and kinds, and what the parts must agree on. */
/** @type {Map<unknown, { shape: import("./schema.js").Check, consistent: (value: any) => void }>} */
const FORMATS = new Map(/** @type {any} */ ([[1, { shape: SHAPE, consistent }], [2, MANIFEST_2]]));

/**
 * Reads and checks a manifest.
 * @param {Uint8Array} content
 * @param {string} subject  for the message
 * @param {import("./crypto.js").Crypto} crypto
 * @returns {Promise<Manifest>}
 * @throws {BundleError} another format, damaged, or not a manifest
 */
export async function readManifest(content, subject, crypto) {
  /** @type {any} */
  let value;
  try {
    value = parseJson(content, { marked: true });
  } catch (err) {
    throw new BundleError(`${subject}: not a bundle manifest (${brief(err)}). Export the guard again.`, err);
  }
  if (!isObject(value) || !Object.hasOwn(value, "format") || !Object.hasOwn(value, "digest")) {
    throw new BundleError(`${subject}: not a bundle manifest (no format or digest). Export the guard again.`);
  }
  const format = FORMATS.get(value.format);
  if (format === undefined) {
    const found = JSON.stringify(value.format)?.slice(0, 80);
    throw new BundleError(
      `${subject}: manifest format ${found}, this reader knows ${[...FORMATS.keys()].join(" and ")}. Export the guard again, or upgrade sri-guard.`,
    );
  }
  const zeroed = /^[0-9a-f]{64}$/.test(String(value.digest)) ? withoutDigest(content, value.digest) : null;
  if (zeroed === null || (await crypto.sha256(zeroed)) !== value.digest) {
    throw new BundleError(`${subject}: the manifest does not match its own digest. Copy the bundle again.`);
  }
  try {
    format.shape(value, "");
    format.consistent(/** @type {any} */ (value));
  } catch (err) {
    if (!(err instanceof Misfit)) throw err;
    throw new BundleError(`${subject}: ${err.message}. Export the guard again.`, err);
  }
  return /** @type {Manifest} */ (parseJson(content));
}

/**
 * What the entries of format 1 must agree on.
 * @param {Manifest1} value
 */
function consistent(value) {
  const { cells, layers, hidden_size: width } = value.signal;
  const names = Object.keys(value.graphs);
  const secret = names.some((name) => SENSITIVE.includes(name));
  const [thresholds, goldens] = [Object.entries(value.rules), Object.entries(value.golden)];
  /** @type {[boolean, string][]} */
  const problems = [
    [names.includes("signal") && names.includes("prefix"), "graphs signal and prefix must be there"],
    [same(names, Object.keys(value.golden)), "every graph needs golden vectors"],
    [same(names.map((name) => value.graphs[name]?.file ?? ""), Object.keys(value.files)), "files and graphs differ"],
    [Number(value.invalid_score) === INVALID_SCORE, `invalid_score must be ${INVALID_SCORE}`],
    [thresholds.every(([, { value: threshold }]) => threshold < 3e38), "a threshold is above invalid_score"],
    [value.sensitive === secret, "sensitive must say whether anchors are inside"],
    [value.signal.low < value.signal.high, "signal.low is not below signal.high"],
    [gridCounts(value.grid), "grid.budget and grid.cells must be whole numbers above 0"],
    [!secret || cells * layers * width <= LARGEST_PROBE, "cells, layers and width are too many"],
    ...thresholds.map(([name, entry]) => /** @type {[boolean, string]} */ ([
      calibrated(entry), `rules.${name}: scores are not n finite, sorted numbers, or rank or tolerance is off`,
    ])),
    ...goldens.map(([name, entry]) => /** @type {[boolean, string]} */ ([
      oneEach(entry), `golden.${name}: not one answer per row, a tolerance is no number, or all rows are valid, or none`,
    ])),
  ];
  for (const [name, entry] of Object.entries(value.graphs)) {
    const edges = EDGES.get(name)?.(cells, layers, width);
    const fits = edges !== undefined && entry.file === `${name}.onnx`
      && equal(entry.inputs, edges.inputs) && equal(entry.outputs, edges.outputs);
    problems.push([fits, `graph ${name} has another shape, other edges or another file`]);
    problems.push([goldenFits(value.golden[name], edges), `golden inputs of graph ${name} do not fit it`]);
  }
  for (const [fine, problem] of problems) {
    if (!fine) throw new Misfit("", problem);
  }
}

const ANSWER = { score: floats(), valid: { dtype: "bool", shape: ["B"] } };

/**
 * The edges that a graph of each name has: T cells, C layers, D wide.
 * @type {Map<string, (t: number, c: number, d: number) => { inputs: Edges, outputs: Edges }>}
 */
const EDGES = new Map(Object.entries({
  signal: (/** @type {number} */ t, /** @type {number} */ c) => ({ inputs: { signals: floats(t, c) }, outputs: ANSWER }),
  prefix: (/** @type {number} */ t, /** @type {number} */ c) => ({
    inputs: { signals: floats(t, c), length: WHOLE },
    outputs: ANSWER,
  }),
  full: (/** @type {number} */ t, /** @type {number} */ c, /** @type {number} */ d) => ({
    inputs: { activations: floats(t, c, d) },
    outputs: { ...ANSWER, sigma: floats(t, c), logit: floats(t, c) },
  }),
  step: (/** @type {number} */ t, /** @type {number} */ c, /** @type {number} */ d) => ({
    inputs: { phi: floats(c, d), step: WHOLE, state: floats(t, c) },
    outputs: { ...ANSWER, sigma: floats(c), state_out: floats(t, c) },
  }),
}));

/** @param {any} golden */
function oneEach({ inputs, score, valid, tolerance }) {
  const [rows] = score.shape;
  const each = /** @type {const} */ ([[score, "float32"], [valid, "bool"], [tolerance, "float32"]]);
  if (!each.every(([array, dtype]) => array.dtype === dtype && array.shape.join() === String(rows))) return false;
  if (rows > MOST_GOLDEN || !Object.values(inputs).every((array) => array.shape[0] === rows)) return false;
  const right = /** @type {Uint8Array} */ (unpack(valid).data);
  const room = /** @type {Float32Array} */ (unpack(tolerance).data);
  return room.every((x) => x >= 0 && Number.isFinite(x)) && right.some((x) => x) && right.some((x) => !x);
}
