/** The forms in which somebody may hand over a bundle that is in memory already. */

import { BundleError } from "./errors.js";
import { unpack } from "./zip.js";

/**
 * @param {unknown} source  the bytes of a zip, or the files by name
 * @param {string} subject
 * @returns {import("./members.js").Members}
 * @throws {BundleError} neither
 */
export function membersOf(source, subject) {
  if (source instanceof Map) return source;
  if (source instanceof Uint8Array) return unpack(source, subject);
  if (source instanceof ArrayBuffer) return unpack(new Uint8Array(source), subject);
  throw new BundleError(
    `${subject}: neither a path, nor the bytes of a zip, nor a Map from file names to bytes. Give one of these.`,
  );
}
