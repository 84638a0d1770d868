/** Bytes and text, the same in Node and in browsers. */

/** One character per byte, 0 to 255: positions in the text are positions in the bytes. */
const LATIN = "latin1";
const PIECE = 8192;

/**
 * @param {Uint8Array} bytes
 * @returns {string} one character per byte
 */
export function latin(bytes) {
  if (typeof Buffer !== "undefined") return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString(LATIN);
  const parts = [];
  for (let at = 0; at < bytes.length; at += PIECE) {
    parts.push(String.fromCharCode(...bytes.subarray(at, at + PIECE)));
  }
  return parts.join("");
}

/**
 * Strict UTF-8.
 * @param {Uint8Array} bytes
 * @returns {string}
 * @throws {TypeError} not UTF-8
 */
export function utf8(bytes) {
  // A byte order mark stays, and whoever parses the text refuses it.
  return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
}

/**
 * Strict base64.
 * @param {string} text
 * @returns {Uint8Array | null} null = not base64
 */
export function fromBase64(text) {
  // `atob` skips spaces and takes unpadded text.
  if (text.length % 4 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return null;
  const binary = atob(text);
  if (btoa(binary) !== text) return null; // Bits behind the last byte.
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i += 1) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/**
 * @param {ArrayBuffer | Uint8Array} bytes
 * @returns {string} lower-case hex
 */
export function hex(bytes) {
  return Array.from(bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes), (x) => x.toString(16).padStart(2, "0"))
    .join("");
}

/**
 * @param {Uint8Array} a
 * @param {Uint8Array} b
 * @returns {boolean}
 */
export function sameBytes(a, b) {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i += 1) if (a[i] !== b[i]) return false;
  return true;
}
