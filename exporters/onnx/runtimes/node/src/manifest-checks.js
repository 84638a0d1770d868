/** What manifests of either format are checked for. */

import { unpack } from "./packed.js";
import { isObject } from "./schema.js";

/** Inputs that follow a rule and are not stored. */
const HIDDEN = ["activations", "phi", "prompt"];

/** A grid of steps says how many. @param {unknown} grid */
export function gridCounts(grid) {
  if (!isObject(grid) || grid["mapping"] !== "step") return true;
  return [grid["budget"], grid["cells"]].every((n) => Number.isSafeInteger(n) && n > 0 && n < 2 ** 31);
}

/** @typedef {Record<string, { dtype: string, shape: readonly (string | number)[] }>} Edges */

/** @param {...number} shape */
export const floats = (...shape) => ({ dtype: "float32", shape: ["B", ...shape] });
export const WHOLE = { dtype: "int64", shape: ["B"] };

/**
 * Golden inputs are those of the graph, without what follows a rule and is not stored.
 * @param {any} golden
 * @param {{ inputs: Edges } | undefined} edges
 */
export function goldenFits(golden, edges) {
  const inputs = Object.entries(edges?.inputs ?? {}).filter(([name]) => !HIDDEN.includes(name));
  return golden !== undefined && same(inputs.map(([name]) => name), Object.keys(golden.inputs))
    && inputs.every(([name, { dtype, shape }]) => {
      const given = golden.inputs[name];
      return given.dtype === dtype && given.shape.slice(1).join() === shape.slice(1).join();
    });
}

/** @param {any} entry of a rule */
export function calibrated({ scores, n, rank, tolerance }) {
  if (scores.dtype !== "float32" || scores.shape.join() !== String(n) || rank > n || tolerance < 0) return false;
  let last = -Infinity;
  for (const score of /** @type {Float32Array} */ (unpack(scores).data)) {
    if (!Number.isFinite(score) || score < last) return false;
    last = score;
  }
  return true;
}

/**
 * @param {Edges} a
 * @param {Edges} b
 */
export function equal(a, b) {
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
