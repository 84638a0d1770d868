import assert from "node:assert/strict";
import { test } from "node:test";

import { BundleError, checkBundle, loadGuard, readSignals, ScoringError } from "../src/index.js";
import { parseJson } from "../src/json.js";
import { resealed } from "./reseal.js";
import { json, members, path } from "./vectors.js";

const { grammar, manifest, signal_lines: lines, signal_heads: heads, signal_files: files } = json("refusals.json");
const bytes = (base64) => Buffer.from(base64, "base64");

for (const { name, base64 } of grammar.refused) {
  test(`as JSON, ${name} is refused`, () => assert.throws(() => parseJson(Buffer.from(base64, "base64"))));
}

for (const { name, base64 } of grammar.accepted) {
  test(`as JSON, ${name} is read`, () => {
    const text = Buffer.from(base64, "base64");
    assert.deepEqual(parseJson(text), JSON.parse(text.toString()));
  });
}

test("2^20 values are read, and one more is refused", () => {
  const list = (count) => Buffer.from(`[${Array(count).fill(1)}]`);
  assert.equal(parseJson(list(2 ** 20 - 1)).length, 2 ** 20 - 1);
  assert.throws(() => parseJson(list(2 ** 20)), /values/);
});

/** A bundle of format 2 with values of its manifest replaced by some texts, or taken out. */
function changed2({ bundle, changes, files: added = {} }) {
  const more = Object.entries(added).map(([name, content]) => [name, new Uint8Array(bytes(content))]);
  const change = (m) => changes.forEach(({ path, json: value }, i) => {
    const place = path.slice(0, -1).reduce((above, key) => above[key], m);
    if (value === undefined) delete place[path.at(-1)];
    else place[path.at(-1)] = `<${i}>`;
  });
  const rewrite = (text) => changes.reduce((so, { json: value }, i) => (value === undefined ? so : so.replace(`"<${i}>"`, () => value)), text);
  return resealed(new Map([...members(bundle), ...more]), {}, change, rewrite);
}

const second = json("refusals-2.json");
for (const one of second.manifest.refused) {
  test(`in a manifest of format 2, ${one.name} is refused although the digest is right`, async () => {
    await assert.rejects(checkBundle(await changed2(one)), BundleError);
  });
}

for (const one of second.manifest.accepted) {
  test(`in a manifest of format 2, ${one.name} is read`, async () => {
    assert.equal((await checkBundle(await changed2(one))).manifest.format, 2);
  });
}

for (const one of second.signals.refused) {
  test(`for ${one.bundle}, signals with ${one.name} are refused`, async () => {
    const guard = await loadGuard(path(one.bundle, "bundle"));
    await assert.rejects(readSignals("x.jsonl", bytes(one.base64)).then((found) => guard.score(found, { unverified: true })), ScoringError);
    await guard.dispose();
  });
}

for (const one of second.signals.accepted) {
  test(`for ${one.bundle}, signals with ${one.name} are judged`, async () => {
    const guard = await loadGuard(path(one.bundle, "bundle"));
    const found = await guard.score(await readSignals("x.jsonl", bytes(one.base64)), { unverified: true });
    assert.ok(found.length > 0);
    await guard.dispose();
  });
}

/** A bundle with one value of its manifest replaced by some text. */
function changed(path, value) {
  const change = (m) => {
    const place = path.slice(0, -1).reduce((above, key) => above[key], m);
    place[path.at(-1)] = "<here>";
  };
  return resealed(members("autoencoder"), {}, change, (text) => text.replace('"<here>"', () => value));
}

for (const { name, path: place, json: value } of manifest.refused) {
  test(`in a manifest, ${name} is refused although the digest is right`, async () => {
    await assert.rejects(checkBundle(await changed(place, value)), BundleError);
  });
}

for (const { name, path: place, json: value } of manifest.accepted) {
  test(`in a manifest, ${name} is read`, async () => {
    const found = place.reduce((above, key) => above[key], (await checkBundle(await changed(place, value))).manifest);
    assert.deepEqual(found, JSON.parse(value));
  });
}

test("a manifest may spell every text with escapes", async () => {
  const escaped = (word) => `"${[...JSON.parse(word)].map((c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`).join("")}"`;
  const spelt = (text) => text.replace(/"(?:[^"\\]|\\.)*"/g, (word) => (/^"(digest|0{64})"$/.test(word) ? word : escaped(word)));
  await checkBundle(await resealed(members("autoencoder"), {}, () => {}, spelt));
});

const SIGNALS = [
  ["line", lines, (one) => Buffer.concat([bytes(lines.before), bytes(one.base64)]), ["a", "b"], /x\.jsonl, line 2[:,] /],
  ["head", heads, (one) => Buffer.concat([bytes(one.base64), bytes(heads.after)]), ["a"], /x\.jsonl, line 1[:,] /],
  ["file", files, (one) => bytes(one.base64), null, /x\.jsonl/],
];

for (const [kind, { refused, accepted }, whole, ids, place] of SIGNALS) {
  for (const one of refused) {
    test(`as a ${kind} of signals, ${one.name} is refused`, async () => {
      await assert.rejects(readSignals("x.jsonl", whole(one)), (err) => err instanceof ScoringError && place.test(err.message));
    });
  }
  for (const one of accepted) {
    test(`as a ${kind} of signals, ${one.name} is read`, async () => {
      const signals = await readSignals("x.jsonl", whole(one));
      assert.deepEqual([signals.ids.length, signals.shape], [(one.ids ?? ids).length, [(one.ids ?? ids).length, 16, 1]]);
    });
  }
}
