import assert from "node:assert/strict";
import { test } from "node:test";

import { BundleError, readSignals, ScoringError } from "../src/index.js";
import { nodeCrypto } from "../src/crypto-node.js";
import { LoadedGuard } from "../src/guard.js";
import { readManifest } from "../src/manifest.js";
import { resealed } from "./reseal.js";
import { members } from "./vectors.js";

// A manifest of format 2, made of one of format 1: one sri column of 16 cells and the request, two parts, two groups.
const floats = (...numbers) => Buffer.from(Float32Array.from(numbers).buffer).toString("base64");
const array = (dtype, shape, base64) => ({ dtype, shape, base64 });
const T = 16;
const edge = (dtype, ...shape) => ({ dtype, shape: ["B", ...shape] });
const outputs = { score: edge("float32", 2), valid: edge("bool", 2) };
const threshold = (value) => ({ value, n: 3, rank: 3, tolerance: 0, scores: array("float32", [3], floats(0.1, 0.2, 0.3)) });
const part = (low, high) => ({ alpha: 0.05, delta: null, groups: { de: threshold(low), en: threshold(high) } });
const column = (name, kind, layers) => ({ name, kind, layers, low: 0, high: 1 });
const golden = (inputs) => ({
  inputs, score: array("float32", [2, 2], floats(1, 1, 3e38, 3e38)), valid: array("bool", [2, 2], "AQEAAA=="),
  tolerance: array("float32", [2, 2], floats(1, 1, 1, 1)),
});
const signals = array("float32", [2, T, 2], floats(...Array(4 * T).fill(0.5)));

function second(manifest) {
  const { detector, signal } = manifest;
  delete manifest.detector;
  const single = { name: detector.name, config: {}, tier: "portable" };
  Object.assign(manifest, {
    format: 2, sensitive: false, tier: "portable", groups: ["de", "en"], horizon: null, ended: { column: "sri@final", value: 0.5 },
    signal: {
      cells: T, hidden_size: signal.hidden_size, domain: "sigma",
      columns: [column("sri@final", "sri", ["final"]), column("request", "request", [0, "final"])],
    },
    parts: [
      { name: "harm", columns: ["request"], reason: "request_harmful", detector: single },
      { name: "novelty", columns: ["sri@final"], reason: "signal_unfamiliar", detector: single },
    ],
    rules: {
      final: { alpha: 0.1, parts: { harm: part(0.5, 0.6), novelty: part(0.5, 0.6) } },
      online: { alpha: 0.1, parts: { harm: part(0.5, 0.6), novelty: part(0.5, 0.6) } },
      request: { alpha: 0.1, parts: { harm: part(0.4, 0.4) } },
    },
    graphs: {
      signal: { file: "signal.onnx", inputs: { signals: edge("float32", T, 2) }, outputs },
      prefix: { file: "prefix.onnx", inputs: { signals: edge("float32", T, 2), length: edge("int64") }, outputs },
    },
    golden: { signal: golden({ signals }), prefix: golden({ signals, length: array("int64", [2], Buffer.alloc(16).toString("base64")) }) },
    files: { "signal.onnx": manifest.files["signal.onnx"], "prefix.onnx": manifest.files["prefix.onnx"] },
  });
  manifest.anchors.request = { sha256: "0".repeat(64), provenance: {} };
}

/** @param {(manifest: any) => void} [change] */
async function read(change = () => {}) {
  const files = await resealed(members("autoencoder"), {}, (m) => {
    second(m);
    Object.assign(m, structuredClone(m)); // Nothing is shared between two tests.
    change(m);
  });
  return readManifest(files.get("manifest.json"), "x", nodeCrypto);
}

test("a manifest of format 2 is read", async () => assert.equal((await read()).format, 2));

for (const [what, change] of [
  ["no column", (m) => { m.signal.columns = []; }],
  ["a request that is not last", (m) => m.signal.columns.reverse()],
  ["a column sri of two layers", (m) => { m.signal.columns[0].layers = [1, 2]; }],
  ["two parts of one name", (m) => { m.parts[1].name = "harm"; }],
  ["a part that reads nothing known", (m) => { m.parts[1].columns = ["sri@3"]; }],
  ["a tier that no part has", (m) => { m.tier = "python"; }],
  ["groups out of order", (m) => m.groups.reverse()],
  ["a group called all", (m) => { m.groups = ["all", "de", "en"]; }],
  ["a rule without a part", (m) => { delete m.rules.final.parts.harm; }],
  ["no rule request", (m) => { delete m.rules.request; }],
  ["a part without a group", (m) => { delete m.rules.online.parts.harm.groups.de; }],
  ["parts with more than the rule's alpha", (m) => { m.rules.final.parts.harm.alpha = 0.06; }],
  ["no map of the request", (m) => { m.anchors.request = null; }],
  ["an end beside a horizon", (m) => { m.horizon = { steps: 32 }; }],
  ["an end of the request", (m) => { m.ended.column = "request"; }],
  ["a score per row only", (m) => { m.golden.signal.score = array("float32", [2], floats(1, 1)); }],
  ["a part whose golden rows are all valid", (m) => { m.golden.signal.valid.base64 = "AQEBAA=="; }],
  ["a graph with a score per row only", (m) => { m.graphs.signal.outputs.score.shape = ["B"]; }],
  ["a detector beside the parts", (m) => { m.detector = m.parts[0].detector; }],
]) {
  test(`in a manifest of format 2, ${what} is refused`, () => assert.rejects(read(change), BundleError));
}

