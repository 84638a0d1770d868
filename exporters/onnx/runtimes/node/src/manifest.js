/**
 * `manifest.json` of a bundle. `manifest-1.js` and `manifest-2.js` say what each format holds.
 *
 * The file is its own canonical form: the digest in it is the SHA-256 of the file's bytes with the 64 characters of the
 * digest set to "0". It guards against damage. Against tampering only a signature or a pinned digest does.
 */

import { brief, BundleError } from "./errors.js";
import { parseJson } from "./json.js";
import { MANIFEST_1 } from "./manifest-1.js";
import { MANIFEST_2 } from "./manifest-2.js";
import { isObject, Misfit } from "./schema.js";
import { withoutDigest } from "./signature.js";

/** @typedef {import("../index.js").Manifest} Manifest */

/** By format: the keys and kinds, and what the parts must agree on. */
/** @type {Map<unknown, { shape: import("./schema.js").Check, consistent: (value: any) => void }>} */
const FORMATS = new Map(/** @type {any} */ ([[1, MANIFEST_1], [2, MANIFEST_2]]));

/**
 * Reads and checks a manifest.
 * @param {Uint8Array} content
 * @param {string} subject  for the message
 * @param {import("./crypto.js").Crypto} crypto
 * @returns {Promise<Manifest>}
 * @throws {BundleError} another format, damaged, or not a manifest
 */
export async function readManifest(content, subject, crypto) {
  /** @type {any} */
  let value;
  try {
    value = parseJson(content, { marked: true });
  } catch (err) {
    throw new BundleError(`${subject}: not a bundle manifest (${brief(err)}). Export the guard again.`, err);
  }
  if (!isObject(value) || !Object.hasOwn(value, "format") || !Object.hasOwn(value, "digest")) {
    throw new BundleError(`${subject}: not a bundle manifest (no format or digest). Export the guard again.`);
  }
  const format = FORMATS.get(value.format);
  if (format === undefined) {
    const found = JSON.stringify(value.format)?.slice(0, 80);
    throw new BundleError(
      `${subject}: manifest format ${found}, this reader knows ${[...FORMATS.keys()].join(" and ")}. Export the guard again, or upgrade sri-guard.`,
    );
  }
  const zeroed = /^[0-9a-f]{64}$/.test(String(value.digest)) ? withoutDigest(content, value.digest) : null;
  if (zeroed === null || (await crypto.sha256(zeroed)) !== value.digest) {
    throw new BundleError(`${subject}: the manifest does not match its own digest. Copy the bundle again.`);
  }
  try {
    format.shape(value, "");
    format.consistent(/** @type {any} */ (value));
  } catch (err) {
    if (!(err instanceof Misfit)) throw err;
    throw new BundleError(`${subject}: ${err.message}. Export the guard again.`, err);
  }
  return /** @type {Manifest} */ (parseJson(content));
}
