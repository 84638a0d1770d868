/** From signals to verdicts. */

import { admit } from "./admission.js";
import { ScoringError } from "./errors.js";
import { INVALID_SCORE } from "./limits.js";
import { unpack } from "./packed.js";
import { CHUNK, scoreOnce } from "./runtime.js";
import { checkedLengths, Signals } from "./signals.js";
import { Stream } from "./stream.js";
import { ABOVE, INCOMPLETE, makeVerdict, NOT_FINITE, OUT_OF_RANGE, pValue, stepOf, UNSCORABLE } from "./verdict.js";

/** @typedef {import("./runtime.js").Session} Session */
/** @typedef {import("./runtime.js").Scored} Scored */
/** @typedef {"final" | "online"} Rule */
/** @typedef {import("../index.js").Verdict1} Verdict */
/** @typedef {{ rule?: Rule, accept?: readonly string[], unverified?: boolean, subject?: string }} ScoreOptions */
/**
 * What a rule found, per generation.
 * @typedef {object} Judged
 * @property {Float32Array} score  [N]
 * @property {number[]} alarm  [N] first cell with an alarm, where there is one
 * @property {boolean[]} whole  [N] whether everything that counts could be read
 */

/** A bundle, loaded and self-tested. Calls may overlap. */
export class Guard {
  #signal;
  #prefix;
  /** @type {Record<Rule, { value: number, scores: Float32Array }>} */
  #rules;

