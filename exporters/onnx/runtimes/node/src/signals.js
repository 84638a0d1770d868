/** SRI signals of N generations on one step grid, in either form. */

import { ScoringError } from "./errors.js";
import { isObject } from "./schema.js";

/** @typedef {"sigma" | "logit"} Domain */
/** @typedef {number | null} Cell  null = not finite */

/** Characters. */
const LONGEST_ID = 1024;

/** Signals, checked: what a guard scores. */
export class Signals {
  /**
   * @param {object} parts
   * @param {string[]} parts.ids  one per generation
   * @param {[number, number, number]} parts.shape  [N, T, C]
   * @param {Float32Array | null} parts.sigma  [N, T, C] row by row, in [0, 1]: 1 = internally compliant
   * @param {Float32Array | null} parts.logit  [N, T, C] unbounded; sigma = sigmoid(logit)
   * @param {number[] | null} [parts.lengths]  cells filled so far, per generation; null = all
   * @param {Record<string, unknown> | null} [parts.fingerprint]  what made them; null = unknown
   * @param {string[] | null} [parts.columns]  names of the C columns; null = each is the signal of a tapped layer
   * @param {(string | null)[] | null} [parts.groups]  of which group each is; null = of none
   */
  constructor({ ids, shape, sigma, logit, lengths = null, fingerprint = null, columns = null, groups = null }) {
    this.ids = ids;
    this.shape = shape;
    this.sigma = sigma;
    this.logit = logit;
    this.lengths = lengths;
    this.fingerprint = fingerprint;
    this.columns = columns;
    this.groups = groups;
  }

  /** Number of generations. */
  get length() {
    return this.shape[0];
  }

  /**
   * The array a detector reads.
   * @param {Domain} domain
   * @param {string} subject
   * @returns {Float32Array}
   * @throws {ScoringError} logits are needed, there is only sigma, and one has none
   */
  in(domain, subject) {
    if (domain === "logit") return this.logit ?? this.#logits(subject);
    return this.sigma ?? Float32Array.from(/** @type {Float32Array} */ (this.logit), (x) => 1 / (1 + Math.exp(-x)));
  }

  /** @param {string} subject */
  #logits(subject) {
    const sigma = /** @type {Float32Array} */ (this.sigma);
    const at = sigma.findIndex((x) => x <= 0 || x >= 1);
    if (at >= 0) {
      const [, cells, layers] = this.shape;
      const row = Math.floor(at / (cells * layers));
      throw new ScoringError(
        `${subject}: the bundle reads logits, there is only sigma, and sigma of ${JSON.stringify(this.ids[row])} is ` +
          `${sigma[at]} at cell ${Math.floor(at / layers) % cells}, which has no logit. Give \`logit\` too.`,
      );
    }
    return Float32Array.from(sigma, (x) => Math.log(x) - Math.log1p(-x));
  }

  /**
   * Signals from plain lists: `sigma` or `logit` or both as N lists of T numbers, or of T lists of C numbers.
   * @param {import("../index.js").SignalLists} lists
   * @param {string} [subject]
   * @returns {Signals}
   * @throws {ScoringError} they do not fit together; the message says what
   */
  static from(lists, subject = "signals") {
    if (!isObject(lists)) throw new ScoringError(`${subject}: expected an object with \`sigma\` or \`logit\`.`);
    const sigma = lists.sigma === undefined ? null : cube(lists.sigma, `${subject}, sigma`);
    const logit = lists.logit === undefined ? null : cube(lists.logit, `${subject}, logit`);
    const one = sigma ?? logit;
    if (one === null) throw new ScoringError(`${subject}: holds no signals. Give \`sigma\` or \`logit\`.`);
    if (logit !== null && logit.shape.join() !== one.shape.join()) {
      throw new ScoringError(
        `${subject}: logit has shape [${logit.shape.join(", ")}], sigma [${one.shape.join(", ")}]. Give both alike.`,
      );
    }
    return complete(
      {
        ids: lists.ids ?? null,
        shape: one.shape,
        sigma: sigma?.data ?? null,
        logit: logit?.data ?? null,
        lengths: lists.lengths ?? null,
        fingerprint: lists.fingerprint ?? null,
        columns: lists.columns ?? null,
        groups: lists.groups ?? null,
      },
      subject,
    );
  }
}

/**
 * Fills in ids, and checks that there is one of everything per generation.
 * @param {object} parts
 * @param {readonly string[] | null} parts.ids
 * @param {[number, number, number]} parts.shape
 * @param {Float32Array | null} parts.sigma
 * @param {Float32Array | null} parts.logit
 * @param {readonly number[] | null} parts.lengths
 * @param {unknown} parts.fingerprint
 * @param {readonly string[] | null} [parts.columns]
 * @param {readonly (string | null)[] | null} [parts.groups]
 * @param {string} subject
 * @returns {Signals}
 */
