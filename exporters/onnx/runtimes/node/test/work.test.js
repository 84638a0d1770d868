import assert from "node:assert/strict";
import { test } from "node:test";

import { inspect } from "../src/index.js";
import { eachLength, MOST_NUMBERS } from "../src/findings.js";
import { BATCH } from "../src/inspect/shapes.js";
import { Refused } from "../src/inspect/wire.js";
import { affordable, MOST_BYTES, MOST_TIME, Work } from "../src/inspect/work.js";
import { Session } from "../src/runtime.js";
import { members, NAMES } from "./vectors.js";

const signals = { shape: [BATCH, 4, 1], width: 4 };
const call = (op, more = {}) => ({ op, inputs: ["signals"], output: "y", attributes: new Map(), width: 0, steps: 0, ...more });
const counted = (one, inputs, result, width = 4) => {
  const work = new Work([signals]);
  work.add(one, inputs, result, width);
  return [work.size - 16, work.time - 2 ** 11];
};

test("a result counts with its bytes, its copies and the time of its elements", () => {
  assert.deepEqual(counted(call("Add"), [signals.shape], [BATCH, 10]), [40, 80]);
  assert.deepEqual(counted(call("Where"), [signals.shape], [BATCH, 10]), [120, 320]);
  assert.deepEqual(counted(call("Cast"), [signals.shape], [BATCH, 10], 16), [160, 80]);
  assert.deepEqual(counted(call("ReduceSum"), [[BATCH, 10]], [BATCH]), [44, 88]);
});

test("products, branches and support vectors count one by one", () => {
  assert.deepEqual(counted(call("MatMul"), [[BATCH, 4, 7]], [BATCH, 4, 3]), [48, 12 * 8 + 12 * 7 + 512]);
  assert.deepEqual(counted(call("Gemm", { attributes: new Map([["transA", 1]]) }), [[7, 2]], [2, 3]), [24, 6 * 8 + 6 * 7 + 512]);
  assert.deepEqual(counted(call("TreeEnsembleRegressor", { steps: 50 }), [[BATCH, 4]], [BATCH, 1]), [4, 8 + 50 * 64]);
  assert.deepEqual(counted(call("SVMRegressor", { steps: 50, width: 4 }), [[BATCH, 4]], [BATCH, 1]), [4 + 200, 8 + 50 * 68]);
});

test("all nodes together are held against the limits, which grow with the inputs", () => {
  const wide = call("Add");
  const many = new Work([signals]);
  for (let i = 0; i < 15; i += 1) many.add(wide, [], [BATCH, 2 ** 18], 4);
  assert.throws(() => many.add(wide, [], [BATCH, 2 ** 18], 4), (err) => err instanceof Refused
    && err.message === `its results up to Add "y" take ${16 + 2 ** 24} bytes per row, allowed: up to ${MOST_BYTES}`);
  const long = new Work([signals]);
  assert.throws(() => long.add(call("SVMRegressor", { steps: 2 ** 19, width: 4 }), [], [BATCH, 1], 4), new RegExp(`may take \\d+ ns per row, allowed: up to ${MOST_TIME}`));
  const large = new Work([{ shape: [BATCH, 2 ** 20], width: 4 }]);
  assert.deepEqual([large.mostBytes, large.mostTime], [2 ** 27, 2 ** 27]);
});

test("a file counts its constants, and what else is in it three times", () => {
  affordable(12 * 2 ** 20, 12 * 2 ** 20, [signals]);
  affordable(2 ** 22, 0, [signals]);
  assert.throws(() => affordable(2 ** 22 + 1, 0, [signals]), /0 bytes of constants and 4194305 others, which count 3 times; allowed: up to 12582912 together/);
});

test("the graphs of the test vectors stay orders below the limits", () => {
  for (const name of NAMES) {
    for (const graph of ["signal", "prefix"]) {
      const { size, time } = inspect(members(name).get(`${graph}.onnx`), name);
      assert.ok(size * 20 < MOST_BYTES && time * 20 < MOST_TIME, `${name}: ${size} bytes, ${time} ns`);
    }
  }
});

test("rows beyond the memory of one call are run in parts and in order, whatever has been asked meanwhile", async () => {
  const calls = [];
  const run = async ({ signals: { data, dims }, length }) => {
    calls.push(dims[0]);
    const score = Float32Array.from({ length: dims[0] * 2 }, (_, i) => data[i >> 1] * 10 + Number(length.data[i >> 1]) + (i % 2) / 2);
    return { score: { data: score }, valid: { data: Uint8Array.from(score, (x) => x % 1 === 0) } };
  };
  class Tensor { constructor(type, data, dims) { Object.assign(this, { type, data, dims }); } }
  const session = new Session({ Tensor }, { run, release: async () => {} }, { size: 2 ** 22 });
  const inputs = (rows) => ({
    signals: { dtype: "float32", shape: [rows, 1, 1], data: Float32Array.from({ length: rows }, (_, i) => i) },
    length: { dtype: "int64", shape: [rows], data: BigInt64Array.from({ length: rows }, (_, i) => BigInt(i % 3)) },
  });
  const [nine, two] = await Promise.all([session.run(inputs(9)), session.run(inputs(2))]);
  assert.deepEqual([...calls].sort(), [1, 2, 4, 4]);
  assert.deepEqual([...nine.score], Array.from({ length: 18 }, (_, i) => (i >> 1) * 10 + ((i >> 1) % 3) + (i % 2) / 2));
  assert.deepEqual(nine.valid, Array.from({ length: 18 }, (_, i) => i % 2 === 0));
  assert.deepEqual([...two.score], [0, 0.5, 11, 11.5]);
});

test("every length of a large row is handed over in parts that stay small, and in order", async () => {
  const [cells, columns, rows] = [64, { length: 4096 }, 2];
  const values = Float32Array.from({ length: rows * cells * columns.length }, (_, i) => Math.floor(i / (cells * columns.length)));
  const [sizes, told] = [[], []];
  const run = async (signals, lengths) => {
    sizes.push(signals.length);
    return { score: Float32Array.from(lengths, (length, i) => 100 * signals[i * cells * columns.length] + length), valid: [] };
  };
  await eachLength({ cells, columns, answers: 1 }, values, rows, run, (row, length, { score }, at) => told.push([row, length, score[at]]));
  assert.ok(sizes.length > 1 && Math.max(...sizes) <= MOST_NUMBERS);
  const wanted = Array.from({ length: rows * cells }, (_, i) => [Math.floor(i / cells), (i % cells) + 1]);
  assert.deepEqual(told, wanted.map(([row, length]) => [row, length, 100 * row + length]));
});
