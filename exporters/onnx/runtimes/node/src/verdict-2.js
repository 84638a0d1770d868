/** Verdicts of guards with several parts, schema 2: what the parts found, and what follows from it. */

import { INVALID_SCORE } from "./limits.js";
import { ALL } from "./manifest-2.js";
import { INCOMPLETE, NOT_FINITE, OUT_OF_RANGE, pValue, stepOf, UNSCORABLE } from "./verdict.js";

/** Version of the schema. */
const SCHEMA = 2;
/** Reason codes. */
export const REQUEST_MISSING = "request_missing";
export const UNKNOWN_GROUP = "unknown_group";

/** @typedef {import("../index.js").Manifest2} Manifest2 */
/** @typedef {import("../index.js").PartVerdict} PartVerdict */
/** @typedef {"final" | "online" | "request"} Rule */
/** @typedef {{ value: number, scores: Float32Array }} Threshold */
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
 * What a part found in a row.
 * @typedef {object} Found
 * @property {number} score
 * @property {number} alarm  first cell with an alarm; -1 = none
 * @property {boolean} whole  everything that counts could be read
 */

/**
 * The group whose thresholds count for a row: the name to look for, what the verdict calls it, and whether it is unknown.
 * @param {Manifest2} manifest
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

/**
 * The verdict on a row.
 * @param {object} row
 * @param {Manifest2} row.manifest
 * @param {string} row.id
 * @param {Rule} row.rule
 * @param {number} row.alpha  the rule's
 * @param {readonly Part[]} row.parts  under the rule
 * @param {readonly Found[]} row.found  one per part
 * @param {Float32Array} row.values  [T, C]
 * @param {number} row.length
 * @param {string | null} row.group
 * @param {string[]} row.accepted
 * @returns {import("../index.js").Verdict2}
 */
export function judge({ manifest, id, rule, alpha, parts, found, values, length, group, accepted }) {
  const { key, name, unknown } = groupOf(manifest, group);
  const each = parts.map((part, k) => {
    const { score, alarm, whole } = /** @type {Found} */ (found[k]);
    const { value, scores } = thresholdOf(part, key);
    const why = whole ? null : unread(manifest, part, rule, values, length);
    // Above the threshold counts even where later cells cannot be read: it was an alarm when it rang.
    const flagged = score > value && score !== INVALID_SCORE;
    const status = flagged ? "flagged" : why === null ? "clear" : "unmonitored";
    const p = status === "unmonitored" ? null : pValue(score, scores);
    return { part, status, why, alarm, value, score: p === null ? null : score, p, rank: (p ?? 1) * (alpha / part.alpha) };
  });
  const alarms = inOrder(each.filter(({ status }) => status === "flagged"));
  const gaps = each.flatMap(({ why }) => (why === null ? [] : [why]));
  const status = alarms.length ? "flagged" : gaps.length ? "unmonitored" : "clear";
  const deciding = status === "unmonitored" ? undefined : (alarms[0] ?? inOrder(each)[0]);
  return Object.freeze({
    request_id: id,
    status,
    reasons: [...new Set([...alarms.map(({ part }) => part.reason), ...gaps, ...(unknown ? [UNKNOWN_GROUP] : [])])],
    score: deciding?.score ?? null,
    threshold: /** @type {number} */ ((deciding ?? each[0])?.value),
    p_value: deciding === undefined ? null : Math.min(1, deciding.rank),
    first_alarm_step: alarms.length && rule === "online"
      ? stepOf(manifest.grid, Math.min(...alarms.map(({ alarm }) => alarm)))
      : null,
    steps_seen: null,
    steps_expected: null,
    rule,
    bundle: manifest.digest,
    accepted,
    judged_steps: status === "unmonitored" ? null : (manifest.horizon?.steps ?? null),
    ended: rule === "request" ? null : ended(manifest, values, length),
    group: name,
    parts: each.map(({ part, status: own, why, score, value, p }) => /** @type {PartVerdict} */ ({
      name: part.name,
      status: own,
      score,
      threshold: value,
      p_value: p,
      reason: own === "flagged" ? part.reason : why,
    })),
    schema: SCHEMA,
  });
}

/**
 * Most suspicious first; sorting keeps the order of equal ones.
 * @template {{ rank: number }} One
 * @param {One[]} list
 */
const inOrder = (list) => [...list].sort((a, b) => a.rank - b.rank);

/**
 * Why a part could not be judged completely.
 * @param {Manifest2} manifest
 * @param {Part} part
 * @param {Rule} rule
 * @param {Float32Array} values
 * @param {number} length
 */
function unread({ signal: { cells, columns } }, part, rule, values, length) {
  const incomplete = rule === "online" ? length === 0 : rule === "final" && !part.requestOnly && length < cells;
  if (incomplete) return INCOMPLETE;
  const read = part.reads.map((c) => {
    const { kind, low, high } = /** @type {Manifest2["signal"]["columns"][number]} */ (columns[c]);
    // The request is known whole, unless only so many cells were looked at.
    const known = kind === "request" && rule !== "online" ? cells : length;
    const numbers = Array.from({ length: known }, (_, t) => /** @type {number} */ (values[t * columns.length + c]));
    return { kind, low: Math.fround(Number(low)), high: Math.fround(Number(high)), numbers };
  });
  if (read.some(({ kind, numbers }) => kind === "request" && Number.isNaN(numbers[0]))) return REQUEST_MISSING;
  if (!read.every(({ numbers }) => numbers.every(Number.isFinite))) return NOT_FINITE;
  return read.every(({ low, high, numbers }) => numbers.every((x) => x > low && x < high)) ? UNSCORABLE : OUT_OF_RANGE;
}

/**
 * How a finished generation ended.
 * @param {Manifest2} manifest
 * @param {Float32Array} values
 * @param {number} length
 */
function ended({ ended: wanted, signal: { cells, columns } }, values, length) {
  if (wanted === null || length !== cells) return null;
  const c = columns.findIndex(({ name }) => name === wanted.column);
  const { low, high } = /** @type {Manifest2["signal"]["columns"][number]} */ (columns[c]);
  const last = /** @type {number} */ (values[(cells - 1) * columns.length + c]);
  if (!(last > Math.fround(Number(low)) && last < Math.fround(Number(high)))) return null;
  return last < wanted.value ? "refusing" : "complying";
}