export function complete({ ids, shape, sigma, logit, lengths, fingerprint, columns = null, groups = null }, subject) {
  const [rows] = shape;
  if (!rows) throw new ScoringError(`${subject}: holds no signals. Give \`sigma\` or \`logit\` of at least one generation.`);
  for (const [name, found] of /** @type {const} */ ([["ids", ids], ["lengths", lengths], ["groups", groups]])) {
    if (found !== null && found.length !== rows) {
      throw new ScoringError(`${subject}: ${name} has ${found.length} entries, expected ${rows}. Give one per generation.`);
    }
  }
  if (ids !== null && !ids.every((id) => typeof id === "string")) {
    throw new ScoringError(`${subject}: an id is not a text. Give one text per generation.`);
  }
  ids?.forEach((id, row) => checkId(id, `${subject}, row ${row}`));
  if (groups !== null && !groups.every((group) => group === null || typeof group === "string")) {
    throw new ScoringError(`${subject}: a group is neither a text nor null. Give one per generation, or leave groups out.`);
  }
  if (columns !== null && !(Array.isArray(columns) && columns.every((name) => typeof name === "string") && columns.length === shape[2])) {
    throw new ScoringError(`${subject}: columns must be ${shape[2]} names, one per column. Write the signals again.`);
  }
  if (fingerprint !== null && !isObject(fingerprint)) {
    throw new ScoringError(`${subject}: the fingerprint is not an object. Copy it from what made the signals.`);
  }
  return new Signals({
    ids: ids === null ? Array.from({ length: rows }, (_, row) => String(row)) : [...ids],
    shape,
    sigma,
    logit,
    lengths: lengths === null ? null : [...lengths],
    fingerprint,
    columns: columns === null ? null : [...columns],
    groups: groups === null ? null : [...groups],
  });
}

/**
 * Cells filled so far, per generation.
 * @param {Signals} signals
 * @param {number} cells
 * @param {string} subject
 * @returns {number[]}
 * @throws {ScoringError} one is not in 0..T
 */
export function checkedLengths(signals, cells, subject) {
  const lengths = signals.lengths ?? Array.from({ length: signals.length }, () => cells);
  if (!lengths.every((x) => Number.isInteger(x) && x >= 0 && x <= cells)) {
    throw new ScoringError(
      `${subject}: lengths must be ${signals.length} whole numbers from 0 to ${cells}, found ` +
        `${lengths.slice(0, 8).join(", ")}. A length is the number of cells filled so far.`,
    );
  }
  return lengths;
}

/**
 * Refuses an id that other readers could not take, or not tell from another.
 * @param {string} id
 * @param {string} where
 */
export function checkId(id, where) {
  if (id.includes("\0") || /\p{Surrogate}/u.test(id) || (id.length > LONGEST_ID && [...id].length > LONGEST_ID)) {
    throw new ScoringError(
      `${where}: the id holds a NUL or half a surrogate pair, or has more than ${LONGEST_ID} characters. Write it anew.`,
    );
  }
}

/**
 * N lists of T numbers, or of T lists of C numbers, as [N, T, C] float32; null becomes NaN.
 * @param {unknown} rows
 * @param {string} subject
 * @returns {{ shape: [number, number, number], data: Float32Array }}
 */
export function cube(rows, subject) {
  if (!Array.isArray(rows) || !rows.length) throw new ScoringError(`${subject}: expected a list with one list per generation.`);
  const first = grid(rows[0], subject);
  const [cells, layers] = first.shape;
  const data = new Float32Array(rows.length * cells * layers);
  rows.forEach((row, i) => {
    const { shape, data: numbers } = i ? grid(row, subject) : first;
    if (shape.join() !== first.shape.join()) {
      throw new ScoringError(
        `${subject}: generation ${i} has [T, C] = [${shape.join(", ")}], the first one [${first.shape.join(", ")}]. ` +
          "Give each all cells, and say with `lengths` how many are filled.",
      );
    }
    data.set(numbers, i * cells * layers);
  });
  return { shape: [rows.length, cells, layers], data };
}

/**
 * T numbers, or T lists of C numbers, as [T, C] float32; null becomes NaN.
 * @param {unknown} value
 * @param {string} subject
 * @returns {{ shape: [number, number], data: Float32Array }}
 */
export function grid(value, subject) {
  // A typed array is a list of numbers too.
  const cells = ArrayBuffer.isView(value) ? Array.from(/** @type {Float32Array} */ (value)) : value;
  const problem = `${subject}: not a list of T numbers, or of T lists of C numbers each.`;
  if (!Array.isArray(cells) || !cells.length) throw new ScoringError(problem);
  const nested = Array.isArray(cells[0]);
  const layers = nested ? cells[0].length : 1;
  const data = new Float32Array(cells.length * layers);
  if (!layers) throw new ScoringError(problem);
  cells.forEach((cell, t) => {
    const numbers = nested ? cell : [cell];
    if (!Array.isArray(numbers) || numbers.length !== layers) throw new ScoringError(problem);
    numbers.forEach((x, c) => {
      if (typeof x !== "number" && x !== null) throw new ScoringError(problem);
      data[t * layers + c] = x ?? NaN;
    });
  });
  return { shape: [cells.length, layers], data };
}
