/** From signals to verdicts. */

import { admit } from "./admission.js";
import { ScoringError } from "./errors.js";
import { findOnce, findOnline } from "./findings.js";
import { planOf } from "./plan.js";
import { scoreOnce } from "./runtime.js";
import { checkedLengths, Signals } from "./signals.js";
import { Stream } from "./stream.js";
import { judge } from "./verdict.js";

/** @typedef {import("./runtime.js").Session} Session */
/** @typedef {import("./runtime.js").Scored} Scored */
/** @typedef {import("../index.js").Verdict} Verdict */
/** @typedef {import("../index.js").ScoreOptions} ScoreOptions */

/** A bundle of either format, loaded and self-tested. Calls may overlap. */
export class LoadedGuard {
  #signal;
  #prefix;
  #plan;

  /**
   * Use `loadGuard`.
   * @param {object} parts
   * @param {import("../index.js").Manifest} parts.manifest
   * @param {string | null} parts.signedBy
   * @param {Session} parts.signal
   * @param {Session} parts.prefix
   * @param {Record<string, number>} parts.parity
   */
  constructor({ manifest, signedBy, signal, prefix, parity }) {
    this.format = manifest.format;
    this.manifest = manifest;
    this.digest = manifest.digest;
    this.signedBy = signedBy;
    this.parity = parity;
    this.#signal = signal;
    this.#prefix = prefix;
    this.#plan = planOf(manifest);
  }

  /**
   * What a score is compared with, per rule: flagged when score > threshold. Of format 2 rule -> part -> group (`all`
   * without groups) -> threshold.
   * @returns {import("../index.js").Guard["thresholds"]}
   */
  get thresholds() {
    const rules = [...this.#plan.rules].map(([rule, { parts }]) => {
      const each = parts.map(({ name, groups }) => [name, Object.fromEntries([...groups].map(([group, { value }]) => [group, value]))]);
      return [rule, this.format === 2 ? Object.fromEntries(each) : [...(parts[0]?.groups.values() ?? [])][0]?.value];
    });
    return Object.fromEntries(rules);
  }

  // -- one call, many verdicts -------------------------------------------------------------------------------

  /**
   * One verdict per generation, in order. A row that cannot be scored is `unmonitored` and says why; it never fails its
   * neighbours.
   * @param {Signals | import("../index.js").SignalLists} signals
   * @param {ScoreOptions} [options]
   * @returns {Promise<Verdict[]>}
   * @throws {ScoringError} T, C or the columns differ, lengths are not in 0..T, no such rule, or no fingerprint and not
   *   `unverified`
   * @throws {import("./errors.js").ModelMismatch} the signals belong to another model, tap or profile
   */
  async score(signals, { rule = "final", accept = [], unverified = false, subject = "signals" } = {}) {
    const plan = this.#plan;
    const parts = plan.rules.get(rule)?.parts;
    if (parts === undefined) {
      throw new ScoringError(`rule ${JSON.stringify(rule)} does not exist; allowed: ${[...plan.rules.keys()].join(", ")}.`);
    }
    const given = signals instanceof Signals ? signals : Signals.from(signals, subject);
    const accepted = admit(this.manifest, given, { accept, unverified, subject });
    const values = given.in(this.manifest.signal.domain, subject);
    const lengths = checkedLengths(given, plan.cells, subject);
    const groups = given.groups ?? given.ids.map(() => null);
    const found = rule === "online"
      ? await findOnline(plan, parts, { values, lengths, groups }, (some, each) => this.scorePrefix(some, each))
      : await findOnce(plan, rule, parts, { values, lengths }, (some) => this.scoreFinal(some));
    return given.ids.map((id, row) => judge({
      plan, id, rule, accepted,
      found: found[row] ?? [],
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
   * @returns {Stream}
   * @throws {ScoringError} no fingerprint and not `unverified`
   * @throws {import("./errors.js").ModelMismatch} the cells belong to another model, tap or profile
   */
  stream(id = "0", { request = null, group = null, fingerprint = null, accept = [], unverified = false } = {}) {
    const { cells, columns } = this.#plan;
    const nothing = new Signals({ ids: [id], shape: [1, cells, columns.length], sigma: null, logit: null, fingerprint });
    const accepted = admit(this.manifest, nothing, { accept, unverified, subject: id });
    const run = (/** @type {Float32Array} */ some, /** @type {number[]} */ each) => this.scorePrefix(some, each);
    return new Stream({ plan: this.#plan, run, id, request, group, accepted });
  }

  /**
   * Finished generations [B, T, C] in the bundle's domain -> scores and whether they count; nothing else is checked. Of
   * format 2 [B, K], K parts.
   * @param {Float32Array} signals
   * @returns {Promise<Scored>}
   * @throws {ScoringError} not whole generations
   */
  async scoreFinal(signals) {
    return scoreOnce(this.#signal, { signals: this.#tensor(signals) });
  }

  /**
   * Running generations [B, T, C] with B lengths -> standardised scores, to compare with `thresholds.online`, and
   * whether they count; of format 2 [B, K]. Cells at and beyond a row's length are never read.
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

  /** Numbers of a row. */
  get #size() {
    return this.#plan.cells * this.#plan.columns.length;
  }

  /** @param {Float32Array} signals */
  #tensor(signals) {
    const { cells, columns } = this.#plan;
    const rows = signals.length / this.#size;
    if (!(signals instanceof Float32Array) || !Number.isInteger(rows)) {
      throw new ScoringError(
        `signals: ${signals.length} numbers, the guard takes a Float32Array of [B, ${cells}, ${columns.length}]. ` +
          "Lay the signals on the guard's step grid and columns.",
      );
    }
    return { dtype: "float32", shape: [rows, cells, columns.length], data: signals };
  }
}
