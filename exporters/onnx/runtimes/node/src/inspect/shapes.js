/**
 * The shape of every tensor of a portable graph, from the graph alone.
 *
 * Two small constants can be broadcast into gigabytes, and a graph that mixes the rows of a batch gives a verdict that
 * depends on whose generation was scored beside it. Both show in the shapes: a tensor has a known number of elements
 * per row, and the batch is its first dimension and no other.
 */

import { SVM, TREES } from "./operators.js";
import { Refused } from "./wire.js";

/** The free dimension, only ever the first: a number that no shape in a file can hold. */
export const BATCH = -2;
/** Elements per row of one tensor that a graph computes: 4 MiB. With larger inputs it may compute four times those. */
const MOST_ELEMENTS = 2 ** 20;

/** @typedef {readonly number[]} Shape */
/**
 * One node: what shapes need to know of it.
 * @typedef {object} Call
 * @property {string} op
 * @property {string[]} inputs
 * @property {string} output
 * @property {Map<string, number>} attributes  those that are one integer
 * @property {number} width  columns a tree ensemble or a support vector machine looks at
 * @property {number} steps  branches that a tree ensemble takes at most, or support vectors
 */
/** @typedef {(shapes: Shapes, call: Call, inputs: Shape[]) => Shape} Rule */

/** Shapes that do not go together. */
class Unfit extends Error {}

/** Tensor name -> shape, filled node by node. */
export class Shapes {
  /**
   * @param {Map<string, Shape>} known  of the inputs, from which the limits follow
   * @param {(name: string) => number[]} constant  values of a constant of small integers; refuses anything else
   */
  constructor(known, constant) {
    this.known = known;
    this.constant = constant;
    this.most = Math.max(MOST_ELEMENTS, ...[...known.values()].map((shape) => 4 * elements(shape)));
  }

  /**
   * Works out the result of one node, whose inputs are known.
   * @param {Call} call
   * @throws {Refused} the shapes do not go together, mix rows, or are too large
   */
  add(call) {
    const inputs = call.inputs.map((name) => /** @type {Shape} */ (this.known.get(name)));
    const what = `${call.op} ${JSON.stringify(call.output)}`;
    /** @type {Shape} */
    let shape;
    try {
      shape = /** @type {Rule} */ (RULES.get(call.op))(this, call, inputs);
    } catch (err) {
      if (!(err instanceof Unfit)) throw err;
      throw new Refused(`${what} does not fit its inputs ${inputs.map(said).join(", ")}`, { cause: err });
    }
    if (shape.includes(BATCH, 1)) throw new Refused(`${what} mixes the rows of a batch (shape ${said(shape)})`);
    if (elements(shape) > this.most) {
      throw new Refused(`${what} has ${elements(shape)} elements per row, allowed: up to ${this.most}`);
    }
    this.known.set(call.output, shape);
  }
}

/**
 * Per row of the batch.
 * @param {Shape} shape
 */
export function elements(shape) {
  return shape.reduce((product, size) => (size === BATCH ? product : product * size), 1);
}

/** @param {Shape} shape */
const said = (shape) => `[${shape.map((size) => (size === BATCH ? "B" : size)).join(", ")}]`;

/**
 * Exactly so many inputs, or between two numbers of them.
 * @param {Shape[]} inputs
 * @param {number} least
 * @param {number} [most]
 */
function count(inputs, least, most = least) {
  if (inputs.length < least || inputs.length > most) throw new Unfit();
}

/** @param {...Shape} shapes */
function broadcast(...shapes) {
  if (!shapes.length) throw new Unfit();
  const rank = Math.max(...shapes.map((shape) => shape.length));
  return Array.from({ length: rank }, (_, axis) => {
    const wide = new Set(shapes.map((shape) => shape[axis - rank + shape.length] ?? 1).filter((size) => size !== 1));
    if (wide.size > 1) throw new Unfit();
    return [...wide][0] ?? 1;
  });
}

/** @type {Rule} */
const elementwise = (_, __, inputs) => broadcast(...inputs);

/** @type {Rule} */
const matmul = (_, __, inputs) => {
  count(inputs, 2);
  const [a, b] = /** @type {[Shape, Shape]} */ (inputs);
  if (!a.length || !b.length) throw new Unfit();
  const left = a.length > 1 ? a : [1, ...a];
  const right = b.length > 1 ? b : [...b, 1];
  if (left.at(-1) !== right.at(-2) || left.at(-1) === BATCH) throw new Unfit();
  const rows = a.length > 1 ? left.slice(-2, -1) : [];
  const columns = b.length > 1 ? right.slice(-1) : [];
  return [...broadcast(left.slice(0, -2), right.slice(0, -2)), ...rows, ...columns];
};

/** @type {Rule} */
const gemm = (_, call, inputs) => {
  count(inputs, 2, 3);
  const [a, b] = /** @type {[Shape, Shape]} */ (inputs);
  if (a.length !== 2 || b.length !== 2) throw new Unfit();
  const [rows, inner] = /** @type {[number, number]} */ (call.attributes.get("transA") ? [...a].reverse() : a);
  const [again, columns] = /** @type {[number, number]} */ (call.attributes.get("transB") ? [...b].reverse() : b);
  if (inner !== again || inner === BATCH) throw new Unfit();
  const result = [rows, columns];
  if (inputs.length > 2 && !same(broadcast(/** @type {Shape} */ (inputs[2]), result), result)) throw new Unfit();
  return result;
};

