import assert from "node:assert/strict";
import { mkdtempSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import {
  BundleError, checkBundle, ConfigError, loadGuard, MissingRuntime, ModelMismatch, ScoringError,
} from "../src/index.js";
import { members, path, signals } from "./vectors.js";

const NAME = "autoencoder";
const PRINT = signals(NAME).fingerprint;
let guard;
let lists;

before(async () => {
  guard = await loadGuard(path(NAME, "bundle"));
  const { cells } = guard.manifest.signal;
  lists = { sigma: [Array(cells).fill(0.9), Array(cells).fill(0.8)] };
});
after(() => guard?.dispose());

/** onnxruntime-node, whose sessions are made by `create`. */
async function creating(create) {
  const { default: ort } = await import("onnxruntime-node");
  return { ...ort, env: ort.env, InferenceSession: { create: (...args) => create(ort.InferenceSession, ...args) } };
}

/** onnxruntime-node, whose answers pass through `change`. */
function answering(change) {
  return creating(async (sessions, ...args) => {
    const session = await sessions.create(...args);
    const run = session.run.bind(session);
    session.run = async (...given) => {
      const answer = await run(...given);
      change(answer);
      return answer;
    };
    return session;
  });
}

test("plain lists are scored once the caller takes the risk", async () => {
  await assert.rejects(guard.score(lists), /no fingerprint/);
  const verdicts = await guard.score(lists, { unverified: true });
  assert.deepEqual(verdicts.map((v) => [v.request_id, v.accepted]), [["0", ["unverified"]], ["1", ["unverified"]]]);
});

for (const [what, bad, reason] of [
  ["NaN", NaN, "non_finite_signal"], ["null", null, "non_finite_signal"], ["infinity", Infinity, "non_finite_signal"],
  ["a value beyond the range", 1.5, "signal_out_of_range"], ["a value below it", -1, "signal_out_of_range"],
]) {
  for (const rule of ["final", "online"]) {
    test(`${what} is unmonitored under the ${rule} rule, and its neighbours are judged`, async () => {
      const sigma = lists.sigma.map((row) => [...row]);
      sigma[1][3] = bad;
      const [fine, broken] = await guard.score({ sigma }, { rule, unverified: true });
      assert.notEqual(fine.status, "unmonitored");
      assert.equal(broken.reasons.at(-1), reason);
      if (rule === "final") assert.deepEqual([broken.status, broken.score, broken.p_value], ["unmonitored", null, null]);
    });
  }
}

test("a generation without cells, or not finished, is incomplete", async () => {
  for (const [rule, lengths] of [["final", [0, 3]], ["online", [0, 0]]]) {
    const verdicts = await guard.score({ ...lists, lengths }, { rule, unverified: true });
    assert.deepEqual(verdicts.map((v) => [v.status, v.reasons]), Array(2).fill(["unmonitored", ["incomplete_signal"]]));
  }
});

test("what lies beyond a length is never read", async () => {
  const { cells } = guard.manifest.signal;
  const short = lists.sigma.map((row) => row.map((x, t) => (t < 3 ? x : NaN)));
  const other = lists.sigma.map((row) => row.map((x, t) => (t < 3 ? x : 0.1)));
  const options = { unverified: true };
  const [a, b] = await Promise.all([short, other].map((sigma) => guard.scoreOnline({ sigma, lengths: [3, 3] }, options)));
  assert.deepEqual(a, b);
  assert.ok(cells > 3);
});

test("a batch of no row, and of more rows than one call takes, is scored", async () => {
  assert.equal((await guard.scoreFinal(new Float32Array())).score.length, 0);
  const { cells } = guard.manifest.signal;
  const sigma = Array.from({ length: 5000 }, (_, i) => Array(cells).fill(0.5 + (i % 7) / 20));
  const many = await guard.score({ sigma }, { unverified: true });
  assert.equal(many.length, 5000);
  assert.equal(many[4999].score, many[4999 % 7].score);
});

test("another model, other anchors or another tau is a mismatch", async () => {
  const others = [
    { ...PRINT, hard: { ...PRINT.hard, architecture: "Other" } },
    { ...PRINT, hard: {} },
    { ...PRINT, anchors: "0".repeat(64) },
    { ...PRINT, tau: 0.5 },
    { soft: {} },
  ];
  for (const fingerprint of others) await assert.rejects(guard.score({ ...lists, fingerprint }), ModelMismatch);
});

test("a soft field may differ if it is accepted by name, and the verdict says so", async () => {
  const fingerprint = { ...PRINT, soft: { ...PRINT.soft, dtype: "bfloat16" } };
  await assert.rejects(guard.score({ ...lists, fingerprint }), /accept it by name/);
  const [verdict] = await guard.score({ ...lists, fingerprint }, { accept: ["dtype"] });
  assert.deepEqual(verdict.accepted, ["dtype"]);
  await assert.rejects(guard.score(lists, { accept: ["architecture"] }), ConfigError);
});

const MISFITS = {
  "another number of cells": { sigma: [[0.5, 0.5]] },
  "two ids that are equal": { sigma: "as it is", ids: ["a", "a"] },
  "one id for two rows": { sigma: "as it is", ids: ["a"] },
  "a length beyond the cells": { sigma: "as it is", lengths: [99, 1] },
  "a length that is no whole number": { sigma: "as it is", lengths: [0.5, 1] },
  "nothing": {},
};

for (const [what, given] of Object.entries(MISFITS)) {
  test(`signals with ${what} do not fit`, async () => {
    const wrong = { ...given, ...(given.sigma === "as it is" && { sigma: lists.sigma }) };
    await assert.rejects(guard.score(wrong, { unverified: true }), ScoringError);
  });
}

test("a stream takes as many cells as the guard has, and needs to say whose they are", async () => {
  assert.throws(() => guard.stream("x"), ScoringError);
  const stream = guard.stream("x", { unverified: true });
  assert.deepEqual(stream.verdict().reasons, ["incomplete_signal"]);
  for (let t = 0; t < guard.manifest.signal.cells; t += 1) await stream.push(0.9);
  await assert.rejects(stream.push(0.9), ScoringError);
  assert.deepEqual(stream.verdict().accepted, ["unverified"]);
});

test("an unreadable cell of a stream is unmonitored until an alarm rings", async () => {
  const stream = guard.stream("x", { unverified: true });
  assert.equal((await stream.push(NaN)).score, null);
  assert.deepEqual([stream.verdict().status, stream.verdict().reasons], ["unmonitored", ["non_finite_signal"]]);
});

test("a runtime that is not there, and one that does not exist, are named", async () => {
  await assert.rejects(loadGuard(path(NAME, "bundle"), { backend: "cuda" }), ConfigError);
  assert.equal(new MissingRuntime("x").name, "MissingRuntime");
});

test("an onnxruntime that is too old never sees a graph", async () => {
  const old = { env: { versions: { node: "1.26.0" } }, InferenceSession: { create: () => assert.fail("it was asked") } };
  await assert.rejects(loadGuard(path(NAME, "bundle"), { backend: old }), /1\.26\.0 is installed/);
});

test("a graph is loaded from bytes, with the doors of the runtime closed", async () => {
  const seen = [];
  const watched = await creating((sessions, ...args) => {
    seen.push(args);
    return sessions.create(...args);
  });
  await (await loadGuard(path(NAME, "bundle"), { backend: watched })).dispose();
  assert.equal(seen.length, 2);
  for (const [model, options] of seen) {
    assert.ok(model instanceof Uint8Array);
    assert.deepEqual([options.intraOpNumThreads, options.interOpNumThreads, options.enableCpuMemArena], [1, 1, true]);
    assert.equal(options.extra["session.load_model_format"], "ONNX");
    assert.equal(options.extra["session.model_external_initializers_file_folder_path"], "/nonexistent");
    assert.equal(options.extra["optimization.constant_folding_max_output_size_in_bytes"], "1048576");
  }
  process.env.ORT_LOAD_CONFIG_FROM_MODEL = "1";
  try {
    await assert.rejects(loadGuard(path(NAME, "bundle")), /ORT_LOAD_CONFIG_FROM_MODEL is set/);
  } finally {
    delete process.env.ORT_LOAD_CONFIG_FROM_MODEL;
  }
});

test("the runtime heeds what it is told of data in other files", async () => {
  // Without the inspector in front of it: nobody else would notice if a binding stopped to pass its options on.
  const { default: ort } = await import("onnxruntime-node");
  const options = { executionProviders: ["cpu"], logSeverityLevel: 4, extra: { "session.load_model_format": "ORT" } };
  await assert.rejects(ort.InferenceSession.create(members(NAME).get("signal.onnx"), options), /ORT model/);
});

test("a runtime that computes something else is refused", async () => {
  const wrong = await answering((answer) => {
    answer.score.data[2] += 1;
  });
  await assert.rejects(loadGuard(path(NAME, "bundle"), { backend: wrong }), /golden row 2/);
});

for (const number of [NaN, Infinity, -Infinity]) {
  test(`a score of ${number} is not believed, whatever the graph says of it`, async () => {
    let lie = false;
    const liar = await answering((answer) => {
      if (!lie) return;
      answer.score.data[0] = number;
      answer.valid.data.fill(1);
    });
    const lied = await loadGuard(path(NAME, "bundle"), { backend: liar });
    lie = true; // Only now: golden vectors would have told.
    for (const rule of ["final", "online"]) {
      const [bad, fine] = await lied.score(lists, { rule, unverified: true });
      assert.deepEqual([bad.status, bad.reasons, bad.score], ["unmonitored", ["score_not_finite"], null]);
      assert.notEqual(fine.status, "unmonitored");
    }
    const two = Float32Array.from(lists.sigma.flat());
    assert.deepEqual((await lied.scoreFinal(two)).valid, [false, true]);
    assert.deepEqual((await lied.scorePrefix(two, [9, 9])).valid, [false, true]);
    const stream = lied.stream("x", { unverified: true });
    assert.deepEqual(await stream.push(0.9), { length: 1, score: null, alarm: false });
    assert.deepEqual([stream.verdict().status, stream.verdict().reasons], ["unmonitored", ["score_not_finite"]]);
    await lied.dispose();
  });
}

test("a link, a folder and a pipe's name are no members of a bundle", async () => {
  const folder = mkdtempSync(join(tmpdir(), "sri-"));
  for (const [name, content] of members(NAME)) {
    if (name === "signal.onnx") symlinkSync(path(NAME, "bundle", name), join(folder, name));
    else writeFileSync(join(folder, name), content);
  }
  await assert.rejects(checkBundle(folder), /not a plain file/);
});

test("a path that leads nowhere, to a text or to a guard's folder says so", async () => {
  await assert.rejects(checkBundle("/nonexistent/bundle"), /cannot be read/);
  await assert.rejects(checkBundle(path(NAME, "cases.json")), /not the zip of a bundle/);
  await assert.rejects(checkBundle(path(NAME)), /Its bundle is/);
  await assert.rejects(checkBundle(17), BundleError);
});
