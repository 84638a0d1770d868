/** Codes of verdicts in words. */

/** Why something could not be judged, by code. */
const WHY = new Map(Object.entries({
  incomplete_signal: "cells are missing, because it has not finished",
  request_missing: "the signals have no number for its request",
  non_finite_signal: "a cell is NaN or infinite",
  signal_out_of_range: "a cell is outside the range that the guard reads",
  score_not_finite: "the detector gave no number",
}));

/** @param {string} code */
export const spoken = (code) => code.replaceAll("_", " ");

/** @param {string} code */
export const why = (code) => WHY.get(code) ?? spoken(code);

/** "a", "a and b", "a, b and c". @param {string[]} names */
export const listed = (names) => [names.slice(0, -1).join(", "), names.at(-1)].filter(Boolean).join(" and ");

/**
 * A verdict of several parts in one or two sentences.
 * @param {any} verdict  of schema 2
 */
export function inWords({ status, parts }) {
  const named = (/** @type {string} */ wanted) => parts.filter((/** @type {any} */ part) => part.status === wanted);
  const gaps = named("unmonitored").map((/** @type {any} */ part) => `${part.name} could not be judged: ${why(part.reason)}.`);
  const flags = named("flagged").map((/** @type {any} */ part) => part.name);
  const first = status === "flagged" ? `Flagged by ${listed(flags)}.` : status === "clear" ? "No part is above its threshold." : "";
  return [first, ...gaps].filter(Boolean).join(" ");
}
