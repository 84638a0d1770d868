import assert from "node:assert/strict";
import { test } from "node:test";

import { BundleError, checkBundle } from "../src/index.js";
import { parseJson } from "../src/json.js";
import { resealed } from "./reseal.js";
import { json, members } from "./vectors.js";

const { grammar, manifest } = json("refusals.json");

for (const { name, base64 } of grammar.refused) {
  test(`as JSON, ${name} is refused`, () => assert.throws(() => parseJson(Buffer.from(base64, "base64"))));
}

for (const { name, base64 } of grammar.accepted) {
  test(`as JSON, ${name} is read`, () => {
    const text = Buffer.from(base64, "base64");
    assert.deepEqual(parseJson(text), JSON.parse(text.toString()));
  });
}

for (const { name, path, json: value } of manifest.refused) {
  test(`in a manifest, ${name} is refused although the digest is right`, async () => {
    const change = (m) => {
      const place = path.slice(0, -1).reduce((above, key) => above[key], m);
      place[path.at(-1)] = "<here>";
    };
    const files = await resealed(members("autoencoder"), {}, change, (text) => text.replace('"<here>"', () => value));
    await assert.rejects(checkBundle(files), BundleError);
  });
}
