/** Arrays as text: base64 of row-major little-endian bytes. */

import { fromBase64 } from "./bytes.js";
import { list, Misfit, object, oneOf, text, whole } from "./schema.js";

/** @typedef {"float32" | "int64" | "bool"} Dtype */
/**
 * @typedef {object} Unpacked
 * @property {Dtype} dtype
 * @property {number[]} shape
 * @property {Float32Array | BigInt64Array | Uint8Array} data  a bool is one byte, 0 or 1
 */

const BYTES = { float32: 4, int64: 8, bool: 1 };
const FIELDS = object({ dtype: oneOf("float32", "int64", "bool"), shape: list(whole(0)), base64: text });

/** @type {import("./schema.js").Check} */
export const packed = (value, at) => {
  FIELDS(value, at);
  const bytes = fromBase64(value.base64);
  if (bytes === null) throw new Misfit(`${at}.base64`, "is not base64");
  if (value.shape.length > 8) throw new Misfit(`${at}.shape`, "has more than 8 dimensions");
  const count = value.shape.reduce((/** @type {number} */ a, /** @type {number} */ b) => a * b, 1);
  if (bytes.length !== count * BYTES[/** @type {Dtype} */ (value.dtype)]) {
    throw new Misfit(at, `${bytes.length} bytes for ${value.dtype} of shape [${value.shape.join(", ")}]`);
  }
  if (value.dtype === "bool" && bytes.some((x) => x > 1)) throw new Misfit(at, "holds a bool that is neither 0 nor 1");
};

/**
 * @param {any} value  checked by `packed`
 * @returns {Unpacked}
 */
export function unpack(value) {
  const bytes = fromBase64(value.base64) ?? new Uint8Array();
  const view = new DataView(bytes.buffer);
  const count = bytes.length / BYTES[/** @type {Dtype} */ (value.dtype)];
  // Read number by number: typed arrays have the byte order of the machine.
  if (value.dtype === "float32") {
    const data = Float32Array.from({ length: count }, (_, i) => view.getFloat32(4 * i, true));
    return { dtype: "float32", shape: value.shape, data };
  }
  if (value.dtype === "int64") {
    const data = BigInt64Array.from({ length: count }, (_, i) => view.getBigInt64(8 * i, true));
    return { dtype: "int64", shape: value.shape, data };
  }
  return { dtype: "bool", shape: value.shape, data: bytes };
}
