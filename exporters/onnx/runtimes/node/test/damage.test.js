import assert from "node:assert/strict";
import { test } from "node:test";

import { BundleError, checkBundle, ConfigError, loadGuard } from "../src/index.js";
import { pack } from "../src/zip.js";
import { json, KEY, members, NAMES, path, zip } from "./vectors.js";
import { resealed } from "./reseal.js";

const NAME = "autoencoder";
/** Of graphs and zips every fifth byte is flipped; SRI_STEP=1 flips all of them. */
const STEP = Number(process.env.SRI_STEP ?? 5);

/** Every refusal is a BundleError whose message names the bundle and says more than that. */
async function refuses(source, options) {
  await assert.rejects(checkBundle(source, { subject: "the-bundle", ...options }), (err) => {
    assert.ok(err instanceof BundleError, `${err.name}: ${err.message}`);
    assert.match(err.message, /the-bundle.{20}/s);
    return true;
  });
}

test("the changes that every runtime must refuse are refused", async () => {
  for (const { bundle, file, offset, xor } of [...json("damage.json"), ...json("damage-2.json")]) {
    const files = members(bundle);
    files.get(file)[offset] ^= xor;
    await refuses(files);
  }
});

for (const name of [NAME, "request-horizon"]) test(`every flipped bit of the manifest of ${name} is refused`, async () => {
  const files = members(name);
  const whole = files.get("manifest.json");
  for (let at = 0; at < whole.length; at += 1) {
    const damaged = Uint8Array.from(whole);
    damaged[at] ^= 1 << at % 8;
    await refuses(new Map([...files, ["manifest.json", damaged]]));
  }
});

test("a flipped bit of a graph is refused, wherever it is", async () => {
  const files = members(NAME);
  for (const name of ["signal.onnx", "prefix.onnx"]) {
    const whole = files.get(name);
    for (let at = 0; at < whole.length; at += STEP) {
      const damaged = Uint8Array.from(whole);
      damaged[at] ^= 1 << at % 8;
      await refuses(new Map([...files, [name, damaged]]));
    }
  }
});

test("a flipped bit of a zip is refused, wherever it is", async () => {
  const whole = zip(NAME);
  for (let at = 0; at < whole.length; at += STEP) {
    const damaged = Uint8Array.from(whole);
    damaged[at] ^= 1 << at % 8;
    await refuses(damaged);
  }
});

test("a cut or longer file is refused", async () => {
  const files = members(NAME);
  for (const name of files.keys()) {
    const whole = files.get(name);
    for (const content of [whole.subarray(0, -1), Uint8Array.of(...whole, 10), new Uint8Array()]) {
      await refuses(new Map([...files, [name, content]]), { publicKey: KEY });
    }
  }
});

test("a missing file and a file that nobody listed are refused", async () => {
  const files = members(NAME);
  for (const name of files.keys()) {
    await refuses(new Map([...files].filter(([other]) => other !== name)), { publicKey: KEY });
  }
  await refuses(new Map([...files, ["notes.txt", Uint8Array.of(1)]]));
});

test("a graph whose hash was mended is refused by the inspector, by onnxruntime or by its golden vectors", async () => {
  const files = members(NAME);
  const whole = files.get("signal.onnx");
  let refused = 0;
  for (let i = 0; i < 100; i += 1) {
    const damaged = Uint8Array.from(whole);
    damaged[(i * 7919) % whole.length] ^= 1 << i % 8;
    try {
      // What changes nothing that counts, as a letter of a comment, may load.
      await (await loadGuard(await resealed(files, { "signal.onnx": damaged }), { subject: "x" })).dispose();
    } catch (err) {
      assert.ok(err instanceof BundleError, `${err.name}: ${err.message}`);
      refused += 1;
    }
  }
  // The low bits of weights move a score by less than runtimes may differ.
  assert.ok(refused > 30, `${refused} of 100 refused`);
});

const LIES = {
  "a tier that runs elsewhere": (m) => { m.detector.tier = "python"; },
  "another format": (m) => { m.format = 2; },
  "an unknown key": (m) => { m.extra = 1; },
  "a key of every object's parent": (m) => { m.producer = JSON.parse('{"__proto__": 1}'); },
  "a missing key": (m) => { delete m.tau; },
  "a threshold that no score reaches": (m) => { m.rules.final.value = 3e38; },
  "a number that is a text": (m) => { m.rules.final.value = "1"; },
  "unsorted calibration scores": (m) => { m.rules.final.scores.base64 = reversed(m.rules.final.scores.base64); },
  "fewer calibration scores": (m) => { m.rules.final.n -= 1; },
  "a rank beyond the scores": (m) => { m.rules.final.rank = m.rules.final.n + 1; },
  "another shape": (m) => { m.signal.cells += 1; },
  "a graph of another name": (m) => { m.graphs.prefix.file = "signal.onnx"; },
  "no golden vectors": (m) => { delete m.golden.prefix; },
  "an infinite tolerance": (m) => { m.golden.signal.tolerance.base64 = m.golden.signal.tolerance.base64.replace(/.{8}/g, "AACAfwAA"); },
  "base64 with a space": (m) => { m.golden.signal.score.base64 = ` ${m.golden.signal.score.base64.slice(1)}`; },
  "a grid that counts nothing": (m) => { m.grid.budget = 0; },
  "bounds that are the wrong way round": (m) => { [m.signal.low, m.signal.high] = [m.signal.high, m.signal.low]; },
  "a graph of a name that no reader knows": (m) => { m.graphs.other = m.graphs.full; m.golden.other = m.golden.signal; },
  "a path as a file name": (m) => { m.graphs.signal.file = "../signal.onnx"; },
};

for (const [what, change] of Object.entries(LIES)) {
  test(`a manifest with ${what} is refused although its digest is right`, async () => {
    await refuses(await resealed(members(NAME), {}, change));
  });
}

test("a key that stands twice is refused", async () => {
  const twice = (text) => text.replace('\n "eps":', '\n "tau": 1.0,\n "eps":');
  await refuses(await resealed(members(NAME), {}, () => {}, twice));
});

test("a detector that scores something else is refused by its golden vectors", async () => {
  const files = await resealed(members(NAME), {}, (m) => {
    const { base64 } = m.golden.signal.score;
    m.golden.signal.score.base64 = `AACAPw==`.slice(0, 4) + base64.slice(4);
  });
  await assert.rejects(loadGuard(files, { subject: "the-bundle" }), /golden row 0/);
});

test("a pinned digest or a key that is none is the caller's mistake", async () => {
  for (const options of [{ digest: "abc" }, { publicKey: "/some/path.pub" }, { publicKey: "" }]) {
    await assert.rejects(checkBundle(path(NAME, "bundle"), options), ConfigError);
  }
});

test("the right digest opens a bundle and another one does not", async () => {
  const { manifest } = await checkBundle(path(NAME, "bundle"));
  await checkBundle(path(NAME, "bundle"), { digest: manifest.digest.toUpperCase() });
  await refuses(path(NAME, "bundle"), { digest: manifest.digest.replace(/^./, (x) => (x === "0" ? "1" : "0")) });
});

test("the zip and the folder are the same bundle", async () => {
  for (const name of NAMES) {
    const [folder, packed] = await Promise.all([path(name, "bundle"), zip(name)].map((form) => checkBundle(form)));
    assert.deepEqual(packed.files, folder.files);
  }
});

function reversed(base64) {
  const scores = Buffer.from(base64, "base64");
  const numbers = new Float32Array(scores.buffer.slice(scores.byteOffset, scores.byteOffset + scores.length));
  return Buffer.from(numbers.reverse().buffer).toString("base64");
}
