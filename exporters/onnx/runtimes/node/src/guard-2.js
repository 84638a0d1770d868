/** From signals to verdicts, with bundles of format 2: columns, several scored parts, groups. */

import { admit } from "./admission.js";
import { ScoringError } from "./errors.js";
import { requestParts } from "./manifest-2.js";
import { unpack } from "./packed.js";
import { CHUNK, scoreOnce } from "./runtime.js";
import { checkedLengths, Signals } from "./signals.js";
import { Stream2 } from "./stream-2.js";
import { groupOf, judge, thresholdOf } from "./verdict-2.js";

/** @typedef {import("./runtime.js").Session} Session */
/** @typedef {import("./runtime.js").Scored} Scored */
/** @typedef {import("./verdict-2.js").Rule} Rule */
/** @typedef {import("./verdict-2.js").Part} Part */
/** @typedef {import("./verdict-2.js").Found} Found */
/** @typedef {import("../index.js").Verdict2} Verdict2 */
/** @typedef {{ rule?: Rule, accept?: readonly string[], unverified?: boolean, subject?: string }} ScoreOptions */

/** A bundle of format 2, loaded and self-tested. Calls may overlap. */
export class PartsGuard {
  #signal;
  #prefix;
  /** @type {Map<Rule, { alpha: number, parts: Part[] }>} */
  #rules;

  /**
   * Use `loadGuard`.
   * @param {object} parts
   * @param {import("../index.js").Manifest2} parts.manifest
   * @param {string | null} parts.signedBy
   * @param {Session} parts.signal
   * @param {Session} parts.prefix
   * @param {Record<string, number>} parts.parity
   */
  constructor({ manifest, signedBy, signal, prefix, parity }) {
    this.manifest = manifest;
    this.digest = manifest.digest;
    this.signedBy = signedBy;
    this.parity = parity;
    this.#signal = signal;
    this.#prefix = prefix;
    this.#rules = rulesOf(manifest);
  }

