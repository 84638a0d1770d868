/**
 * The data type of every tensor of a portable graph, as far as it takes to see that no operator divides whole numbers
 * by just anything.
 *
 * Such a division stops the whole process where it has no result (by zero, or the lowest number by -1), and a runtime
 * that folds constants divides while it loads. So whole numbers are divided by constants only.
 */

import { BOOL, FLOAT, FLOATS, SVM, TREES } from "./operators.js";
import { Refused } from "./wire.js";

const COMPARISONS = new Set(["Equal", "Greater", "Less"]);

/** Tensor name -> data type, filled node by node. */
export class Dtypes {
  /**
   * @param {Iterable<[string, number]>} known  of inputs and constants
   * @param {(name: string) => number[]} constant  values of a constant of small integers; refuses anything else
   */
  constructor(known, constant) {
    this.known = new Map(known);
    this.constant = constant;
  }

  /**
   * Works out the result of one node, whose inputs are known.
   * @param {string} op
   * @param {string[]} inputs
   * @param {string} output
   * @param {Map<string, number>} attributes  those that are one integer
   * @throws {Refused} it divides whole numbers by something else than a constant, or by 0 or -1
   */
  add(op, inputs, output, attributes) {
    if (op === "Div" && !FLOATS.has(this.known.get(inputs[0] ?? "") ?? 0) && !this.#divides(inputs[1] ?? "")) {
      throw new Refused(`Div ${JSON.stringify(output)} divides whole numbers by what may stop the process`);
    }
    this.known.set(output, this.#result(op, inputs, attributes));
  }

  /** @param {string} divisor */
  #divides(divisor) {
    return !this.constant(divisor).some((value) => value === 0 || value === -1);
  }

  /**
   * @param {string} op
   * @param {string[]} inputs
   * @param {Map<string, number>} attributes
   * @throws {Refused} a cast that does not say to what
   */
  #result(op, inputs, attributes) {
    if (op === "Cast") {
      const to = attributes.get("to");
      if (to === undefined) throw new Refused("Cast does not say to which type");
      return to;
    }
    if (COMPARISONS.has(op)) return BOOL;
    if (op === TREES || op === SVM) return FLOAT;
    return this.known.get((op === "Where" ? inputs[1] : inputs[0]) ?? "") ?? 0;
  }
}
