/** One generation that is still running, judged by several parts. */

import { ScoringError } from "./errors.js";
import { nothingFound, take } from "./guard-2.js";
import { groupOf, judge } from "./verdict-2.js";

/** Cells come in one by one; every length is judged once, and an alarm stands once it rang. */
export class Stream2 {
  #given;
  #values;
  #length = 0;
  #found;

  /**
   * Use `guard.stream`.
   * @param {object} given
   * @param {import("./guard-2.js").PartsGuard} given.guard
   * @param {number} given.alpha
   * @param {import("./verdict-2.js").Part[]} given.parts  under the online rule
   * @param {string} given.id
   * @param {number | null} given.request
   * @param {string | null} given.group
   * @param {string[]} given.accepted
   */
  constructor(given) {
    const { cells, columns } = given.guard.manifest.signal;
    this.#given = given;
    this.#found = given.parts.map(() => nothingFound(true));
    this.#values = new Float32Array(cells * columns.length).fill(NaN);
    if (columns.at(-1)?.kind !== "request") return;
    // The request has one number, which stands in every cell.
    for (let t = 1; t <= cells; t += 1) this.#values[t * columns.length - 1] = given.request ?? NaN;
  }

  /** Cells given so far. */
  get length() {
    return this.#length;
  }

  /**
   * Takes the next cell, in the bundle's domain, and judges the generation as far as it is known. Wait for the answer
   * before the next call.
   * @param {number | null | readonly (number | null)[]} cell  one number, or one per column of kind sri; null = not finite
   * @returns {Promise<import("../index.js").Prefix2>}
   * @throws {ScoringError} the generation is complete, or it is another number of columns
   */
  async push(cell) {
    const { guard, parts, id, group } = this.#given;
    const { cells, columns } = guard.manifest.signal;
    const sri = columns.filter(({ kind }) => kind === "sri").length;
    const numbers = Array.isArray(cell) ? cell : [cell];
    if (this.#length === cells || numbers.length !== sri) {
      throw new ScoringError(
        `${id}: cell ${this.#length} with ${numbers.length} numbers; a generation has ${cells} cells of ${sri}. ` +
          "Start a new stream for another generation.",
      );
    }
    this.#values.set(numbers.map((x) => (typeof x === "number" ? x : NaN)), this.#length * columns.length);
    this.#length += 1;
    const { score, valid } = await guard.scorePrefix(this.#values, [this.#length]);
    const { key } = groupOf(guard.manifest, group);
    const now = parts.map(() => nothingFound(true));
    take(now, parts, { score, valid }, 0, this.#length, key);
    now.forEach((one, k) => {
      const own = /** @type {typeof one} */ (this.#found[k]);
      own.whole &&= one.whole;
      own.score = Math.max(own.score, one.score);
      if (own.alarm < 0) own.alarm = one.alarm;
    });
    const each = parts.map(({ name }, k) => {
      const { score: z, alarm, whole } = /** @type {(typeof now)[number]} */ (now[k]);
      return { name, score: whole ? z : null, alarm: alarm >= 0 };
    });
    return { length: this.#length, alarm: each.some(({ alarm }) => alarm), parts: each };
  }

  /** The verdict of the online rule on what was seen so far. */
  verdict() {
    const { guard, alpha, parts, id, group, accepted } = this.#given;
    const found = this.#found.map((one) => ({ ...one, whole: one.whole && this.#length > 0 }));
    return judge({
      manifest: guard.manifest, id, rule: "online", alpha, parts, found, values: this.#values, length: this.#length, group, accepted,
    });
  }
}
