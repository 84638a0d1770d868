/** One generation that is still running. */

import { ScoringError } from "./errors.js";
import { INCOMPLETE } from "./verdict.js";

/** Cells come in one by one; every length is judged once, and an alarm stands once it rang. */
export class Stream {
  #guard;
  #id;
  #accepted;
  #values;
  #length = 0;
  #worst = -Infinity;
  #alarm = -1;
  #whole = true;

  /**
   * Use `guard.stream`.
   * @param {import("./guard.js").Guard} guard
   * @param {string} id
   * @param {string[]} accepted
   */
  constructor(guard, id, accepted) {
    const { cells, layers } = guard.manifest.signal;
    this.#guard = guard;
    this.#id = id;
    this.#accepted = accepted;
    this.#values = new Float32Array(cells * layers).fill(NaN);
  }

  /** Cells given so far. */
  get length() {
    return this.#length;
  }

  /**
   * Takes the next cell, in the bundle's domain, and judges the generation as far as it is known. Wait for the answer
   * before the next call.
   * @param {number | null | readonly (number | null)[]} cell  one number, or one per tapped layer; null = not finite
   * @returns {Promise<import("../index.js").Prefix>}
   * @throws {ScoringError} the generation is complete, or it is another number of layers
   */
  async push(cell) {
    const { cells, layers } = this.#guard.manifest.signal;
    const numbers = Array.isArray(cell) ? cell : [cell];
    if (this.#length === cells || numbers.length !== layers) {
      throw new ScoringError(
        `${this.#id}: cell ${this.#length} with ${numbers.length} numbers; a generation has ${cells} cells of ${layers}. ` +
          "Start a new stream for another generation.",
      );
    }
    this.#values.set(numbers.map((x) => (typeof x === "number" ? x : NaN)), this.#length * layers);
    this.#length += 1;
    const { score, valid } = await this.#guard.scorePrefix(this.#values, [this.#length]);
    const z = valid[0] ? /** @type {number} */ (score[0]) : null;
    const alarm = z !== null && z > this.#guard.thresholds.online;
    if (z === null) this.#whole = false;
    else this.#worst = Math.max(this.#worst, z);
    if (alarm && this.#alarm < 0) this.#alarm = this.#length - 1;
    return { length: this.#length, score: z, alarm };
  }

  /** The verdict of the online rule on what was seen so far. */
  verdict() {
    const { layers } = this.#guard.manifest.signal;
    const seen = this.#values.subarray(0, this.#length * layers);
    const reasons = !this.#length ? [INCOMPLETE] : this.#whole ? [] : [this.#guard.unreadable(seen)];
    return this.#guard.verdict({
      id: this.#id,
      rule: "online",
      score: this.#worst,
      alarm: this.#alarm,
      reasons,
      accepted: this.#accepted,
    });
  }
}
