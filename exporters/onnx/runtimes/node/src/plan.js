/**
 * What a manifest asks for, in one form for both formats: columns, and under each rule the parts that are scored.
 *
 * A guard of format 1 has one part, which reads every column, and no groups.
 */

import { ALL, requestParts } from "./manifest-2.js";
import { unpack } from "./packed.js";
import { ABOVE } from "./reasons.js";

/** @typedef {import("../index.js").Manifest} Manifest */
/** @typedef {import("../index.js").Rule} Rule */
/** @typedef {{ kind: "sri" | "request", low: number, high: number }} Column  every cell must be strictly between them */
/** @typedef {{ value: number, scores: Float32Array }} Threshold  flagged above `value`; the sorted scores it was taken from */
/**
 * A part under a rule.
 * @typedef {object} Part
 * @property {number} index  column of `score` and `valid`
 * @property {string} name
 * @property {string} reason  code of its alarms
 * @property {number} alpha  its share of the rule's
 * @property {number[]} reads  columns of the signals
 * @property {boolean} requestOnly
 * @property {Map<string, Threshold>} groups
 */
/**
 * @typedef {object} Plan
 * @property {Manifest} manifest
 * @property {number} cells
 * @property {Column[]} columns
 * @property {number} answers  scores of a row
 * @property {readonly string[]} groups
 * @property {Map<Rule, { alpha: number, parts: Part[] }>} rules
 * @property {number | null} horizon  steps that are judged; null = all
 * @property {{ column: number, value: number } | null} ended  where the last cell says how it ended
 */

/**
 * @param {Manifest} manifest  checked
 * @returns {Plan}
 */
export const planOf = (manifest) => (manifest.format === 2 ? ofParts(manifest) : ofOne(manifest));

/**
 * @param {import("../index.js").Manifest1} manifest
 * @returns {Plan}
 */
function ofOne(manifest) {
  const { cells, layers, low, high } = manifest.signal;
  const columns = Array.from({ length: layers }, () => columnOf("sri", low, high));
  const rules = Object.entries(manifest.rules).map(([rule, entry]) => {
    const { alpha } = entry;
    const part = {
      index: 0, name: "", reason: ABOVE, alpha, reads: [...columns.keys()], requestOnly: false, groups: new Map([[ALL, threshold(entry)]]),
    };
    return /** @type {[Rule, { alpha: number, parts: Part[] }]} */ ([rule, { alpha, parts: [part] }]);
  });
  return { manifest, cells, columns, answers: 1, groups: [], rules: inOrder(rules), horizon: null, ended: null };
}

/**
 * @param {import("../index.js").Manifest2} manifest
 * @returns {Plan}
 */
function ofParts(manifest) {
  const { cells, columns } = manifest.signal;
  const [order, alone] = [columns.map(({ name }) => name), requestParts(manifest)];
  const rules = Object.entries(manifest.rules).map(([rule, { alpha, parts: entries }]) => {
    // In the order of the manifest's parts, and only those that the rule has.
    const parts = manifest.parts.flatMap(({ name, reason, columns: read }, index) => {
      const own = entries[name];
      if (own === undefined) return [];
      const groups = new Map(Object.entries(own.groups).map(([group, entry]) => [group, threshold(entry)]));
      const reads = read.map((column) => order.indexOf(column));
      return [{ index, name, reason, alpha: own.alpha, reads, requestOnly: alone.includes(name), groups }];
    });
    return /** @type {[Rule, { alpha: number, parts: Part[] }]} */ ([rule, { alpha, parts }]);
  });
  const { ended, horizon } = manifest;
  return {
    manifest,
    cells,
    columns: columns.map(({ kind, low, high }) => columnOf(kind, low, high)),
    answers: manifest.parts.length,
    groups: manifest.groups,
    rules: inOrder(rules),
    horizon: horizon?.steps ?? null,
    ended: ended && { column: order.indexOf(ended.column), value: ended.value },
  };
}

/**
 * With its bounds as float32, in which the graphs compare them.
 * @param {"sri" | "request"} kind
 * @param {number} low
 * @param {number} high
 * @returns {Column}
 */
const columnOf = (kind, low, high) => ({ kind, low: Math.fround(low), high: Math.fround(high) });

/** @param {{ value: number, scores: import("../index.js").PackedArray }} entry @returns {Threshold} */
const threshold = ({ value, scores }) => ({ value, scores: /** @type {Float32Array} */ (unpack(scores).data) });

/**
 * In the order of their names, whatever that of the file.
 * @param {[Rule, { alpha: number, parts: Part[] }][]} rules
 */
const inOrder = (rules) => new Map([...rules].sort(([a], [b]) => (a < b ? -1 : 1)));

/**
 * The group whose thresholds count for a row: the name to look for, what the verdict calls it, and whether it is unknown.
 * @param {Plan} plan
 * @param {string | null} group  of the row
 */
export function groupOf({ groups }, group) {
  if (!groups.length) return { key: ALL, name: null, unknown: false };
  const known = group !== null && groups.includes(group);
  return { key: known ? group : null, name: known ? group : null, unknown: !known };
}

/**
 * A part's threshold for a group; without a known one the highest, so that no group has more false alarms than promised.
 * @param {Part} part
 * @param {string | null} key
 * @returns {Threshold}
 */
export function thresholdOf({ groups }, key) {
  const own = key === null ? undefined : groups.get(key);
  if (own !== undefined) return own;
  return [...groups].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, entry]) => entry)
    .reduce((most, entry) => (entry.value > most.value ? entry : most));
}
