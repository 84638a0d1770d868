/**
 * Who made a bundle: an Ed25519 signature (RFC 8032) over the bytes of its manifest, in a small text file beside it.
 *
 *     sri-signature 1
 *     algorithm ed25519
 *     key 5f0c4a9b7d21e836
 *     signature <base64 of 64 bytes>
 *
 * `key` is the beginning of the SHA-256 of the 32 bytes of the public key: it helps to find the right one, and proves
 * nothing. The manifest holds the hash of every graph, so one signature covers the whole bundle.
 */

import { fromBase64, latin, sameBytes } from "./bytes.js";
import { BundleError, ConfigError } from "./errors.js";
import { SIGNATURE } from "./members.js";

const FORM = /^sri-signature 1\nalgorithm ed25519\nkey ([0-9a-f]{16})\nsignature ([A-Za-z0-9+/]{85}[AQgw]==)\n$/;
const PEM = /^-----BEGIN PUBLIC KEY-----\s([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----\s*$/;
/** A SubjectPublicKeyInfo of Ed25519 (RFC 8410, section 4) is these 12 bytes and the key. */
const PREFIX = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/**
 * Checks the signature file of a bundle.
 * @param {Uint8Array} manifest  the bytes that were signed
 * @param {Uint8Array | undefined} file  content of the signature file
 * @param {string | Uint8Array} publicKey  who should have signed: a PEM text, or its bytes, or the 32 bytes of the key
 * @param {string} subject
 * @param {import("./crypto.js").Crypto} crypto
 * @returns {Promise<string>} id of the key that made it
 * @throws {BundleError} not signed, signed by somebody else, changed since, or not a signature
 * @throws {ConfigError} not an Ed25519 public key
 */
export async function verifySignature(manifest, file, publicKey, subject, crypto) {
  const key = readKey(publicKey);
  if (file === undefined) {
    throw new BundleError(
      `${subject}: not signed (${SIGNATURE} is missing), and a public key was given. Get the signed bundle, or sign it ` +
        "with `sri bundle sign`.",
    );
  }
  const found = FORM.exec(latin(file));
  const signature = fromBase64(found?.[2] ?? "-");
  if (found === null || signature === null) {
    throw new BundleError(`${subject}: its signature is not of format \`sri-signature 1\`. Sign the bundle again.`);
  }
  if (!(await crypto.verify(key, manifest, signature))) {
    const wanted = await keyId(key, crypto);
    const problem = found[1] === wanted ? "the manifest was changed" : `key ${found[1]} made it, the one given is ${wanted}`;
    throw new BundleError(
      `${subject}: the signature does not verify (${problem}). Do not use this bundle; get it again from whom you trust, ` +
        "or give the public key of who signed it.",
    );
  }
  return /** @type {string} */ (found[1]);
}

/**
 * @param {Uint8Array} key  32 bytes
 * @param {import("./crypto.js").Crypto} crypto
 */
async function keyId(key, crypto) {
  return (await crypto.sha256(key)).slice(0, 16);
}

/**
 * The 32 bytes of an Ed25519 public key.
 * @param {string | Uint8Array} given
 */
function readKey(given) {
  if (given instanceof Uint8Array && given.length === 32) return given;
  const text = typeof given === "string" ? given : latin(given);
  const coded = fromBase64((PEM.exec(text)?.[1] ?? "").replace(/\s/g, ""));
  if (coded === null || coded.length !== 44 || !sameBytes(coded.subarray(0, 12), Uint8Array.from(PREFIX))) {
    throw new ConfigError(
      "publicKey: not an Ed25519 public key in PEM form. Give the content of the file that `sri bundle keygen KEY` writes " +
        `to KEY.pub${hint(text)}.`,
    );
  }
  return coded.subarray(12);
}

/** @param {string} text */
const hint = (text) => (text.length < 200 && !text.includes("\n") ? ", not its path" : "");

/**
 * Checks the digest that a bundle must have.
 * @param {Uint8Array} manifest
 * @param {string} wanted  64 hexadecimal digits
 * @param {string} subject
 * @param {import("./crypto.js").Crypto} crypto
 * @throws {BundleError} it has another one
 * @throws {ConfigError} `wanted` is no digest
 */
export async function checkDigest(manifest, wanted, subject, crypto) {
  const digest = wanted.trim().toLowerCase();
  if (!/^[0-9a-f]{64}$/.test(digest)) {
    throw new ConfigError(
      `digest: ${JSON.stringify(digest.slice(0, 80))} is not a SHA-256 in hex, 64 characters. \`sri bundle inspect\` ` +
        "prints a bundle's.",
    );
  }
  const zeroed = withoutDigest(manifest, digest);
  if (zeroed === null || (await crypto.sha256(zeroed)) !== digest) {
    throw new BundleError(
      `${subject}: not the bundle with digest ${digest.slice(0, 12)}..., which was asked for. Get that one, or ask for ` +
        "the digest of this one if you know why it changed.",
    );
  }
}

/**
 * The manifest's bytes with the 64 characters of its digest set to "0": what the digest is made of.
 * @param {Uint8Array} manifest
 * @param {string} digest
 * @returns {Uint8Array | null} null = the digest does not stand there exactly once
 */
export function withoutDigest(manifest, digest) {
  const whole = latin(manifest);
  const at = whole.indexOf(digest);
  if (at < 0 || whole.indexOf(digest, at + 64) >= 0) return null;
  return Uint8Array.from(manifest).fill(0x30, at, at + 64);
}
