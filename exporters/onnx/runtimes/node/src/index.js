/** Score bundles of sri-sdk in Node: load a guard, hand it signals, read verdicts. */

import { nodeCrypto } from "./crypto-node.js";
import { brief, ConfigError, MissingRuntime } from "./errors.js";
import { readPath } from "./folder.js";
import { openGuard, readBundle } from "./load.js";
import { membersOf } from "./sources.js";

export { BundleError, ConfigError, MissingRuntime, ModelMismatch, ScoringError, SriError } from "./errors.js";
export { readSignals } from "./files/read.js";
export { inspect } from "./inspect/inspector.js";
export { Signals } from "./signals.js";

/** The builds of onnxruntime, and what they call their one execution provider. */
const BACKENDS = new Map([
  ["native", { package: "onnxruntime-node", provider: "cpu" }],
  ["wasm", { package: "onnxruntime-web", provider: "wasm" }],
]);

/**
 * Loads a bundle and makes it ready: see `load.js` for the order of checks.
 * @param {string | URL | Uint8Array | ArrayBuffer | Map<string, Uint8Array>} source  path of a bundle folder or zip; or
 *   the bytes of a zip; or the files by name
 * @param {import("../index.js").LoadOptions} [options]
 * @returns {Promise<import("../index.js").Guard>}
 * @throws {import("./errors.js").BundleError} missing, damaged, hostile, of another format, not the one that was asked
 *   for, or this runtime computes something else
 * @throws {ConfigError} an option is wrong
 * @throws {MissingRuntime} onnxruntime is not installed
 */
export async function loadGuard(source, options = {}) {
  const bundle = await checkBundle(source, options);
  const { ort, provider } = await runtime(options.backend ?? "native");
  return openGuard(bundle, ort, [provider]);
}

/**
 * The first half of `loadGuard`: everything that can be said of a bundle without a runtime.
 * @param {string | URL | Uint8Array | ArrayBuffer | Map<string, Uint8Array>} source
 * @param {import("../index.js").LoadOptions} [options]
 * @returns {Promise<import("./load.js").Bundle>}
 */
export async function checkBundle(source, options = {}) {
  const { fileURLToPath } = await import("node:url");
  const path = source instanceof URL ? fileURLToPath(source) : source;
  const subject = options.subject ?? (typeof path === "string" ? path : "bundle");
  const members = typeof path === "string" ? await readPath(path) : membersOf(path, subject);
  return readBundle(members, subject, options, nodeCrypto);
}

/** @param {unknown} backend */
async function runtime(backend) {
  if (typeof backend === "object" && backend !== null) {
    // Somebody's own build of onnxruntime: it says itself what it is.
    const ort = /** @type {import("./runtime.js").Ort} */ (backend);
    return { ort, provider: ort.env.versions.node ? "cpu" : "wasm" };
  }
  const chosen = BACKENDS.get(String(backend));
  if (chosen === undefined) {
    throw new ConfigError(`backend: ${JSON.stringify(backend)}; allowed: ${[...BACKENDS.keys()].join(", ")}, or the module itself.`);
  }
  let ort;
  try {
    const found = await import(chosen.package);
    ort = /** @type {import("./runtime.js").Ort} */ (found.InferenceSession ? found : found.default);
  } catch (err) {
    throw new MissingRuntime(
      `backend ${backend} needs ${chosen.package} (${brief(err)}). Run: npm install --ignore-scripts ${chosen.package}. If it ` +
        "is installed, sri-guard is only linked: install the file that `npm pack` writes, or pass the module as `backend`.",
      err,
    );
  }
  if (chosen.provider === "wasm") ort.env.wasm.numThreads = 1;
  return { ort, provider: chosen.provider };
}
