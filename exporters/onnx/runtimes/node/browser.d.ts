/** The same for browsers: no paths, and the page hands in its build of onnxruntime-web. */

import type { BundleSource, Guard, LoadOptions, Manifest } from "./index.js";

export {
  BundleError, ConfigError, inspect, MissingRuntime, ModelMismatch, readSignals, ScoringError, Signals, SriError,
} from "./index.js";
export type * from "./index.js";

/** @throws BundleError, ConfigError */
export function loadGuard(
  source: Exclude<BundleSource, string | URL>,
  options: Omit<LoadOptions, "backend"> & { backend: object },
): Promise<Guard>;

/** @throws BundleError, ConfigError */
export function checkBundle(
  source: Exclude<BundleSource, string | URL>,
  options?: LoadOptions,
): Promise<{ subject: string; manifest: Manifest; files: Map<string, Uint8Array>; signedBy: string | null }>;
