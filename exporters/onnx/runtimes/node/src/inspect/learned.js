/**
 * The two operators of ai.onnx.ml that hold what was learnt in attributes: their arrays must be what they claim to be.
 *
 * A cycle among the nodes of a tree never ends, a very deep tree exhausts the stack, and a feature that does not exist
 * reads memory that belongs to somebody else.
 */

import { latin } from "../bytes.js";
import { asSigned, asSpan, floats, ints, Refused } from "./wire.js";

const MOST_DEPTH = 64;
const MOST_NODES = 2 ** 20;

/** @typedef {Map<string, import("./wire.js").Value[]>} Values attribute name -> its values */

/**
 * Columns that the trees of one TreeEnsembleRegressor look at, and branches that a row takes at most.
 * @param {Uint8Array} data
 * @param {Values} values
 * @returns {[number, number]}
 * @throws {Refused} the attributes are not whole trees with one value per leaf
 */
export function treesSize(data, values) {
  const read = (/** @type {string} */ name) => ints(data, spans(values, name));
  const tree = read("nodes_treeids");
  const node = read("nodes_nodeids");
  const feature = read("nodes_featureids");
  const yes = read("nodes_truenodeids");
  const no = read("nodes_falsenodeids");
  const thresholds = floats(data, spans(values, "nodes_values"));
  const weights = floats(data, spans(values, "target_weights"));
  const inner = branches(data, values);
  const size = inner.length;
  if (!size || size > MOST_NODES || [tree, node, feature, yes, no, thresholds].some((x) => x.length !== size)) {
    throw new Refused("a tree ensemble has arrays of different lengths, no nodes, or too many");
  }
  const roots = rootsOf(tree, node);
  const depth = whole(roots, inner, yes, no);
  if (![...thresholds, ...weights].every(Number.isFinite)) {
    throw new Refused("a tree ensemble holds numbers that are not finite");
  }
  leavesOnce(inner, tree, node, read, weights.length);
  if (wholeNumber(values, "n_targets") !== 1) throw new Refused("a tree ensemble has more than one result");
  const missing = read("nodes_missing_value_tracks_true");
  if (values.get("base_values")?.length || ![0, size].includes(missing.length) || missing.some((x) => x !== 0)) {
    throw new Refused("a tree ensemble may have no base values and no way of its own for missing ones");
  }
  named(data, values, "aggregate_function", ["SUM"]);
  named(data, values, "post_transform", ["NONE"]);
  let width = 0;
  feature.forEach((column, i) => {
    if (column >= MOST_NODES || (inner[i] && column < 0)) {
      throw new Refused("a tree ensemble looks at a column that no signal has");
    }
    if (inner[i]) width = Math.max(width, column + 1);
  });
  return [width, roots.length * depth];
}

/**
 * Columns of the support vectors of one SVMRegressor, and how many there are.
 * @param {Uint8Array} data
 * @param {Values} values
 * @returns {[number, number]}
 * @throws {Refused} the attributes are not one support vector machine
 */
export function svmSize(data, values) {
  const read = (/** @type {string} */ name) => floats(data, spans(values, name)).length;
  const vectors = read("support_vectors");
  const supports = wholeNumber(values, "n_supports");
  if (supports < 1 || read("coefficients") !== supports || !vectors || vectors % supports) {
    throw new Refused("a support vector machine has arrays that do not fit its number of supports");
  }
  if (read("rho") !== 1 || read("kernel_params") !== 3) {
    throw new Refused("a support vector machine needs one rho and three kernel parameters");
  }
  named(data, values, "kernel_type", ["LINEAR", "POLY", "RBF", "SIGMOID"]);
  named(data, values, "post_transform", ["NONE"]);
  return [vectors / supports, supports];
}

/**
 * Position of the root of every tree.
 * @param {number[]} tree
 * @param {number[]} node
 */
