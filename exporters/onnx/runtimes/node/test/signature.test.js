import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { test } from "node:test";

import { webCrypto } from "../src/crypto.js";
import { nodeCrypto } from "../src/crypto-node.js";
import { BundleError, checkBundle } from "../src/index.js";
import { readBundle } from "../src/load.js";
import { KEY, members } from "./vectors.js";
import { resealed } from "./reseal.js";

const OTHER = generateKeyPairSync("ed25519").publicKey.export({ type: "spki", format: "pem" });
/** What Python signed, opened with the cryptography of Node and of browsers. */
const CRYPTO = { "node:crypto": nodeCrypto, WebCrypto: webCrypto };

for (const [name, crypto] of Object.entries(CRYPTO)) {
  const open = (files, publicKey = KEY) => readBundle(files, "signed", { publicKey }, crypto);

  test(`${name} opens a signed bundle with the key that signed it`, async () => {
    const { signedBy } = await open(members("autoencoder"));
    assert.match(signedBy, /^[0-9a-f]{16}$/);
  });

  test(`${name} refuses somebody else's key`, async () => {
    await assert.rejects(open(members("autoencoder"), OTHER), /key [0-9a-f]{16} made it/);
  });

  test(`${name} refuses a bundle that was changed and sealed again`, async () => {
    const files = await resealed(members("autoencoder"), {}, (m) => { m.rules.final.value += 1; });
    await assert.rejects(open(files), /manifest was changed/);
    await checkBundle(files);
  });

  test(`${name} refuses a bundle without a signature`, async () => {
    const files = members("autoencoder");
    files.delete("manifest.sig");
    await assert.rejects(open(files), /not signed/);
  });

  test(`${name} refuses every flipped bit of the signature but those of the key's name`, async () => {
    const files = members("autoencoder");
    const whole = files.get("manifest.sig");
    const named = new TextDecoder().decode(whole).indexOf("\nkey ") + 5;
    for (let at = 0; at < whole.length; at += 1) {
      const damaged = Uint8Array.from(whole);
      damaged[at] ^= 1;
      if (at >= named && at < named + 16) continue;
      await assert.rejects(open(new Map([...files, ["manifest.sig", damaged]])), BundleError);
    }
  });
}

test("a key as PEM text, as its bytes and as 32 bytes is the same key", async () => {
  const pem = new TextEncoder().encode(KEY);
  const raw = new Uint8Array(Buffer.from(KEY.split("\n")[1], "base64").subarray(-32));
  const ids = await Promise.all(
    [pem, KEY, raw].map(async (publicKey) => (await checkBundle(members("autoencoder"), { publicKey })).signedBy),
  );
  assert.equal(new Set(ids).size, 1);
});
