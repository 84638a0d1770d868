/** What a guard says of one generation, in the schema that every runtime of the SDK shares. */

/** Version of the schema. */
const SCHEMA = 1;

/** Reason codes. */
export const ABOVE = "score_above_threshold";
export const NOT_FINITE = "non_finite_signal";
export const OUT_OF_RANGE = "signal_out_of_range";
export const INCOMPLETE = "incomplete_signal";
export const UNSCORABLE = "score_not_finite";

/**
 * A verdict, with its keys in the order of the schema. What only a live tap knows is null.
 * @param {object} parts
 * @param {string} parts.requestId
 * @param {import("../index.js").Status} parts.status
 * @param {string[]} parts.reasons
 * @param {number | null} parts.score
 * @param {number} parts.threshold
 * @param {number | null} parts.pValue
 * @param {number | null} parts.firstAlarmStep
 * @param {"final" | "online"} parts.rule
 * @param {string} parts.bundle
 * @param {string[]} parts.accepted
 * @returns {import("../index.js").Verdict1}
 */
export function makeVerdict({
  requestId, status, reasons, score, threshold, pValue, firstAlarmStep, rule, bundle, accepted,
}) {
  return Object.freeze({
    request_id: requestId,
    status,
    reasons,
    score,
    threshold,
    p_value: pValue,
    first_alarm_step: firstAlarmStep,
    steps_seen: null,
    steps_expected: null,
    rule,
    bundle,
    accepted,
    schema: SCHEMA,
  });
}

/**
 * (1 + how many of the sorted calibration scores are at least as high) / (n + 1).
 * @param {number} score
 * @param {Float32Array} calibration
 */
export function pValue(score, calibration) {
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
export function stepOf(grid, cell) {
  const { mapping, budget, cells } = /** @type {any} */ (grid ?? {});
  return mapping === "step" ? Math.ceil(((cell + 1) * budget) / cells) - 1 : null;
}
