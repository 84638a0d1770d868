/** SHA-256 and Ed25519 of WebCrypto, in browsers. Node has its own, which warns of nothing (`crypto-node.js`). */

import { hex } from "./bytes.js";
import { ConfigError } from "./errors.js";

/**
 * @typedef {object} Crypto
 * @property {(bytes: Uint8Array) => Promise<string>} sha256  as lower-case hex
 * @property {(key: Uint8Array, message: Uint8Array, signature: Uint8Array) => Promise<boolean>} verify  Ed25519
 */

/** @type {Crypto} */
export const webCrypto = {
  async sha256(bytes) {
    return hex(await subtle().digest("SHA-256", plain(bytes)));
  },
  async verify(key, message, signature) {
    let imported;
    try {
      imported = await subtle().importKey("raw", plain(key), { name: "Ed25519" }, false, ["verify"]);
    } catch (err) {
      if (err instanceof DOMException && err.name === "NotSupportedError") {
        throw new ConfigError(
          "publicKey: this browser cannot check Ed25519 signatures. Use a newer one, or compare the digest instead.",
          err,
        );
      }
      return false;
    }
    return subtle().verify({ name: "Ed25519" }, imported, plain(signature), plain(message));
  },
};

function subtle() {
  if (!globalThis.crypto?.subtle) {
    throw new ConfigError(
      "This page cannot compute SHA-256: browsers allow that over https and on localhost only. Open it there.",
    );
  }
  return globalThis.crypto.subtle;
}

/** Bytes in memory of their own, which is all that WebCrypto takes. @param {Uint8Array} bytes */
const plain = (bytes) => Uint8Array.from(bytes);
