import assert from "node:assert/strict";
import { test } from "node:test";
import { deflateRawSync } from "node:zlib";

import { readSignals, ScoringError } from "../src/index.js";

const text = (word) => new TextEncoder().encode(word);

/** An array as numpy writes it. */
function npy(descr, shape, data, fortran = false) {
  const head = `{'descr': '${descr}', 'fortran_order': ${fortran ? "True" : "False"}, 'shape': (${shape.join(", ")},), }`;
  const padded = `${head.padEnd(117)}\n`;
  return Uint8Array.of(0x93, ...text("NUMPY"), 1, 0, padded.length, 0, ...text(padded), ...new Uint8Array(data.buffer));
}

/** A zip as numpy writes it: a directory at the end, extra fields in front. */
function npz(arrays, packed) {
  const parts = [];
  const directory = [];
  let at = 0;
  for (const [name, content] of Object.entries(arrays)) {
    const data = packed ? deflateRawSync(content) : Buffer.from(content);
    const head = Buffer.alloc(30);
    head.writeUInt32LE(0x04034b50, 0);
    head.writeUInt16LE(name.length, 26);
    head.writeUInt16LE(4, 28);
    const entry = Buffer.alloc(46);
    entry.writeUInt32LE(0x02014b50, 0);
    entry.writeUInt16LE(packed ? 8 : 0, 10);
    entry.writeUInt32LE(data.length, 20);
    entry.writeUInt32LE(content.length, 24);
    entry.writeUInt16LE(name.length, 28);
    entry.writeUInt32LE(at, 42);
    const local = Buffer.concat([head, Buffer.from(name), Buffer.alloc(4), data]);
    parts.push(local);
    directory.push(entry, Buffer.from(name));
    at += local.length;
  }
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(Object.keys(arrays).length, 10);
  end.writeUInt32LE(at, 16);
  return new Uint8Array(Buffer.concat([...parts, ...directory, end]));
}

const numbers = (signals) => [...signals.sigma];

test("a bare array is what the bundle reads", async () => {
  const array = npy("<f4", [2, 3], Float32Array.of(1, 2, 3, 4, 5, 6));
  const sigma = await readSignals("x.npy", array, "sigma");
  assert.deepEqual([sigma.shape, numbers(sigma), sigma.logit, sigma.ids], [[2, 3, 1], [1, 2, 3, 4, 5, 6], null, ["0", "1"]]);
  assert.equal((await readSignals("x.npy", array, "logit")).sigma, null);
});

test("every kind of number reads the same", async () => {
  const forms = {
    "<f8": Float64Array.of(1, 2), "<i4": Int32Array.of(1, 2), "<i8": BigInt64Array.of(1n, 2n), "|u1": Uint8Array.of(1, 2),
    "<f2": Uint16Array.of(0x3c00, 0x4000), ">i2": Uint8Array.of(0, 1, 0, 2),
  };
  for (const [descr, data] of Object.entries(forms)) {
    assert.deepEqual(numbers(await readSignals("x.npy", npy(descr, [1, 2], data))), [1, 2], descr);
  }
});

test("an array that was written column by column is turned", async () => {
  const array = npy("<f4", [2, 2, 2], Float32Array.of(0, 4, 2, 6, 1, 5, 3, 7), true);
  assert.deepEqual(numbers(await readSignals("x.npy", array)), [0, 1, 2, 3, 4, 5, 6, 7]);
});

const HEAD = '{"sri_signals":1,"fingerprint":{"hard":{"a":1.0},"soft":{}}}';

for (const packed of [false, true]) {
  test(`an archive of arrays ${packed ? "that is compressed" : "that is stored"} is read`, async () => {
    const archive = npz(
      {
        "sigma.npy": npy("<f4", [2, 2], Float32Array.of(0.25, 0.5, NaN, 1)),
        "ids.npy": npy("<U2", [2], Uint32Array.of(97, 0, 98, 0x1f600)),
        "lengths.npy": npy("<i8", [2], BigInt64Array.of(2n, 1n)),
        "head.npy": npy("|u1", [HEAD.length], text(HEAD)),
      },
      packed,
    );
    const signals = await readSignals("x.npz", archive);
    assert.deepEqual(signals.ids, ["a", "b😀"]);
    assert.deepEqual([signals.lengths, signals.fingerprint, numbers(signals)], [[2, 1], { hard: { a: 1 }, soft: {} }, [0.25, 0.5, NaN, 1]]);
  });
}

