// Opens a bundle after another one, then its graph `signal` alone and scores ROWS rows with it, and prints what that took:
// node open_bounded.mjs PACKAGE WARM-UP BUNDLE ROWS
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [source, first, second, rows] = process.argv.slice(2);
const { BundleError, loadGuard } = await import(join(source, "src/index.js"));
const { openSession, scoreOnce } = await import(join(source, "src/runtime.js"));
const ort = createRequire(join(source, "src/index.js"))("onnxruntime-node");

// What Node itself says of its peak begins with that of the process that started it.
const peak = () => Number(/VmHWM:\s*(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]) / 1024;
const spent = () => (process.cpuUsage().user + process.cpuUsage().system) / 1e6;

/** What is wrong with a bundle; anything but a refusal is a bug, and shows. */
async function refusal(attempt) {
  try {
    await attempt();
    return null;
  } catch (err) {
    if (!(err instanceof BundleError)) throw err;
    return err.message;
  }
}

await (await loadGuard(first)).dispose();
const [base, start] = [peak(), spent()];
const bundle = await refusal(() => loadGuard(second));
let scores = null;
const graph = await refusal(async () => {
  const { cells } = JSON.parse(readFileSync(join(second, "manifest.json"), "utf8")).signal;
  const content = new Uint8Array(readFileSync(join(second, "signal.onnx")));
  const edge = (dtype, ...shape) => ({ dtype, shape: ["B", ...shape] });
  const entry = { inputs: { signals: edge("float32", cells, 1) }, outputs: { score: edge("float32"), valid: edge("bool") } };
  const session = await openSession(ort, ["cpu"], content, "graph", entry);
  // Row r is r in every cell, so that a row in the wrong place shows.
  const data = Float32Array.from({ length: rows * cells }, (_, i) => Math.floor(i / cells));
  ({ score: scores } = await scoreOnce(session, { signals: { dtype: "float32", shape: [Number(rows), cells, 1], data } }));
});
console.log(JSON.stringify({ bundle, graph, scores: scores && [...scores], megabytes: peak() - base, seconds: spent() - start }));
