/** Score bundles of sri-sdk in a browser. The page hands in its build of onnxruntime-web; nothing is fetched from here. */

import { webCrypto } from "./crypto.js";
import { openGuard, readBundle } from "./load.js";
import { membersOf } from "./sources.js";

export { BundleError, ConfigError, MissingRuntime, ModelMismatch, ScoringError, SriError } from "./errors.js";
export { readSignals } from "./files/read.js";
export { inspect } from "./inspect/inspector.js";
export { Signals } from "./signals.js";

/**
 * Loads a bundle and makes it ready: see `load.js` for the order of checks.
 * @param {Uint8Array | ArrayBuffer | Map<string, Uint8Array>} source  the bytes of a zip, or the files by name
 * @param {Omit<import("../index.js").LoadOptions, "backend"> & { backend: import("./runtime.js").Ort }} options
 *   `backend` is the module onnxruntime-web
 * @returns {Promise<import("../index.js").Guard>}
 * @throws {import("./errors.js").BundleError} damaged, hostile, of another format, not the one that was asked for, or
 *   this runtime computes something else
 * @throws {import("./errors.js").ConfigError} an option is wrong, or the page is not in a secure context
 */
export async function loadGuard(source, options) {
  const bundle = await checkBundle(source, options);
  return openGuard(bundle, options.backend, ["wasm"]);
}

/**
 * The first half of `loadGuard`: everything that can be said of a bundle without a runtime.
 * @param {Uint8Array | ArrayBuffer | Map<string, Uint8Array>} source
 * @param {import("../index.js").LoadOptions} [options]
 * @returns {Promise<import("./load.js").Bundle>}
 */
export async function checkBundle(source, options = {}) {
  const subject = options.subject ?? "bundle";
  return readBundle(membersOf(source, subject), subject, options, webCrypto);
}
