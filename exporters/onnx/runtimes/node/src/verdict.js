/** What a guard says of one generation, in the schemas that every runtime of the SDK shares. */

import { INVALID_SCORE } from "./limits.js";
import { groupOf, thresholdOf } from "./plan.js";
import { INCOMPLETE, NOT_FINITE, OUT_OF_RANGE, REQUEST_MISSING, UNKNOWN_GROUP, UNSCORABLE } from "./reasons.js";

/** @typedef {import("./plan.js").Plan} Plan */
/** @typedef {import("./plan.js").Part} Part */
/** @typedef {import("./plan.js").Rule} Rule */
/** @typedef {import("./findings.js").Found} Found */
/** @typedef {import("../index.js").Status} Status */

/**
 * The verdict on a row: flagged if a part is. Its keys stand in the order of the schema, which is that of the manifest's
 * format; what only a live tap knows is null.
 * @param {object} row
 * @param {Plan} row.plan
 * @param {string} row.id
 * @param {Rule} row.rule
 * @param {readonly Found[]} row.found  one per part
 * @param {Float32Array} row.values  [T, C]
 * @param {number} row.length
 * @param {string | null} row.group
 * @param {string[]} row.accepted
 * @returns {import("../index.js").Verdict}
 */
export function judge({ plan, id, rule, found, values, length, group, accepted }) {
  const { manifest } = plan;
  const { alpha, parts } = /** @type {{ alpha: number, parts: Part[] }} */ (plan.rules.get(rule));
  const { key, name, unknown } = groupOf(plan, group);
  const each = parts.map((part, k) => {
    const { score, alarm, whole } = /** @type {Found} */ (found[k]);
    const { value, scores } = thresholdOf(part, key);
    const why = whole ? null : unread(plan, part, rule, values, length);
    // Above the threshold counts even where later cells cannot be read: it was an alarm when it rang.
    const flagged = score > value && score !== INVALID_SCORE;
    const status = /** @type {Status} */ (flagged ? "flagged" : why === null ? "clear" : "unmonitored");
    const p = status === "unmonitored" ? null : pValue(score, scores);
    return { part, status, why, alarm, value, score: p === null ? null : score, p, rank: (p ?? 1) * (alpha / part.alpha) };
  });
  const alarms = inOrder(each.filter(({ status }) => status === "flagged"));
  const gaps = each.flatMap(({ why }) => (why === null ? [] : [why]));
  const status = /** @type {Status} */ (alarms.length ? "flagged" : gaps.length ? "unmonitored" : "clear");
  const deciding = status === "unmonitored" ? undefined : (alarms[0] ?? inOrder(each)[0]);
  return /** @type {import("../index.js").Verdict} */ (Object.freeze({
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
    ...(manifest.format === 2 && {
      judged_steps: status === "unmonitored" ? null : plan.horizon,
      ended: rule === "request" ? null : ended(plan, values, length),
      group: name,
      parts: each.map(({ part, status: own, why, score, value, p }) => ({
        name: part.name,
        status: own,
        score,
        threshold: value,
        p_value: p,
        reason: own === "flagged" ? part.reason : why,
      })),
    }),
    schema: manifest.format,
  }));
}

/**
 * Most suspicious first; sorting keeps the order of equal ones.
 * @template {{ rank: number }} One
 * @param {One[]} list
 */
const inOrder = (list) => [...list].sort((a, b) => a.rank - b.rank);

/**
 * Why a part could not be judged completely.
 * @param {Plan} plan
 * @param {Part} part
 * @param {Rule} rule
 * @param {Float32Array} values
 * @param {number} length
 */
function unread({ cells, columns }, part, rule, values, length) {
  const incomplete = rule === "online" ? length === 0 : rule === "final" && !part.requestOnly && length < cells;
  if (incomplete) return INCOMPLETE;
  const read = part.reads.map((c) => {
    const column = /** @type {import("./plan.js").Column} */ (columns[c]);
    // The request is known whole, unless only so many cells were looked at.
    const known = column.kind === "request" && rule !== "online" ? cells : length;
    const numbers = Array.from({ length: known }, (_, t) => /** @type {number} */ (values[t * columns.length + c]));
    return { ...column, numbers };
  });
  if (read.some(({ kind, numbers }) => kind === "request" && Number.isNaN(numbers[0]))) return REQUEST_MISSING;
  if (!read.every(({ numbers }) => numbers.every(Number.isFinite))) return NOT_FINITE;
  return read.every(({ low, high, numbers }) => numbers.every((x) => x > low && x < high)) ? UNSCORABLE : OUT_OF_RANGE;
}

/**
 * How a finished generation ended.
 * @param {Plan} plan
 * @param {Float32Array} values
 * @param {number} length
 */
function ended({ ended: wanted, cells, columns }, values, length) {
  if (wanted === null || length !== cells) return null;
  const { low, high } = /** @type {import("./plan.js").Column} */ (columns[wanted.column]);
  const last = /** @type {number} */ (values[(cells - 1) * columns.length + wanted.column]);
  if (!(last > low && last < high)) return null;
  return last < wanted.value ? "refusing" : "complying";
}

/**
 * (1 + how many of the sorted calibration scores are at least as high) / (n + 1).
 * @param {number} score
 * @param {Float32Array} calibration
 */
function pValue(score, calibration) {
  let [low, high] = [0, calibration.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (/** @type {number} */ (calibration[middle]) < score) low = middle + 1;
    else high = middle;
  }
  return (1 + calibration.length - low) / (calibration.length + 1);
}

/**
 * The step that was done when a cell closed, counted from 0; null where the grid counts tokens.
 * @param {unknown} grid  of a manifest, which was checked
 * @param {number} cell
 */
function stepOf(grid, cell) {
  const { mapping, budget, cells } = /** @type {any} */ (grid ?? {});
  return mapping === "step" ? Math.ceil(((cell + 1) * budget) / cells) - 1 : null;
}
