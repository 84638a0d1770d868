/** `manifest.json` of a bundle, format 2: columns of signals, several scored parts, groups and a horizon. */

import { LARGEST_PROBE } from "./limits.js";
import { CALIBRATION, calibrationFacts, detector, edgeFacts, graphFacts, KEYS, refuse, same, SIGNAL, tier } from "./manifest-checks.js";
import { anything, either, mapOf, matching, number, object, oneOf, sha256, share, some, text, whole } from "./schema.js";

/** @typedef {import("../index.js").Manifest2} Manifest2 */
/** @typedef {import("./manifest-checks.js").Fact} Fact */

/** The one group of a guard without groups. */
export const ALL = "all";
/** Cells times columns. */
const MOST_CELLS = 2 ** 18;

const column = matching(/^[a-z0-9@-]{1,64}$/);
const rule = object({
  alpha: share,
  parts: mapOf(object({ alpha: share, delta: either(oneOf(null), share), groups: mapOf(object(CALIBRATION)) })),
});

const shape = object({
  ...KEYS,
  format: oneOf(2),
  signal: object({
    ...SIGNAL,
    columns: some(1, 1024, object({
      name: column,
      kind: oneOf("sri", "request"),
      layers: some(1, 1024, either(oneOf("final"), whole(0))),
      low: number,
      high: number,
    })),
  }),
  anchors: object({
    sha256,
    provenance: mapOf(anything),
    request: either(oneOf(null), object({ sha256, provenance: mapOf(anything) })),
  }),
  parts: some(1, 16, object({
    name: matching(/^[a-z][a-z0-9-]{0,31}$/),
    columns: some(1, 1024, column),
    reason: matching(/^[a-z][a-z0-9_]{0,63}$/),
    detector,
  })),
  tier,
  groups: some(0, 64, matching(/^[A-Za-z0-9_.-]{1,64}$/)),
  rules: mapOf(rule),
  horizon: either(oneOf(null), object({ steps: whole(1, 2 ** 31 - 1) })),
  ended: either(oneOf(null), object({ column, value: number })),
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
  const { signal, parts, groups } = value;
  const { cells, columns, hidden_size: width } = signal;
  const order = columns.map(({ name }) => name);
  const request = columns.some(({ kind }) => kind === "request");
  refuse([
    [distinct(order), "signal.columns: two columns have one name"],
    [columns.slice(0, -1).every(({ kind }) => kind === "sri"), "signal.columns: there may be one request column, and it comes last"],
    [columns.every(({ kind, layers }) => kind !== "sri" || layers.length === 1), "signal.columns: a column sri has one layer"],
    [columns.every(({ low, high }) => low < high), "signal.columns: low is not below high"],
    [cells * columns.length <= MOST_CELLS, `signal: cells times columns is above ${MOST_CELLS}`],
    [distinct(parts.map(({ name }) => name)), "parts: two parts have one name"],
    [
      parts.every((part) => part.columns.join() === order.filter((name) => part.columns.includes(name)).join()),
      "parts: one reads a column that does not exist, twice, or not in order",
    ],
    [(value.tier === "python") === parts.some((part) => part.detector.tier === "python"), "tier does not follow from the parts"],
    [groups.join() === [...new Set(groups)].sort().join() && !groups.includes(ALL), "groups are not sorted names, each once"],
    [request === (value.anchors.request !== null), "anchors.request and the request column differ"],
    ...graphFacts(value),
    [probesFit(value), "golden hidden states are too many"],
    ...rulesFit(value),
    ...endFits(value),
  ]);
  const [sri, layers] = counts(signal);
  refuse(edgeFacts(value, { cells, columns: columns.length, sri, layers, width, parts: parts.length }));
}

/** @param {readonly string[]} names */
const distinct = (names) => new Set(names).size === names.length;

/**
 * @param {Manifest2} value
 * @returns {Fact[]}
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
      return /** @type {Fact[]} */ ([
        [same(Object.keys(parts), wanted.get(name) ?? []), `rules.${name} does not have the parts it must have`],
        [each.every((part) => same(Object.keys(part.groups), groups)), `rules.${name} has other groups`],
        [each.reduce((sum, part) => sum + Number(part.alpha), 0) <= alpha * (1 + 1e-9), `the parts of rules.${name} have more than its alpha`],
        ...calibrationFacts(`rules.${name}`, thresholds),
      ]);
    }),
  ];
}

/**
 * @param {Manifest2} value
 * @returns {Fact[]}
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

export const MANIFEST_2 = { shape, consistent };
