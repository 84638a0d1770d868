/** What the graphs find in signals, per row and part: the parts of a rule, run on batches. */

import { CHUNK } from "./runtime.js";
import { groupOf, thresholdOf } from "./plan.js";

/** @typedef {import("./plan.js").Plan} Plan */
/** @typedef {import("./plan.js").Part} Part */
/** @typedef {import("./runtime.js").Scored} Scored */
/**
 * What a part found in a row.
 * @typedef {object} Found
 * @property {number} score
 * @property {number} alarm  first cell with an alarm; -1 = none
 * @property {boolean} whole  everything that counts could be read
 */

/** Numbers that are handed to a graph at once: 16 MiB. */
export const MOST_NUMBERS = 2 ** 22;

/** @param {boolean} whole @returns {Found} */
export const nothingFound = (whole) => ({ score: -Infinity, alarm: -1, whole });

/**
 * The graph `signal` on whole rows, for the rules `final` and `request`.
 * @param {Plan} plan
 * @param {import("./plan.js").Rule} rule
 * @param {Part[]} parts  under the rule
 * @param {{ values: Float32Array, lengths: number[] }} rows  [N, T, C] and [N]
 * @param {(signals: Float32Array) => Promise<Scored>} run
 * @returns {Promise<Found[][]>}  per row, per part
 */
export async function findOnce({ cells, columns, answers }, rule, parts, { values, lengths }, run) {
  const size = cells * columns.length;
  const most = rowsAtOnce(CHUNK, size);
  /** @type {Found[][]} */
  const found = [];
  for (let at = 0; at < lengths.length; at += most) {
    const { score, valid } = await run(values.subarray(at * size, (at + most) * size));
    for (const [i, length] of lengths.slice(at, at + most).entries()) {
      found.push(parts.map(({ index, requestOnly }) => {
        const whole = Boolean(valid[i * answers + index]) && (rule === "request" || requestOnly || length === cells);
        return { score: whole ? (score[i * answers + index] ?? NaN) : -Infinity, alarm: -1, whole };
      }));
    }
  }
  return found;
}

/**
 * The graph `prefix` at every length of every row, for the rule `online`.
 * @param {Plan} plan
 * @param {Part[]} parts  under the rule
 * @param {{ values: Float32Array, lengths: number[], groups: readonly (string | null)[] }} rows  [N, T, C], [N] and [N]
 * @param {(signals: Float32Array, lengths: number[]) => Promise<Scored>} run
 * @returns {Promise<Found[][]>}  per row, per part
 */
export async function findOnline(plan, parts, { values, lengths, groups }, run) {
  /** @type {Found[][]} */
  const found = lengths.map((length) => parts.map(() => nothingFound(length > 0)));
  await eachLength(plan, values, lengths.length, run, (row, length, scored, at) => {
    if (length > /** @type {number} */ (lengths[row])) return;
    const { key } = groupOf(plan, groups[row] ?? null);
    take(/** @type {Found[]} */ (found[row]), parts, scored, at, length, key);
  });
  return found;
}

/**
 * Hands the graph `prefix` every length of every row. A row of many cells is handed over in parts, because it is repeated
 * once per cell.
 * @param {{ cells: number, columns: { length: number }, answers: number }} plan
 * @param {Float32Array} values  [N, T, C]
 * @param {number} rows  N
 * @param {(signals: Float32Array, lengths: number[]) => Promise<Scored>} run
 * @param {(row: number, length: number, scored: Scored, at: number) => void} tell  gets each answer, which begins at `at`
 */
export async function eachLength({ cells, columns, answers }, values, rows, run, tell) {
  const size = cells * columns.length;
  const most = rowsAtOnce(Math.max(1, Math.floor(CHUNK / cells)) * cells, size);
  for (let at = 0; at < rows * cells; at += most) {
    const count = Math.min(most, rows * cells - at);
    const repeated = new Float32Array(count * size);
    const rowOf = (/** @type {number} */ i) => Math.floor((at + i) / cells);
    for (let i = 0; i < count; i += 1) repeated.set(values.subarray(rowOf(i) * size, (rowOf(i) + 1) * size), i * size);
    const lengths = Array.from({ length: count }, (_, i) => ((at + i) % cells) + 1);
    const scored = await run(repeated, lengths);
    lengths.forEach((length, i) => tell(rowOf(i), length, scored, i * answers));
  }
}

/**
 * Takes in what the graph `prefix` says of one length.
 * @param {Found[]} found  one per part; changed
 * @param {readonly Part[]} parts
 * @param {Scored} scored
 * @param {number} at  where the row begins in `scored`
 * @param {number} length
 * @param {string | null} key  of the thresholds
 */
export function take(found, parts, { score, valid }, at, length, key) {
  parts.forEach((part, k) => {
    const own = /** @type {Found} */ (found[k]);
    if (!valid[at + part.index]) {
      own.whole = false;
      return;
    }
    const z = /** @type {number} */ (score[at + part.index]);
    own.score = Math.max(own.score, z);
    if (own.alarm < 0 && z > thresholdOf(part, key).value) own.alarm = length - 1;
  });
}

/**
 * Rows per call, also where a row is large.
 * @param {number} wanted
 * @param {number} size  numbers of a row
 */
const rowsAtOnce = (wanted, size) => Math.max(1, Math.min(wanted, Math.floor(MOST_NUMBERS / size)));