  /** What scores are compared with: rule -> part -> group (`all` without groups) -> threshold. */
  get thresholds() {
    return Object.fromEntries([...this.#rules].map(([rule, { parts }]) => [rule, Object.fromEntries(parts.map((part) =>
      [part.name, Object.fromEntries([...part.groups].map(([group, { value }]) => [group, value]))]))]));
  }

  // -- one call, many verdicts -------------------------------------------------------------------------------

  /**
   * One verdict per generation, in order. A row that cannot be scored is `unmonitored` and says why; it never fails its
   * neighbours.
   * @param {Signals | import("../index.js").SignalLists} signals
   * @param {ScoreOptions} [options]
   * @returns {Promise<Verdict2[]>}
   * @throws {ScoringError} T, C or the columns differ, lengths are not in 0..T, no such rule, or no fingerprint and not
   *   `unverified`
   * @throws {import("./errors.js").ModelMismatch} the signals belong to another model, tap or profile
   */
  async score(signals, { rule = "final", accept = [], unverified = false, subject = "signals" } = {}) {
    const { alpha, parts } = this.#rule(rule);
    const given = signals instanceof Signals ? signals : Signals.from(signals, subject);
    const accepted = admit(this.manifest, given, { accept, unverified, subject });
    const { cells, domain } = this.manifest.signal;
    const values = given.in(domain, subject);
    const lengths = checkedLengths(given, cells, subject);
    const groups = given.groups ?? given.ids.map(() => null);
    const found = rule === "online"
      ? await this.#online(values, lengths, groups, parts)
      : await this.#once(values, lengths, parts, rule);
    return given.ids.map((id, row) => judge({
      manifest: this.manifest, id, rule, alpha, parts, accepted,
      found: /** @type {Found[]} */ (found[row]),
      values: values.subarray(row * this.#size, (row + 1) * this.#size),
      length: /** @type {number} */ (lengths[row]),
      group: groups[row] ?? null,
    }));
  }

  /**
   * The same with the online rule: every length up to the row's own, as a monitor would have done while they ran.
   * @param {Signals | import("../index.js").SignalLists} signals
   * @param {Omit<ScoreOptions, "rule">} [options]
   */
  scoreOnline(signals, options = {}) {
    return this.score(signals, { ...options, rule: "online" });
  }

  // -- streaming ---------------------------------------------------------------------------------------------

  /**
   * A generation that is still running: give it cell by cell, and ask for the verdict at any time.
   * @param {string} [id]
   * @param {object} [options]
   * @param {number | null} [options.request]  the request's number, in the bundle's domain; null = it has none
   * @param {string | null} [options.group]  of the generation
   * @param {Record<string, unknown> | null} [options.fingerprint]  what makes the cells
   * @param {readonly string[]} [options.accept]  soft fields that may differ
   * @param {boolean} [options.unverified]  allow cells without a fingerprint
   * @returns {Stream2}
   * @throws {ScoringError} no fingerprint and not `unverified`
   * @throws {import("./errors.js").ModelMismatch} the cells belong to another model, tap or profile
   */
  stream(id = "0", { request = null, group = null, fingerprint = null, accept = [], unverified = false } = {}) {
    const { cells, columns } = this.manifest.signal;
    const nothing = new Signals({ ids: [id], shape: [1, cells, columns.length], sigma: null, logit: null, fingerprint });
    const accepted = admit(this.manifest, nothing, { accept, unverified, subject: id });
    return new Stream2({ guard: this, ...this.#rule("online"), id, request, group, accepted });
  }

  /**
   * Finished generations [B, T, C] in the bundle's domain -> [B, K] scores and whether they count.
   * @param {Float32Array} signals
   * @returns {Promise<Scored>}
   * @throws {ScoringError} not whole generations
   */
  async scoreFinal(signals) {
    return scoreOnce(this.#signal, { signals: this.#tensor(signals) });
  }

  /**
   * Running generations [B, T, C] with B lengths -> [B, K] standardised scores and whether they count. Cells at and
   * beyond a row's length are never read.
   * @param {Float32Array} signals
   * @param {ArrayLike<number>} lengths
   * @returns {Promise<Scored>}
   * @throws {ScoringError} not whole generations, or not one length each
   */
  async scorePrefix(signals, lengths) {
    const tensor = this.#tensor(signals);
    const each = Array.from(lengths);
    if (each.length !== tensor.shape[0] || !each.every(Number.isSafeInteger)) {
      throw new ScoringError(`lengths: ${each.length} numbers, allowed: ${tensor.shape[0]} whole ones.`);
    }
    const length = { dtype: "int64", shape: [each.length], data: BigInt64Array.from(each, BigInt) };
    return scoreOnce(this.#prefix, { signals: tensor, length });
  }

  /** Frees the memory of the runtime. The guard cannot be used afterwards. */
  async dispose() {
    await this.#signal.release();
    await this.#prefix.release();
  }

  // -- internals ---------------------------------------------------------------------------------------------

  get #size() {
    return this.manifest.signal.cells * this.manifest.signal.columns.length;
  }

  /** @param {Rule} name */
  #rule(name) {
    const rule = this.#rules.get(name);
    if (rule !== undefined) return rule;
    throw new ScoringError(`rule ${JSON.stringify(name)} does not exist; allowed: ${[...this.#rules.keys()].join(", ")}.`);
  }

  /** @param {Float32Array} signals */
  #tensor(signals) {
    const { cells, columns } = this.manifest.signal;
    const rows = signals.length / this.#size;
    if (!(signals instanceof Float32Array) || !Number.isInteger(rows)) {
      throw new ScoringError(
        `signals: ${signals.length} numbers, the guard takes a Float32Array of [B, ${cells}, ${columns.length}]. ` +
          "Lay the signals on the guard's step grid and columns.",
      );
    }
    return { dtype: "float32", shape: [rows, cells, columns.length], data: signals };
  }

  /**
   * The graph `signal`, for `final` and `request`.
   * @param {Float32Array} values
   * @param {number[]} lengths
   * @param {Part[]} parts
   * @param {Rule} rule
   * @returns {Promise<Found[][]>}  per row, per part
   */
  async #once(values, lengths, parts, rule) {
    const { cells, columns } = this.manifest.signal;
    const most = rowsAtOnce(CHUNK, cells * columns.length);
    const all = this.manifest.parts.length;
    /** @type {Found[][]} */
    const found = [];
    for (let at = 0; at < lengths.length; at += most) {
      const { score, valid } = await this.scoreFinal(values.subarray(at * this.#size, (at + most) * this.#size));
      for (const [i, length] of lengths.slice(at, at + most).entries()) {
        found.push(parts.map(({ index, requestOnly }) => {
          const whole = Boolean(valid[i * all + index]) && (rule === "request" || requestOnly || length === cells);
          return { score: whole ? (score[i * all + index] ?? NaN) : -Infinity, alarm: -1, whole };
        }));
      }
    }
    return found;
  }

  /**
   * The graph `prefix` at every length.
   * @param {Float32Array} values
   * @param {number[]} lengths
   * @param {readonly (string | null)[]} groups
   * @param {Part[]} parts
   * @returns {Promise<Found[][]>}  per row, per part
   */
  async #online(values, lengths, groups, parts) {
    const { cells } = this.manifest.signal;
    const size = this.#size;
    const most = rowsAtOnce(Math.floor(CHUNK / cells), cells * size);
    /** @type {Found[][]} */
    const found = lengths.map((length) => parts.map(() => nothingFound(length > 0)));
    for (let at = 0; at < lengths.length; at += most) {
      const count = Math.min(most, lengths.length - at);
      const repeated = new Float32Array(count * cells * size);
      for (let i = 0; i < count * cells; i += 1) {
        const row = at + Math.floor(i / cells);
        repeated.set(values.subarray(row * size, (row + 1) * size), i * size);
      }
      const each = Array.from({ length: count * cells }, (_, i) => (i % cells) + 1);
      const scored = await this.scorePrefix(repeated, each);
      each.forEach((length, i) => {
        const row = at + Math.floor(i / cells);
        if (length > /** @type {number} */ (lengths[row])) return;
        const { key } = groupOf(this.manifest, groups[row] ?? null);
        take(/** @type {Found[]} */ (found[row]), parts, scored, i * this.manifest.parts.length, length, key);
      });
    }
    return found;
  }
}

/** @param {boolean} whole @returns {Found} */
export const nothingFound = (whole) => ({ score: -Infinity, alarm: -1, whole });

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

/** Numbers that are handed to a graph at once: 64 MiB. */
const MOST_NUMBERS = 2 ** 24;

/**
 * Rows per call, also where a row is large.
 * @param {number} wanted
 * @param {number} size  numbers of a row
 */
const rowsAtOnce = (wanted, size) => Math.max(1, Math.min(wanted, Math.floor(MOST_NUMBERS / size)));

/**
 * Rules with their parts in the order of the manifest.
 * @param {import("../index.js").Manifest2} manifest
 * @returns {Map<Rule, { alpha: number, parts: Part[] }>}
 */
function rulesOf(manifest) {
  const [order, alone] = [manifest.signal.columns.map(({ name }) => name), requestParts(manifest)];
  return new Map(/** @type {Rule[]} */ (["final", "online", "request"]).flatMap((rule) => {
    const entry = manifest.rules[rule];
    if (entry === undefined) return [];
    const parts = manifest.parts.flatMap(({ name, reason, columns }, index) => {
      const own = entry.parts[name];
      if (own === undefined) return [];
      const groups = new Map(Object.entries(own.groups).map(([group, { value, scores }]) =>
        [group, { value, scores: /** @type {Float32Array} */ (unpack(scores).data) }]));
      const reads = columns.map((column) => order.indexOf(column));
      return [{ index, name, reason, alpha: own.alpha, reads, requestOnly: alone.includes(name), groups }];
    });
    return [[rule, { alpha: entry.alpha, parts }]];
  }));
}
