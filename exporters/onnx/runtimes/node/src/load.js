/**
 * The loader: from the files of a bundle to a guard, in an order in which nothing is believed before it was checked.
 *
 *     sizes and names -> pinned digest, signature -> manifest and its self-digest -> hashes -> inspector -> onnxruntime,
 *     from bytes -> golden self-test
 *
 * Reading folders, onnxruntime and cryptography are handed in, so that Node and browsers share every line of it.
 */

import { BundleError } from "./errors.js";
import { LoadedGuard } from "./guard.js";
import { readManifest } from "./manifest.js";
import { checkSizes, MANIFEST, SIGNATURE, UNLISTED } from "./members.js";
import { openSession } from "./runtime.js";
import { selfTest } from "./self-test.js";
import { checkDigest, verifySignature } from "./signature.js";

/** @typedef {import("./members.js").Members} Members */
/** @typedef {import("./crypto.js").Crypto} Crypto */
/** @typedef {{ publicKey?: string | Uint8Array, digest?: string }} Wanted */
/**
 * A bundle in memory, checked against its hashes.
 * @typedef {object} Bundle
 * @property {string} subject  where it came from, for messages
 * @property {import("../index.js").Manifest} manifest
 * @property {Members} files  the graphs, by file name
 * @property {string | null} signedBy  id of the key whose signature was checked; null = no key was given
 */

/**
 * Everything up to the hashes: no graph is looked at yet.
 * @param {Members} members
 * @param {string} subject
 * @param {Wanted} wanted
 * @param {Crypto} crypto
 * @returns {Promise<Bundle>}
 * @throws {BundleError} too large, not as listed, damaged, of another format, or not the one that was asked for
 */
export async function readBundle(members, subject, { publicKey, digest }, crypto) {
  checkSizes(new Map([...members].map(([name, content]) => [name, content.length])), subject);
  const content = members.get(MANIFEST);
  if (content === undefined) {
    throw new BundleError(`${subject}: ${MANIFEST} is missing. Give a bundle folder or zip, or export the guard again.`);
  }
  // Before a byte is parsed: who signed must not have to trust our parsers with what they did not sign.
  if (digest !== undefined) await checkDigest(content, digest, subject, crypto);
  const signedBy = publicKey === undefined
    ? null
    : await verifySignature(content, members.get(SIGNATURE), publicKey, subject, crypto);
  const manifest = await readManifest(content, `${subject}/${MANIFEST}`, crypto);
  const detectors = manifest.format === 2 ? manifest.parts.map(({ detector }) => detector) : [manifest.detector];
  const other = detectors.find(({ tier }) => tier !== "portable");
  if (other !== undefined) {
    throw new BundleError(
      `${subject}: detector ${other.name} is of tier ${other.tier}, which runs in onnxruntime for ` +
        "Python only. Score it there with `sri score`, or use a portable detector.",
    );
  }
  const files = new Map([...members].filter(([name]) => !UNLISTED.includes(name)));
  const listed = new Map(Object.entries(manifest.files));
  for (const name of [...listed.keys(), ...files.keys()].sort()) {
    if (!files.has(name) || !listed.has(name)) {
      const problem = listed.has(name) ? "is missing" : "is not listed in the manifest";
      throw new BundleError(`${subject}: ${name} ${problem}. Copy the bundle again, or export the guard again.`);
    }
  }
  for (const [name, entry] of listed) {
    const found = /** @type {Uint8Array} */ (files.get(name));
    if (found.length !== entry.size || (await crypto.sha256(found)) !== entry.sha256) {
      throw new BundleError(`${subject}: ${name} does not match its digest. Copy the bundle again.`);
    }
  }
  return { subject, manifest, files, signedBy };
}

/**
 * A guard that is ready: its graphs are inspected, loaded and self-tested.
 * @param {Bundle} bundle
 * @param {import("./runtime.js").Ort} ort
 * @param {string[]} providers  execution providers
 * @returns {Promise<import("../index.js").Guard>}
 * @throws {BundleError} a graph is refused, or this runtime computes something else
 */
export async function openGuard({ subject, manifest, files, signedBy }, ort, providers) {
  /** @type {Map<string, import("./runtime.js").Session>} */
  const sessions = new Map();
  /** @type {Record<string, number>} */
  const parity = {};
  try {
    // One after the other: the browser's runtime starts with the first one, and only once.
    for (const name of ["signal", "prefix"]) {
      const entry = /** @type {import("../index.js").GraphEntry} */ (manifest.graphs[name]);
      const content = /** @type {Uint8Array} */ (files.get(entry.file));
      const session = await openSession(ort, providers, content, `${subject}/${entry.file}`, entry);
      sessions.set(name, session);
      parity[name] = await selfTest(session, manifest.golden[name], subject, name);
    }
  } catch (err) {
    for (const session of sessions.values()) await session.release();
    throw err;
  }
  const [signal, prefix] = /** @type {[any, any]} */ ([...sessions.values()]);
  const guard = new LoadedGuard({ manifest, signedBy, signal, prefix, parity });
  return /** @type {import("../index.js").Guard} */ (guard);
}