test("lines, and the same objects in a list, give the same signals", async () => {
  const objects = ['{"sri_signals": 1, "fingerprint": {"hard": {}, "soft": {}}}', '{"id": "a", "sigma": [0.5, NaN, -Infinity]}',
    '{"id": "NaN", "sigma": [1, null, 0], "length": 2}'];
  for (const [name, content] of [["x.jsonl", objects.join("\n\n")], ["x.json", `[${objects.join(",")}]`]]) {
    const signals = await readSignals(name, text(content));
    assert.deepEqual(numbers(signals), [0.5, NaN, -Infinity, 1, NaN, 0]);
    assert.deepEqual([signals.ids, signals.lengths, signals.fingerprint], [["a", "NaN"], [3, 2], { hard: {}, soft: {} }]);
  }
});

test("a byte-order mark in front is skipped in lines and in lists", async () => {
  for (const [name, line] of [["x.jsonl", '{"id": "a", "sigma": [0.5]}'], ["x.json", '[{"id": "a", "sigma": [0.5]}]']]) {
    assert.deepEqual(numbers(await readSignals(name, text(`\ufeff${line}`))), [0.5]);
  }
});

test("what stands in an archive twice, is unknown or of another kind is refused", async () => {
  const sigma = npy("<f4", [1, 2], Float32Array.of(0.5, 0.5));
  for (const [more, why] of [
    [{ sigma }, /sigma twice/],
    [{ "length.npy": npy("<i8", [1], BigInt64Array.of(1n)) }, /unknown member "length"/],
    [{ "lengths.npy": npy("<f8", [1], Float64Array.of(1.5)) }, /lengths is an array of kind f/],
    [{ "lengths.npy": npy("<i8", [1, 1], BigInt64Array.of(1n)) }, /lengths is an array .* shape \[1, 1\]/],
    [{ "ids.npy": npy("<f8", [1], Float64Array.of(1)) }, /ids is an array of kind f/],
    [{ "ids.npy": npy("<U2", [1], Uint32Array.of(0, 98)) }, /the id holds a NUL/],
    [{ "ids.npy": npy("<U1", [1], Uint32Array.of(0xd800)) }, /half a surrogate pair/],
    [{ "head.npy": npy("|u1", [18], text('{"sri_signals":1.0')) }, /cannot be read/],
    [{ "head.npy": npy("|u1", [19], text('{"sri_signals":1.0}')) }, /signals format/],
    [{ "head.npy": npy("|u1", [33], text('{"sri_signals":1,"sri_signals":1}')) }, /is there twice/],
  ]) {
    await assert.rejects(readSignals("x.npz", npz({ "sigma.npy": sigma, ...more })), why);
  }
});

const WRONG = {
  "x.txt": [text("1"), /unknown kind of file/],
  "x.npy": [text("hello"), /does not begin like/],
  "x.npz": [text("hello"), /not a zip/],
  "object.npy": [npy("|O", [1, 1], Float64Array.of(1)), /no plain numbers/],
  "short.npy": [npy("<f4", [9, 9], Float32Array.of(1)), /shape \[9, 9\] needs 324/],
  "flat.npy": [npy("<f4", [1], Float32Array.of(1)), /allowed: numbers of shape/],
  "empty.jsonl": [text("\n"), /holds no signals/],
  "keys.jsonl": [text('{"id": "a", "sigma": [1], "prompt": "x"}'), /line 1: found keys/],
  "form.jsonl": [text('{"id": "a", "sigma": [1]}\n{"id": "b", "logit": [1]}'), /line 2: found keys/],
  "shape.jsonl": [text('{"id": "a", "sigma": [1]}\n{"id": "b", "sigma": [1, 2]}'), /line 2: sigma has/],
  "ragged.jsonl": [text('{"id": "a", "sigma": [[1], [1, 2]]}'), /not a list of T numbers/],
  "words.jsonl": [text('{"id": "a", "sigma": ["1"]}'), /not a list of T numbers/],
  "length.jsonl": [text('{"id": "a", "sigma": [1], "length": 0.5}'), /length is 0.5/],
  "later.jsonl": [text('{"id": "a", "sigma": [1]}\n{"sri_signals": 1}'), /allowed first only/],
  "twice.json": [text('[{"id": "a", "sigma": [1], "sigma": [2]}]'), /is there twice/],
  "json.jsonl": [text("{"), /line 1: not JSON/],
};

for (const [name, [content, why]] of Object.entries(WRONG)) {
  test(`${name} is refused with a reason`, async () => {
    await assert.rejects(readSignals(name, content), (err) => {
      assert.ok(err instanceof ScoringError, `${err.name}: ${err.message}`);
      assert.match(err.message, why);
      return true;
    });
  });
}