  /**
   * Use `loadGuard`.
   * @param {object} parts
   * @param {import("../index.js").Manifest1} parts.manifest
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
    const { final, online } = manifest.rules;
    this.#rules = {
      final: { value: final.value, scores: /** @type {Float32Array} */ (unpack(final.scores).data) },
      online: { value: online.value, scores: /** @type {Float32Array} */ (unpack(online.scores).data) },
    };
  }

  /** What a score is compared with, per rule: flagged when score > threshold. */
  get thresholds() {
    return { final: this.#rules.final.value, online: this.#rules.online.value };
  }

  // -- one call, many verdicts -------------------------------------------------------------------------------

  /**
   * One verdict per generation, in order. A row that cannot be scored is `unmonitored` and says why; it never fails its
   * neighbours.
   * @param {Signals | import("../index.js").SignalLists} signals
   * @param {ScoreOptions} [options]
   * @returns {Promise<Verdict[]>}
   * @throws {ScoringError} T or C differ, lengths are not in 0..T, or no fingerprint and not `unverified`
   * @throws {import("./errors.js").ModelMismatch} the signals belong to another model, tap or profile
   */
  async score(signals, { rule = "final", accept = [], unverified = false, subject = "signals" } = {}) {
    if (!Object.hasOwn(this.#rules, rule)) {
      throw new ScoringError(`rule ${JSON.stringify(rule)} does not exist; allowed: final, online.`);
    }
    const given = signals instanceof Signals ? signals : Signals.from(signals, subject);
    const accepted = admit(this.manifest, given, { accept, unverified, subject });
    const values = given.in(this.manifest.signal.domain, subject);
    const lengths = checkedLengths(given, this.manifest.signal.cells, subject);
    const judged = rule === "final" ? await this.#final(values, lengths) : await this.#online(values, lengths);
    return given.ids.map((id, row) => {
      const score = /** @type {number} */ (judged.score[row]);
      const length = /** @type {number} */ (lengths[row]);
      const reasons = judged.whole[row] ? [] : [this.#why(values, row, length, rule)];
      return this.verdict({ id, rule, score, alarm: judged.alarm[row] ?? 0, reasons, accepted });
    });
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
   * @param {Record<string, unknown> | null} [options.fingerprint]  what makes the cells
   * @param {readonly string[]} [options.accept]  soft fields that may differ
   * @param {boolean} [options.unverified]  allow cells without a fingerprint
   * @returns {Stream}
   * @throws {ScoringError} no fingerprint and not `unverified`
   * @throws {import("./errors.js").ModelMismatch} the cells belong to another model, tap or profile
   */
  stream(id = "0", { fingerprint = null, accept = [], unverified = false } = {}) {
    const { cells, layers } = this.manifest.signal;
    const nothing = new Signals({ ids: [id], shape: [1, cells, layers], sigma: null, logit: null, fingerprint });
    return new Stream(this, id, admit(this.manifest, nothing, { accept, unverified, subject: id }));
  }

  /**
   * Finished generations [B, T, C] in the bundle's domain -> scores and whether they count; nothing else is checked.
   * @param {Float32Array} signals
   * @returns {Promise<Scored>}
   * @throws {ScoringError} not whole generations
   */
  async scoreFinal(signals) {
    return scoreOnce(this.#signal, { signals: this.#tensor(signals) });
  }

  /**
   * Running generations [B, T, C] with B lengths -> standardised scores, to compare with `thresholds.online`, and
   * whether they count. Cells at and beyond a row's length are never read.
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

  /**
   * A verdict from what a rule found.
   * @param {object} found
   * @param {string} found.id
   * @param {Rule} found.rule
   * @param {number} found.score
   * @param {number} found.alarm
   * @param {string[]} found.reasons  why not everything could be read
   * @param {string[]} [found.accepted]
   * @returns {Verdict}
   */
  verdict({ id, rule, score, alarm, reasons, accepted = [] }) {
    const { value, scores } = this.#rules[rule];
    // Above the threshold counts even where later cells cannot be read: it was an alarm when it rang.
    const flagged = score > value && score !== INVALID_SCORE;
    const status = flagged ? "flagged" : reasons.length ? "unmonitored" : "clear";
    return makeVerdict({
      requestId: id,
      status,
      reasons: flagged ? [ABOVE, ...reasons] : reasons,
      score: status === "unmonitored" ? null : score,
      threshold: value,
      pValue: status === "unmonitored" ? null : pValue(score, scores),
      firstAlarmStep: flagged && rule === "online" ? stepOf(this.manifest.grid, alarm) : null,
      rule,
      bundle: this.digest,
      accepted,
    });
  }

  /** Frees the memory of the runtime. The guard cannot be used afterwards. */
  async dispose() {
    await this.#signal.release();
    await this.#prefix.release();
  }

  // -- internals ---------------------------------------------------------------------------------------------

  /** @param {Float32Array} signals */
  #tensor(signals) {
    const { cells, layers } = this.manifest.signal;
    const rows = signals.length / (cells * layers);
    if (!(signals instanceof Float32Array) || !Number.isInteger(rows)) {
      throw new ScoringError(
        `signals: ${signals.length} numbers, the guard takes a Float32Array of [B, ${cells}, ${layers}]. ` +
          "Lay the signals on the guard's step grid and tapped layers.",
      );
    }
    return { dtype: "float32", shape: [rows, cells, layers], data: signals };
  }

  /**
   * @param {Float32Array} values
   * @param {number[]} lengths
   * @returns {Promise<Judged>}
   */
  async #final(values, lengths) {
    const { cells, layers } = this.manifest.signal;
    const size = cells * layers;
    const score = new Float32Array(lengths.length).fill(INVALID_SCORE);
    const whole = lengths.map(() => false);
    for (let at = 0; at < lengths.length; at += CHUNK) {
      const part = await this.scoreFinal(values.subarray(at * size, (at + CHUNK) * size));
      part.valid.forEach((valid, i) => {
        if (!valid || lengths[at + i] !== cells) return;
        score[at + i] = part.score[i] ?? NaN;
        whole[at + i] = true;
      });
    }
    return { score, alarm: lengths.map(() => 0), whole };
  }

  /**
   * @param {Float32Array} values
   * @param {number[]} lengths
   * @returns {Promise<Judged>}
   */
  async #online(values, lengths) {
    const { cells, layers } = this.manifest.signal;
    const size = cells * layers;
    const rows = Math.max(1, Math.floor(CHUNK / cells));
    const worst = new Float32Array(lengths.length).fill(-Infinity);
    const alarm = lengths.map(() => -1);
    const whole = lengths.map((length) => length > 0);
    for (let at = 0; at < lengths.length; at += rows) {
      const count = Math.min(rows, lengths.length - at);
      const repeated = new Float32Array(count * cells * size);
      for (let i = 0; i < count * cells; i += 1) {
        const row = at + Math.floor(i / cells);
        repeated.set(values.subarray(row * size, (row + 1) * size), i * size);
      }
      const each = Array.from({ length: count * cells }, (_, i) => (i % cells) + 1);
      const { score, valid } = await this.scorePrefix(repeated, each);
      each.forEach((length, i) => {
        const row = at + Math.floor(i / cells);
        if (length > /** @type {number} */ (lengths[row])) return;
        if (!valid[i]) {
          whole[row] = false;
          return;
        }
        const z = /** @type {number} */ (score[i]);
        if (z > /** @type {number} */ (worst[row])) worst[row] = z;
        if (alarm[row] === -1 && z > this.#rules.online.value) alarm[row] = length - 1;
      });
    }
    return { score: worst, alarm, whole };
  }

  /**
   * Why a row could not be judged completely.
   * @param {Float32Array} values
   * @param {number} row
   * @param {number} length
   * @param {Rule} rule
   */
  #why(values, row, length, rule) {
    const { cells, layers } = this.manifest.signal;
    if (length === 0 || (rule === "final" && length < cells)) return INCOMPLETE;
    return this.unreadable(values.subarray(row * cells * layers, (row * cells + length) * layers));
  }

  /**
   * Why cells that were seen could not be scored.
   * @param {Float32Array} seen
   */
  unreadable(seen) {
    // As float32, in which the graphs compare them.
    const [low, high] = [this.manifest.signal.low, this.manifest.signal.high].map(Math.fround);
    if (!seen.every(Number.isFinite)) return NOT_FINITE;
    return seen.every((x) => x > Number(low) && x < Number(high)) ? UNSCORABLE : OUT_OF_RANGE;
  }
}