/** A guard whose parts score 1 - request and 1 - the last known cell, as far as they are in ]0, 1[. */
async function guard(change) {
  const run = ({ signals: { data, shape: [rows] }, length }) => {
    const score = new Float32Array(2 * rows).fill(3e38);
    const valid = Array(2 * rows).fill(false);
    for (let row = 0; row < rows; row += 1) {
      const known = length ? Number(length.data[row]) : T;
      for (const [k, c] of [[0, 1], [1, 0]]) {
        const own = Array.from({ length: known }, (_, t) => data[(row * T + t) * 2 + c]);
        valid[2 * row + k] = own.every((x) => x > 0 && x < 1);
        if (valid[2 * row + k]) score[2 * row + k] = 1 - own.at(-1);
      }
    }
    return Promise.resolve({ score, valid });
  };
  const session = { run, release: () => Promise.resolve() };
  return new LoadedGuard({ manifest: await read(change), signedBy: null, signal: session, prefix: session, parity: {} });
}

const row = (sri, request, at = {}) => Array.from({ length: T }, (_, t) => [at[t] === undefined ? sri : at[t], request]);
const one = async (cells, { rule = "final", group = "en", length = T, change = undefined } = {}) =>
  (await (await guard(change)).score({ sigma: [cells], groups: [group], lengths: [length] }, { rule, unverified: true }))[0];

test("a part that alarms flags the generation, and the verdict says which and why", async () => {
  const { status, reasons, parts, ended, group, schema } = await one(row(0.875, 0.25));
  assert.deepEqual([status, reasons, ended, group, schema], ["flagged", ["request_harmful"], "complying", "en", 2]);
  assert.deepEqual(parts, [
    { name: "harm", status: "flagged", score: 0.75, threshold: 0.6, p_value: 0.25, reason: "request_harmful" },
    { name: "novelty", status: "clear", score: 0.125, threshold: 0.6, p_value: 0.75, reason: null },
  ]);
});

test("the p-value is that of the part that decided, times its alpha's inverse share", async () => {
  const { score, threshold, p_value: p } = await one(row(0.9375, 0.875));
  assert.deepEqual([score, threshold, p], [0.125, 0.6, 1]);
  const { p_value: half } = await one(row(0.875, 0.25));
  assert.equal(half, 0.5);
});

test("a missing request leaves its part unmonitored, and an alarm of the other part stands", async () => {
  const quiet = await one(row(0.875, null));
  assert.deepEqual([quiet.status, quiet.reasons, quiet.score, quiet.p_value], ["unmonitored", ["request_missing"], null, null]);
  const loud = await one(row(0.125, null));
  assert.deepEqual([loud.status, loud.reasons, loud.ended], ["flagged", ["signal_unfamiliar", "request_missing"], "refusing"]);
});

test("a generation that has not finished is judged by its request alone", async () => {
  const { status, reasons, ended } = await one(row(0.875, 0.25), { length: 3 });
  assert.deepEqual([status, reasons, ended], ["flagged", ["request_harmful", "incomplete_signal"], null]);
});

test("the rule request looks at no length and no other part", async () => {
  const { status, parts, threshold, ended } = await one(row(0.125, 0.75), { rule: "request", length: 0 });
  assert.deepEqual([status, parts.map(({ name }) => name), threshold, ended], ["clear", ["harm"], 0.4, null]);
});

test("under the online rule the first alarm of any part counts", async () => {
  const { status, reasons, parts } = await one(row(0.875, 0.75, { 5: 0.125, 9: null }), { rule: "online" });
  assert.deepEqual([status, reasons], ["flagged", ["signal_unfamiliar", "non_finite_signal"]]);
  assert.equal(parts[1].score, 0.875);
});

test("a group of its own threshold has it, and an unknown one has the highest", async () => {
  const cells = row(0.875, 0.4375);
  assert.equal((await one(cells, { group: "de" })).status, "flagged");
  for (const group of ["fr", null]) {
    const { status, reasons, threshold, group: used } = await one(cells, { group });
    assert.deepEqual([status, reasons, threshold, used], ["clear", ["unknown_group"], 0.6, null]);
  }
});

test("a horizon is how many steps were judged, where something was", async () => {
  const change = (m) => Object.assign(m, { ended: null, horizon: { steps: m.grid.budget ?? 32 } });
  const { judged_steps: seen } = await one(row(0.875, 0.75), { change });
  assert.ok(seen > 0);
  assert.equal((await one(row(0.875, null), { change })).judged_steps, null);
});

test("a stream says the same as the online rule", async () => {
  const made = await guard();
  const stream = made.stream("0", { request: 0.25, group: "en", unverified: true });
  assert.deepEqual((await stream.push(0.875)).parts, [
    { name: "harm", score: 0.75, alarm: true }, { name: "novelty", score: 0.125, alarm: false },
  ]);
  const whole = await made.scoreOnline({ sigma: [row(0.875, 0.25)], groups: ["en"], lengths: [1] }, { unverified: true });
  assert.deepEqual(stream.verdict(), whole[0]);
});

test("lines may say their columns and groups, and other columns are refused", async () => {
  const lines = (...columns) => Buffer.from([
    { sri_signals: 1, columns }, { id: "a", sigma: row(0.875, 0.75), group: "de" }, { id: "b", sigma: row(0.875, 0.75), group: null },
  ].map((x) => JSON.stringify(x)).join("\n"));
  const made = await guard();
  const right = await readSignals("x.jsonl", lines("sri@final", "request"));
  assert.deepEqual([right.columns, right.groups], [["sri@final", "request"], ["de", null]]);
  assert.deepEqual((await made.score(right, { unverified: true })).map(({ group }) => group), ["de", null]);
  const wrong = await readSignals("x.jsonl", lines("sri@3", "request"));
  await assert.rejects(made.score(wrong, { unverified: true }), ScoringError);
});
