/** SHA-256 and Ed25519 of Node's own crypto. */

import { createHash, createPublicKey, verify } from "node:crypto";

/** @type {import("./crypto.js").Crypto} */
export const nodeCrypto = {
  async sha256(bytes) {
    return createHash("sha256").update(bytes).digest("hex");
  },
  async verify(key, message, signature) {
    try {
      const x = Buffer.from(key).toString("base64url");
      return verify(null, message, createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" }), signature);
    } catch {
      // Not a point of the curve: nothing can be signed by it.
      return false;
    }
  },
};
