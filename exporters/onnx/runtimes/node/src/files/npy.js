/**
 * Arrays of numpy: .npy, versions 1 to 3.
 *
 * https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html describes the format.
 */

import { latin } from "../bytes.js";

/** @typedef {{ shape: number[], kind: string, values: (number | string)[] | Float32Array }} Npy */

/** A file that is not an array of numbers or texts. The caller says which file. */
export class NotAnArray extends Error {}

/** @type {Record<string, (view: DataView, at: number, little: boolean) => number>} */
const READERS = {
  f2: (view, at, little) => half(view.getUint16(at, little)),
  f4: (view, at, little) => view.getFloat32(at, little),
  f8: (view, at, little) => view.getFloat64(at, little),
  i1: (view, at) => view.getInt8(at),
  i2: (view, at, little) => view.getInt16(at, little),
  i4: (view, at, little) => view.getInt32(at, little),
  i8: (view, at, little) => Number(view.getBigInt64(at, little)),
  u1: (view, at) => view.getUint8(at),
  u2: (view, at, little) => view.getUint16(at, little),
  u4: (view, at, little) => view.getUint32(at, little),
  u8: (view, at, little) => Number(view.getBigUint64(at, little)),
};

/**
 * @param {Uint8Array} content
 * @returns {Npy}  values row by row; floats of 4 bytes stay as they are, texts are strings
 * @throws {NotAnArray}
 */
export function readNpy(content) {
  if (latin(content.subarray(0, 6)) !== "\x93NUMPY") throw new NotAnArray("does not begin like an array of numpy");
  const view = new DataView(content.buffer, content.byteOffset, content.length);
  const wide = (content[6] ?? 0) > 1;
  const start = wide ? 12 : 10;
  if (content.length < start) throw new NotAnArray("is cut off");
  const end = start + (wide ? view.getUint32(8, true) : view.getUint16(8, true));
  const head = latin(content.subarray(start, Math.min(end, start + 4096)));
  const [, order = "", type = "", size = ""] = /'descr':\s*'([<>|=])([a-zA-Z])(\d+)'/.exec(head) ?? [];
  const fortran = /'fortran_order':\s*(True|False)/.exec(head)?.[1];
  const inside = /'shape':\s*\(([\d,\s]*)\)/.exec(head)?.[1];
  if (!type || fortran === undefined || inside === undefined) {
    throw new NotAnArray("holds no plain numbers or texts (objects are not read)");
  }
  const shape = inside.split(",").filter((x) => x.trim()).map(Number);
  const count = shape.reduce((a, b) => a * b, 1);
  const width = type === "U" ? 4 * Number(size) : Number(size);
  if (end + count * width !== content.length) {
    throw new NotAnArray(`holds ${content.length - end} bytes, its shape [${shape.join(", ")}] needs ${count * width}`);
  }
  const little = order !== ">";
  if (type === "U") {
    const texts = Array.from({ length: count }, (_, i) => text(view, end + i * width, Number(size), little));
    return { shape, kind: type, values: texts };
  }
  const read = READERS[type + size];
  if (read === undefined) throw new NotAnArray(`holds ${type}${size}; allowed: numbers of up to 8 bytes`);
  const place = fortran === "True" ? columnMajor(shape) : (/** @type {number} */ i) => i;
  const value = (/** @type {unknown} */ _, /** @type {number} */ i) => read(view, end + place(i) * width, little);
  const values = type === "f" && size === "4" ? Float32Array.from({ length: count }, value) : Array.from({ length: count }, value);
  return { shape, kind: type, values };
}

/**
 * Where the row-major element i of an array lies that was written column by column.
 * @param {number[]} shape
 */
function columnMajor(shape) {
  return (/** @type {number} */ i) => {
    let [rest, stride, at] = [i, shape.reduce((a, b) => a * b, 1), 0];
    for (let axis = shape.length - 1; axis >= 0; axis -= 1) {
      const size = /** @type {number} */ (shape[axis]);
      stride /= size;
      at += (rest % size) * stride;
      rest = Math.floor(rest / size);
    }
    return at;
  };
}

/**
 * @param {DataView} view
 * @param {number} at
 * @param {number} size
 * @param {boolean} little
 */
function text(view, at, size, little) {
  const points = Array.from({ length: size }, (_, i) => view.getUint32(at + 4 * i, little));
  while (points.at(-1) === 0) points.pop();
  if (points.some((point) => point > 0x10ffff)) throw new NotAnArray("holds a text that is not Unicode");
  return String.fromCodePoint(...points);
}

/** A float of 2 bytes (IEEE 754). @param {number} bits */
function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const [exponent, fraction] = [(bits >> 10) & 0x1f, bits & 0x3ff];
  if (exponent === 0x1f) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24);
}
