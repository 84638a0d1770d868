/** The files of a bundle: what they may be called and how large they may be, before anything in them is believed. */

import { BundleError } from "./errors.js";

export const MANIFEST = "manifest.json";
export const SIGNATURE = "manifest.sig";
/** Where OpenSSF model-signing puts its own signature. Left unread: its tools check it. */
const OTHER_SIGNATURE = "model.sig";
/** The files that the manifest does not list. */
export const UNLISTED = [MANIFEST, SIGNATURE, OTHER_SIGNATURE];

/** Bytes. A million calibration scores are 5 MiB. */
const LARGEST_MANIFEST = 16 * 2 ** 20;
const LARGEST_SIGNATURE = 2 ** 20;
/** Bytes of all files. They are read into memory, so a wrong path must not fill it. */
export const LARGEST_BUNDLE = 2 ** 30;
export const MOST_MEMBERS = 16;
export const LONGEST_NAME = 100;

/** @typedef {Map<string, Uint8Array>} Members content by file name */

/**
 * Refuses names that a shell or an archive tool could take for something else.
 * @param {string} name
 * @param {string} subject
 * @throws {BundleError}
 */
export function checkName(name, subject) {
  if (!/^[A-Za-z0-9_][A-Za-z0-9._-]*$/.test(name) || name.length > LONGEST_NAME) {
    throw new BundleError(
      `${subject}: a file called ${JSON.stringify(name.slice(0, 100))}; allowed are letters, digits, '.', '_' and '-', ` +
        "not beginning with '.' or '-'. Copy the bundle again, without files of other programs.",
    );
  }
}

/**
 * Refuses names, numbers and sizes that no bundle has.
 * @param {Map<string, number>} sizes  bytes by file name
 * @param {string} subject
 * @throws {BundleError}
 */
export function checkSizes(sizes, subject) {
  for (const name of sizes.keys()) checkName(name, subject);
  if (sizes.size > MOST_MEMBERS) {
    throw new BundleError(`${subject}: more than ${MOST_MEMBERS} files. This is not a bundle.`);
  }
  const caps = new Map([
    [MANIFEST, LARGEST_MANIFEST],
    [SIGNATURE, LARGEST_SIGNATURE],
    [OTHER_SIGNATURE, LARGEST_SIGNATURE],
  ]);
  const all = [...sizes.values()].reduce((a, b) => a + b, 0);
  for (const [what, size] of [...sizes, /** @type {const} */ (["all", all])]) {
    const cap = caps.get(what) ?? LARGEST_BUNDLE;
    if (size > cap) {
      throw new BundleError(`${subject}: ${what} has ${size} bytes, allowed are ${cap}. This is not a bundle.`);
    }
  }
}
