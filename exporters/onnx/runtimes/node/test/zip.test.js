import assert from "node:assert/strict";
import { test } from "node:test";

import { BundleError } from "../src/index.js";
import { pack, unpack } from "../src/zip.js";

const text = (word) => new TextEncoder().encode(word);
const FILES = new Map([["a.onnx", text("weights")], ["b.onnx", text("more")], ["manifest.json", text("{}")]]);
const whole = () => pack(FILES);

function refuses(content, why) {
  assert.throws(() => unpack(content, "x.zip"), (err) => err instanceof BundleError && why.test(err.message));
}

test("what is packed comes out again", () => {
  assert.deepEqual(unpack(whole(), "x.zip"), FILES);
});

test("the order in which files are given changes nothing", () => {
  assert.deepEqual(pack(new Map([...FILES].reverse())), whole());
});

test("trailing bytes, leading bytes and a second end record are refused", () => {
  refuses(Uint8Array.of(...whole(), 0), /contradicts|follows/);
  refuses(Uint8Array.of(0, ...whole()), /no member at its beginning/);
  refuses(Uint8Array.of(...whole(), ...whole().slice(-22)), /follows its end/);
  refuses(Uint8Array.of(...whole(), ...whole()), /follows its end/);
});

test("a file that is no zip is refused", () => {
  for (const content of [[], [0x50], [0x50, 0x4b, 3, 4], text("hello world, this is a text of some length")]) {
    refuses(Uint8Array.from(content), /no member at its beginning|damaged|cut off|called ""/);
  }
});

test("a compressed member is refused", () => {
  const content = whole();
  content[8] = 8;
  refuses(content, /compressed/);
});

test("a size beyond the file is refused before anything is allocated", () => {
  const content = whole();
  content.set([0xff, 0xff, 0xff, 0xff], 22);
  refuses(content, /cut off/);
});

test("a member that the directory names otherwise is refused", () => {
  const content = whole();
  const at = Buffer.from(content).lastIndexOf("b.onnx");
  content[at] = "c".charCodeAt(0);
  refuses(content, /contradicts its members/);
});

for (const name of ["../a", "a/b", "a\\b", ".hidden", "-rf", "", "C:a", "a\0", "ä", "x".repeat(101)]) {
  test(`a member called ${JSON.stringify(name.slice(0, 12))} is refused`, () => {
    // Whatever the name encodes to: the packer writes one byte per character.
    refuses(pack(new Map([[name, text("x")]])), /a file called|no member/);
  });
}

test("a name that stands twice is refused", () => {
  const [one] = split(pack(new Map([["a", text("1")]])));
  const [other] = split(pack(new Map([["a", text("2")]])));
  refuses(Uint8Array.of(...one, ...other), /twice/);
});

test("members out of order are refused", () => {
  const [a, b] = ["a", "b"].map((name) => split(pack(new Map([[name, text("1")]])))[0]);
  refuses(Uint8Array.of(...b, ...a), /out of order/);
});

test("more members than a bundle has are refused", () => {
  const many = new Map(Array.from({ length: 17 }, (_, i) => [`f${String(i).padStart(2, "0")}`, text("x")]));
  refuses(pack(many), /contradicts|follows/);
});

/** The member and the rest of a zip with one member. */
function split(content) {
  const at = Buffer.from(content).indexOf(Buffer.from([0x50, 0x4b, 1, 2]));
  return [content.slice(0, at), content.slice(at)];
}
