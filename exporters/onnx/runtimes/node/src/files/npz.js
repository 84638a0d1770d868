/**
 * Arrays of numpy in a zip: .npz, stored or deflated. These are the user's own signals and no bundle, so the reader is
 * as lenient as numpy: it trusts the directory at the end. It refuses what is there twice.
 */

import { latin } from "../bytes.js";
import { NotAnArray, readNpy } from "./npy.js";

/** Bytes of all arrays, unpacked. */
const LARGEST = 2 ** 30;

/**
 * @param {Uint8Array} content
 * @returns {Promise<Map<string, import("./npy.js").Npy>>} arrays by name
 * @throws {NotAnArray}
 */
export async function readNpz(content) {
  const view = new DataView(content.buffer, content.byteOffset, content.length);
  let end = content.length - 22;
  while (end >= 0 && view.getUint32(end, true) !== 0x06054b50) end -= 1;
  if (end < 0) throw new NotAnArray("is not a zip file");
  /** @type {Map<string, import("./npy.js").Npy>} */
  const arrays = new Map();
  let at = view.getUint32(end + 16, true);
  let room = LARGEST;
  for (let left = view.getUint16(end + 10, true); left; left -= 1) {
    if (at + 46 > end || view.getUint32(at, true) !== 0x02014b50) throw new NotAnArray("has a damaged directory");
    const [method, packed, size] = [view.getUint16(at + 10, true), view.getUint32(at + 20, true), view.getUint32(at + 24, true)];
    const [name, extra, comment] = [28, 30, 32].map((field) => view.getUint16(at + field, true));
    const local = view.getUint32(at + 42, true);
    const called = latin(content.subarray(at + 46, at + 46 + /** @type {number} */ (name)));
    at += 46 + /** @type {number} */ (name) + /** @type {number} */ (extra) + /** @type {number} */ (comment);
    if (local + 30 > end || view.getUint32(local, true) !== 0x04034b50) throw new NotAnArray("has a damaged directory");
    // The header in front has extra fields of its own length.
    const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    room -= size;
    if (start + packed > end || room < 0) throw new NotAnArray(`is damaged, or holds more than ${LARGEST} bytes`);
    const bytes = content.subarray(start, start + packed);
    if (method !== 0 && method !== 8) throw new NotAnArray(`holds ${called}, packed in a way numpy does not use`);
    const array = method === 8 ? await inflate(bytes, size) : bytes;
    if (array.length !== size) throw new NotAnArray(`holds ${called}, which is not as long as it says`);
    const member = called.replace(/\.npy$/, "");
    if (arrays.has(member)) throw new NotAnArray(`holds ${member} twice, and nothing says which one counts`);
    arrays.set(member, readNpy(array));
  }
  return arrays;
}

/**
 * @param {Uint8Array} bytes
 * @param {number} size  what comes out; more is refused as it comes
 */
async function inflate(bytes, size) {
  const whole = new Uint8Array(size);
  let at = 0;
  try {
    const stream = new Blob([Uint8Array.from(bytes)]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
    const reader = stream.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return whole.subarray(0, at);
      if (at + value.length > size) {
        await reader.cancel();
        throw new NotAnArray("holds an array that is longer than it says");
      }
      whole.set(value, at);
      at += value.length;
    }
  } catch (err) {
    if (err instanceof NotAnArray) throw err;
    throw new NotAnArray("is damaged: an array cannot be unpacked");
  }
}