function rootsOf(tree, node) {
  /** @type {number[]} */
  const roots = [];
  tree.forEach((id, i) => {
    if (id === roots.length) roots.push(i);
    if (id !== roots.length - 1 || node[i] !== i - /** @type {number} */ (roots.at(-1))) {
      throw new Refused("a tree ensemble does not count its trees and their nodes from 0");
    }
  });
  return roots;
}

/**
 * Number of levels. Every node but a root has one parent, and all are met on the way down from the roots, which is not
 * long.
 * @param {number[]} roots
 * @param {boolean[]} inner
 * @param {number[]} yes
 * @param {number[]} no
 */
function whole(roots, inner, yes, no) {
  const parents = new Uint32Array(inner.length);
  /** Positions of the two children. @type {Map<number, [number, number]>} */
  const below = new Map();
  roots.forEach((root, tree) => {
    const limit = (roots[tree + 1] ?? inner.length) - root;
    parents[root] = (parents[root] ?? 0) + 1;
    for (let i = root; i < root + limit; i += 1) {
      if (!inner[i]) continue;
      const [left, right] = [yes[i] ?? 0, no[i] ?? 0];
      if (left <= 0 || right <= 0 || left >= limit || right >= limit) {
        throw new Refused("a tree ensemble has a branch that leads out of its tree, or back to its root");
      }
      below.set(i, [root + left, root + right]);
      for (const child of [root + left, root + right]) parents[child] = (parents[child] ?? 0) + 1;
    }
  });
  if (parents.some((count) => count !== 1)) {
    throw new Refused("a tree ensemble is not made of trees: a node has no parent, or two");
  }
  let met = 0;
  let level = roots;
  let depth = 0;
  for (; level.length && depth < MOST_DEPTH; depth += 1) {
    met += level.length;
    level = level.flatMap((at) => below.get(at) ?? []);
  }
  if (met !== inner.length) throw new Refused(`a tree ensemble has a cycle, or a tree deeper than ${MOST_DEPTH}`);
  return depth;
}

/**
 * Each leaf has one value, in the order of the leaves.
 * @param {boolean[]} inner
 * @param {number[]} tree
 * @param {number[]} node
 * @param {(name: string) => number[]} read
 * @param {number} weights
 */
function leavesOnce(inner, tree, node, read, weights) {
  const leaves = inner.flatMap((branch, i) => (branch ? [] : [i]));
  const trees = read("target_treeids");
  const nodes = read("target_nodeids");
  const targets = read("target_ids");
  const fit = [weights, trees.length, nodes.length, targets.length].every((length) => length === leaves.length)
    && leaves.every((leaf, i) => tree[leaf] === trees[i] && node[leaf] === nodes[i] && targets[i] === 0);
  if (!fit) throw new Refused("a tree ensemble does not give each leaf one value");
}

/**
 * Whether each node branches.
 * @param {Uint8Array} data
 * @param {Values} values
 */
function branches(data, values) {
  const inner = [];
  for (const [start, end] of spans(values, "nodes_modes")) {
    // The wire reader let nothing else through than these two words.
    for (let at = start; at < end; at += 2 + /** @type {number} */ (data[at + 1])) inner.push(data[at + 1] !== 4);
  }
  return inner;
}

/**
 * @param {Values} values
 * @param {string} name
 */
const spans = (values, name) => (values.get(name) ?? []).map(asSpan);

/**
 * @param {Values} values
 * @param {string} name
 */
const wholeNumber = (values, name) => asSigned((values.get(name) ?? [0])[0] ?? 0);

/**
 * A string attribute that is left out has its default, the first allowed one.
 * @param {Uint8Array} data
 * @param {Values} values
 * @param {string} name
 * @param {string[]} allowed
 */
function named(data, values, name, allowed) {
  for (const [start, end] of spans(values, name)) {
    const found = end - start <= 40 ? latin(data.subarray(start, end)) : "a long text";
    if (!allowed.includes(found)) {
      throw new Refused(`${name} is ${JSON.stringify(found)}, allowed: ${allowed.join(", ")}`);
    }
  }
}