/** @type {Rule} */
const reduce = (shapes, call, inputs) => {
  count(inputs, 2);
  const shape = /** @type {Shape} */ (inputs[0]);
  const dropped = axes(shapes.constant(/** @type {string} */ (call.inputs[1])), shape.length);
  if (shape.some((size, axis) => size === BATCH && dropped.has(axis))) {
    throw new Refused(`${call.op} ${JSON.stringify(call.output)} sums over the rows of a batch`);
  }
  if (call.attributes.get("keepdims") ?? 1) return shape.map((size, axis) => (dropped.has(axis) ? 1 : size));
  return shape.filter((_, axis) => !dropped.has(axis));
};

/** @type {Rule} */
const reshape = (shapes, call, inputs) => {
  count(inputs, 2);
  const old = /** @type {Shape} */ (inputs[0]);
  const wanted = shapes.constant(/** @type {string} */ (call.inputs[1]));
  const free = wanted.flatMap((size, axis) => (size === -1 ? [axis] : []));
  if (call.attributes.get("allowzero") || free.length > 1 || wanted.some((size) => size < -1)) throw new Unfit();
  const fresh = wanted.map((size, axis) => {
    const found = size === 0 ? old[axis] : size;
    if (found === undefined) throw new Unfit();
    return found;
  });
  const hole = free[0];
  if (hole !== undefined && old.includes(BATCH) && !fresh.includes(BATCH)) {
    fresh[hole] = BATCH;
  } else if (hole !== undefined) {
    fresh[hole] = Math.floor(elements(old) / elements(fresh.filter((size) => size !== -1)));
  }
  if (elements(fresh) !== elements(old) || old.includes(BATCH) !== fresh.includes(BATCH)) throw new Unfit();
  return fresh;
};

/** @type {Rule} */
const squeeze = (shapes, call, inputs) => {
  count(inputs, 2);
  const shape = /** @type {Shape} */ (inputs[0]);
  const dropped = axes(shapes.constant(/** @type {string} */ (call.inputs[1])), shape.length);
  if (shape.some((size, axis) => size !== 1 && dropped.has(axis))) throw new Unfit();
  return shape.filter((_, axis) => !dropped.has(axis));
};

/** @type {Rule} */
const unsqueeze = (shapes, call, inputs) => {
  count(inputs, 2);
  const shape = /** @type {Shape} */ (inputs[0]);
  const given = shapes.constant(/** @type {string} */ (call.inputs[1]));
  const rank = shape.length + given.length;
  const added = axes(given, rank);
  const sizes = shape[Symbol.iterator]();
  return Array.from({ length: rank }, (_, axis) => (added.has(axis) ? 1 : /** @type {number} */ (sizes.next().value)));
};

/** @type {Rule} */
const gather = (_, call, inputs) => {
  count(inputs, 2);
  const [data, index] = /** @type {[Shape, Shape]} */ (inputs);
  const axis = [...axes([call.attributes.get("axis") ?? 0], data.length)][0] ?? 0;
  if (data[axis] === BATCH) throw new Refused(`${call.op} ${JSON.stringify(call.output)} picks rows of a batch`);
  return [...data.slice(0, axis), ...index, ...data.slice(axis + 1)];
};

/** @type {Rule} */
const top = (shapes, call, inputs) => {
  count(inputs, 2);
  const shape = /** @type {Shape} */ (inputs[0]);
  const wanted = shapes.constant(/** @type {string} */ (call.inputs[1]));
  const axis = [...axes([call.attributes.get("axis") ?? -1], shape.length)][0] ?? 0;
  const size = /** @type {number} */ (shape[axis]);
  if (size === BATCH) throw new Refused(`${call.op} ${JSON.stringify(call.output)} picks rows of a batch`);
  const few = wanted[0];
  if (wanted.length !== 1 || few === undefined || few < 1 || few > size) throw new Unfit();
  return shape.map((each, at) => (at === axis ? few : each));
};

/** A tree ensemble or a support vector machine: [B, F] -> [B, 1]. @type {Rule} */
const columns = (_, call, inputs) => {
  count(inputs, 1);
  const shape = /** @type {Shape} */ (inputs[0]);
  if (shape.length !== 2) throw new Unfit();
  const [rows, width] = /** @type {[number, number]} */ (shape);
  if (width < call.width || (call.op === SVM && width !== call.width)) {
    throw new Refused(`${call.op} ${JSON.stringify(call.output)} looks at ${call.width} columns of ${width}`);
  }
  return [rows, 1];
};

/**
 * @param {readonly number[]} given
 * @param {number} rank
 */
function axes(given, rank) {
  const found = new Set(given.map((axis) => (axis < 0 ? axis + rank : axis)));
  if (found.size !== given.length || [...found].some((axis) => axis < 0 || axis >= rank)) throw new Unfit();
  return found;
}

/**
 * @param {Shape} a
 * @param {Shape} b
 */
const same = (a, b) => a.length === b.length && a.every((size, axis) => size === b[axis]);

/** One per portable operator. @type {Map<string, Rule>} */
const RULES = new Map([
  .../** @type {[string, Rule][]} */ (
    "Add Sub Mul Div Max Sqrt Log Exp Sigmoid Relu Where Equal Less Greater Cast"
      .split(" ").map((op) => [op, elementwise])
  ),
  ["MatMul", matmul],
  ["Gemm", gemm],
  ["ReduceSum", reduce],
  ["Reshape", reshape],
  ["Squeeze", squeeze],
  ["Unsqueeze", unsqueeze],
  ["Gather", gather],
  ["TopK", top],
  [TREES, columns],
  [SVM, columns],
]);
