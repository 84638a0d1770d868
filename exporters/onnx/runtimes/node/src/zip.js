/**
 * The zip form of a bundle: stored, sorted, undated, and exactly one way to write it.
 *
 * A zip says everything twice, in front of each member and in a directory at the end, and tools that trust different
 * copies see different files. So the members are read from the front, the zip that they would make is written down, and
 * every byte that differs is refused. That leaves no room for compression, second directories, comments, gaps, trailing
 * data, or headers that contradict each other. Nothing is extracted; a name is never used as a path.
 *
 * PKWARE's APPNOTE, sections 4.3.7, 4.3.12 and 4.3.16, describes the format.
 */

import { latin, sameBytes } from "./bytes.js";
import { BundleError } from "./errors.js";
import { checkName, LARGEST_BUNDLE, LONGEST_NAME, MOST_MEMBERS } from "./members.js";

const LOCAL = 0x04034b50;
const CENTRAL = 0x02014b50;
const END = 0x06054b50;
const VERSION = 10;
const UNIX = 3;
const FIRST_DAY = (1 << 5) | 1;
const RW_R_R = 0o100644 * 2 ** 16;

/** @typedef {import("./members.js").Members} Members */

/**
 * The zip of these files; the same files give the same bytes.
 * @param {Members} files
 * @returns {Uint8Array}
 */
export function pack(files) {
  /** @type {Uint8Array[]} */
  const parts = [];
  /** @type {Uint8Array[]} */
  const directory = [];
  let at = 0;
  // Names are ASCII, so the order of UTF-16 units is the order of bytes.
  for (const name of [...files.keys()].sort()) {
    const data = /** @type {Uint8Array} */ (files.get(name));
    const crc = crc32(data);
    const common = [VERSION, 0, 0, 0, FIRST_DAY];
    const sizes = [crc, data.length, data.length];
    const encoded = Uint8Array.from(name, (x) => x.charCodeAt(0));
    const local = record([[4, LOCAL], ...two(common), ...four(sizes), ...two([name.length, 0])]);
    parts.push(local, encoded, data);
    directory.push(
      record([
        [4, CENTRAL], ...two([UNIX * 256 + VERSION, ...common]), ...four(sizes), ...two([name.length, 0, 0, 0, 0]),
        ...four([RW_R_R, at]),
      ]),
      encoded,
    );
    at += local.length + encoded.length + data.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const end = record([[4, END], ...two([0, 0, files.size, files.size]), ...four([size, at]), [2, 0]]);
  return joined([...parts, ...directory, end]);
}

/**
 * The members of a zip as `pack` writes it.
 * @param {Uint8Array} content
 * @param {string} subject
 * @returns {Members}  views of `content`
 * @throws {BundleError} anything else; the message says what
 */
export function unpack(content, subject) {
  if (content.length > LARGEST_BUNDLE) throw wrong(subject, `${content.length} bytes, allowed are ${LARGEST_BUNDLE}`);
  const view = new DataView(content.buffer, content.byteOffset, content.length);
  /** @type {Members} */
  const files = new Map();
  let at = 0;
  let last = "";
  while (at + 30 <= content.length && view.getUint32(at, true) === LOCAL && files.size < MOST_MEMBERS) {
    const start = at + 30 + view.getUint16(at + 26, true);
    const name = latin(content.subarray(at + 30, Math.min(start, at + 30 + LONGEST_NAME + 1)));
    const size = view.getUint32(at + 22, true);
    checkName(name, subject);
    const said = JSON.stringify(name);
    if (view.getUint16(at + 8, true)) throw wrong(subject, `member ${said} is compressed, and a bundle is stored as it is`);
    if (files.has(name)) throw wrong(subject, `member ${said} is there twice`);
    if (name < last) throw wrong(subject, `member ${said} is out of order`);
    if (start + size > content.length) throw wrong(subject, `member ${said} is cut off`);
    files.set(name, content.subarray(start, start + size));
    last = name;
    at = start + size;
  }
  if (!files.size) throw wrong(subject, "no member at its beginning");
  const expected = pack(files);
  if (!sameBytes(expected, content)) {
    const where = expected.findIndex((byte, i) => byte !== content[i]);
    const what = where < 0 ? "something follows its end" : `byte ${where} contradicts its members`;
    throw wrong(subject, what);
  }
  return files;
}

/**
 * @param {string} subject
 * @param {string} problem
 */
function wrong(subject, problem) {
  return new BundleError(
    `${subject}: not the zip of a bundle: ${problem}. Make it with \`sri bundle pack\`; other zips are not read.`,
  );
}

/**
 * Little-endian numbers of two or four bytes.
 * @param {[number, number][]} fields  (bytes, value)
 */
function record(fields) {
  const view = new DataView(new ArrayBuffer(fields.reduce((sum, [bytes]) => sum + bytes, 0)));
  let at = 0;
  for (const [bytes, value] of fields) {
    if (bytes === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += bytes;
  }
  return new Uint8Array(view.buffer);
}

/** @param {number[]} values @returns {[number, number][]} */
const two = (values) => values.map((value) => [2, value]);
/** @param {number[]} values @returns {[number, number][]} */
const four = (values) => values.map((value) => [4, value]);

/** @param {Uint8Array[]} parts */
function joined(parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

/** @param {Uint8Array} bytes */
function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = /** @type {number} */ (TABLE[(crc ^ byte) & 0xff]) ^ (crc >>> 8);
  return ~crc >>> 0;
}

/**
 * @param {Uint8Array} content
 * @returns {boolean} whether it begins like a zip file
 */
export function looksLikeZip(content) {
  return content[0] === 0x50 && content[1] === 0x4b;
}
