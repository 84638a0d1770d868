/**
 * How much memory a file takes once it is loaded, and how much memory and time one row, from sizes and shapes alone.
 *
 * onnxruntime chooses the order of the nodes itself, and it is not the order in the file: tensors that are short-lived in
 * the file may all be alive at once. So memory is the sum over all results, a bound that holds in every order. Time is
 * counted in nanoseconds of one slow core; each weight below is the slowest case that was measured, rounded up.
 *
 * The limits are those of `sri_sdk/scoring/inspect/work.py`; a test holds both against the same graphs.
 */

import { SVM, TREES } from "./operators.js";
import { elements } from "./shapes.js";
import { Refused } from "./wire.js";

/** @typedef {import("./shapes.js").Shape} Shape */
/** @typedef {import("./shapes.js").Call} Call */
/** @typedef {{ shape: Shape, width: number }} Input  its shape, and bytes of one element */

/**
 * Bytes of constants, and three times all other bytes of a file: onnxruntime keeps three copies of a constant while it
 * loads, five of a name or a text, and up to fifteen times the size of trees.
 */
const MOST_FILE = 12 * 2 ** 20;
/** The same for inputs so large that this gives more: `full` has two anchors per hidden state. */
const FILE_PER_INPUT_BYTE = 4;
const OTHER = 3;

/** Bytes per row of all results together. */
export const MOST_BYTES = 2 ** 24;
/** The same for inputs so large that this gives more. */
const BYTES_PER_INPUT_BYTE = 32;
/** Nanoseconds per row. A network that fills its file uses each of its weights once, and ten times that is allowed. */
export const MOST_TIME = 2 ** 25;
/** The same per element of the inputs. */
const TIME_PER_INPUT = 2 ** 7;

/** A call of an operator, however small. */
const NODE = 2 ** 11;
/** One element of a result: a logarithm, or a maximum with a broadcast operand. */
const ELEMENT = 8;
/** One element where memory is read out of order. */
const SCATTERED = 32;
const VIEW = 1;
/** One product of matrices among those of a MatMul, however small they are. */
const PRODUCT = 512;
/** One branch of a tree: the node is rarely in a cache. */
const BRANCH = 64;
/** One element per halving of what is picked: for one of two, twice; for all of them, a whole sort. */
const SORTED = 8;
/** Bytes per element that is sorted: its place, and a copy of it. */
const PLACES = 16;
const INDEX = 8;
/** The exponential or power of one support vector. */
const KERNEL = 64;
const WEIGHTS = new Map([["Where", SCATTERED], ["Gather", SCATTERED], ["Reshape", VIEW], ["Squeeze", VIEW], ["Unsqueeze", VIEW]]);
/** Copies of its result that an operator makes on the way. */
const COPIES = new Map([["Where", 3]]);

/**
 * Refuses a file that takes too much once it is loaded.
 * @param {number} size  bytes of the file
 * @param {number} constants  bytes of it that are initializers
 * @param {Input[]} inputs
 * @throws {Refused} the file is too large
 */
export function affordable(size, constants, inputs) {
  const most = Math.max(MOST_FILE, FILE_PER_INPUT_BYTE * bytes(inputs));
  if (constants + OTHER * (size - constants) > most) {
    throw new Refused(
      `it has ${constants} bytes of constants and ${size - constants} others, which count ${OTHER} times; allowed: up to ${most} together`,
    );
  }
}

/** @param {Input[]} inputs */
const bytes = (inputs) => inputs.reduce((sum, { shape, width }) => sum + elements(shape) * width, 0);

/** Upper bounds for one row, filled node by node. What does not depend on the row counts as well. */
export class Work {
  /** @param {Input[]} inputs */
  constructor(inputs) {
    /** Bytes of the inputs and all results. */
    this.size = bytes(inputs);
    /** Nanoseconds. */
    this.time = 0;
    this.mostBytes = Math.max(MOST_BYTES, BYTES_PER_INPUT_BYTE * this.size);
    this.mostTime = Math.max(MOST_TIME, TIME_PER_INPUT * inputs.reduce((sum, { shape }) => sum + elements(shape), 0));
  }

  /**
   * Counts one node.
   * @param {Call} call
   * @param {Shape[]} inputs
   * @param {Shape} result
   * @param {number} width  bytes of an element of the result
   * @throws {Refused} all nodes so far take more memory or time than a bundle may
   */
  add(call, inputs, result, width) {
    const { op, steps } = call;
    const count = elements(result);
    const first = inputs[0] ?? [];
    this.size += count * width * (COPIES.get(op) ?? 1);
    this.time += NODE + count * (WEIGHTS.get(op) ?? ELEMENT);
    if (op === "MatMul" || op === "Gemm") {
      this.time += count * inner(call, first) + PRODUCT * elements(result.slice(0, -2));
    } else if (op === "ReduceSum") {
      // The input may be transposed first.
      this.size += elements(first) * width;
      this.time += elements(first) * ELEMENT;
    } else if (op === "TopK") {
      const picked = /** @type {number} */ (result.at(call.attributes.get("axis") ?? -1));
      this.size += elements(first) * PLACES + count * INDEX;
      this.time += elements(first) * SORTED * (Math.floor(Math.log2(picked)) + 1);
    } else if (op === TREES) {
      this.time += count * steps * BRANCH;
    } else if (op === SVM) {
      this.size += count * steps * width;
      this.time += count * steps * (call.width + KERNEL);
    }
    const upTo = `up to ${op} ${JSON.stringify(call.output)}`;
    if (this.size > this.mostBytes) {
      throw new Refused(`its results ${upTo} take ${this.size} bytes per row, allowed: up to ${this.mostBytes}`);
    }
    if (this.time > this.mostTime) {
      throw new Refused(`its nodes ${upTo} may take ${this.time} ns per row, allowed: up to ${this.mostTime}`);
    }
  }
}

/**
 * Products per element of a matrix product.
 * @param {Call} call
 * @param {Shape} left
 */
const inner = ({ attributes }, left) => elements(left.slice(attributes.get("transA") ? -2 : -1).slice(0, 1));
