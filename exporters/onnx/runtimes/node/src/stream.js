/** One generation that is still running. */

import { ScoringError } from "./errors.js";
import { nothingFound, take } from "./findings.js";
import { groupOf } from "./plan.js";
import { judge } from "./verdict.js";

/** @typedef {import("./findings.js").Found} Found */

/** Cells come in one by one; every length is judged once, and an alarm stands once it rang. */
export class Stream {
  #given;
  #parts;
  #values;
  #length = 0;
  /** @type {Found[]} */
  #found;

  /**
   * Use `guard.stream`.
   * @param {object} given
   * @param {import("./plan.js").Plan} given.plan
   * @param {(signals: Float32Array, lengths: number[]) => Promise<import("./runtime.js").Scored>} given.run  the graph `prefix`
   * @param {string} given.id
   * @param {number | null} given.request
   * @param {string | null} given.group
   * @param {string[]} given.accepted
   */
  constructor(given) {
    const { cells, columns, rules } = given.plan;
    this.#given = given;
    this.#parts = rules.get("online")?.parts ?? [];
    this.#found = this.#parts.map(() => nothingFound(true));
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
   * @param {number | null | readonly (number | null)[]} cell  one number, or one per column that a tap fills; null = not
   *   finite
   * @returns {Promise<import("../index.js").Prefix>}
   * @throws {ScoringError} the generation is complete, or it is another number of columns
   */
  async push(cell) {
    const { plan, run, id, group } = this.#given;
    const { cells, columns, manifest } = plan;
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
    const now = this.#parts.map(() => nothingFound(true));
    take(now, this.#parts, await run(this.#values, [this.#length]), 0, this.#length, groupOf(plan, group).key);
    this.#found = this.#found.map((before, k) => {
      const { score, alarm, whole } = /** @type {Found} */ (now[k]);
      return {
        score: Math.max(before.score, score), alarm: before.alarm < 0 ? alarm : before.alarm, whole: before.whole && whole,
      };
    });
    const parts = now.map(({ score, alarm, whole }, k) =>
      ({ name: this.#parts[k]?.name ?? "", score: whole ? score : null, alarm: alarm >= 0 }));
    const told = { length: this.#length, alarm: parts.some(({ alarm }) => alarm) };
    return manifest.format === 2 ? { ...told, parts } : { ...told, score: parts[0]?.score ?? null };
  }

  /** The verdict of the online rule on what was seen so far. */
  verdict() {
    const { plan, id, group, accepted } = this.#given;
    const found = this.#found.map((one) => ({ ...one, whole: one.whole && this.#length > 0 }));
    return judge({ plan, id, rule: "online", found, values: this.#values, length: this.#length, group, accepted });
  }
}
