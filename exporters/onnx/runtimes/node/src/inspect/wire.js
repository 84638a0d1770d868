/**
 * Protocol buffers, read strictly: every byte is accounted for, and what ONNX would not write is refused.
 *
 * A lenient parser takes unknown fields, repeated singular ones and numbers written longer than needed. Each is a way
 * for a file to mean one thing to a checker and another to a runtime, so here each is an error.
 *
 * https://protobuf.dev/programming-guides/encoding/ describes the format.
 */

import { utf8 } from "../bytes.js";

/** Wire types that ONNX uses. */
export const VARINT = 0;
export const BYTES = 2;
export const FIXED32 = 5;

/** The file is not one to load. The message says why; whose file it is, the inspector's caller says. */
export class Refused extends Error {}

/** @typedef {readonly [number, number]} Span start and end of bytes in the file; nothing is copied */
/** @typedef {number | bigint | Span} Value a varint is a number, or a bigint where a number is not exact */
/** @typedef {Map<string, Value[]>} Fields name -> values in order */
/** @typedef {(data: Uint8Array, at: number, end: number) => number} Run  where a run of one field ends; `at` = none */
/**
 * @typedef {object} Field
 * @property {string} name
 * @property {number} wire
 * @property {number} most  how often it may stand there
 * @property {Run | null} run  reads one or more of this field in a row, tags included, as one value
 */

/**
 * @param {string} name
 * @param {number} wire
 * @param {{ most?: number, run?: Run }} [options]
 * @returns {Field}
 */
export const field = (name, wire, { most = 1, run } = {}) => ({ name, wire, most, run: run ?? null });

/** What a message may hold. A field that is missing here is refused where it stands. */
export class Message {
  /**
   * @param {string} name
   * @param {Record<number, Field>} fields  by field number
   * @param {Record<number, string>} [refused]  fields that ONNX has and no bundle may use: number -> what it is
   */
  constructor(name, fields, refused = {}) {
    this.name = name;
    /** By tag, so that a known field of another wire type is an unknown one. @type {Map<number | bigint, Field>} */
    this.fields = new Map(Object.entries(fields).map(([number, one]) => [Number(number) * 8 + one.wire, one]));
    this.known = new Map(Object.entries(fields).map(([number, one]) => [Number(number), one.name]));
    this.refused = new Map(Object.entries(refused).map(([number, what]) => [Number(number), what]));
  }

  /**
   * Why this tag may not stand here.
   * @param {number | bigint} tag
   */
  unknown(tag) {
    const number = Number(BigInt(tag) >> 3n);
    if (this.refused.has(number)) {
      return new Refused(`${this.name} holds ${this.refused.get(number)}, which no bundle needs`);
    }
    if (this.known.has(number)) {
      return new Refused(`${this.name}.${this.known.get(number)} is written as wire type ${BigInt(tag) & 7n}`);
    }
    return new Refused(`${this.name} has a field ${number}, which ONNX does not know`);
  }
}

/**
 * The fields of one message.
 * @param {Uint8Array} data
 * @param {Span} span
 * @param {Message} message
 * @returns {Fields}
 * @throws {Refused} the bytes are not exactly such a message
 */
export function read(data, [start, end], message) {
  /** @type {Fields} */
  const found = new Map();
  let at = start;
  while (at < end) {
    const first = at;
    const [tag, after] = varint(data, at, end);
    at = after;
    const known = message.fields.get(tag);
    if (known === undefined) throw message.unknown(tag);
    /** @type {Value} */
    let value;
    if (known.run !== null) {
      at = known.run(data, first, end);
      if (at === first) throw new Refused(`${message.name}.${known.name} holds something else than it may`);
      value = [first, at];
    } else if (known.wire === FIXED32) {
      value = [at, at + 4];
      at += 4;
    } else {
      const [number, next] = varint(data, at, end);
      value = number;
      at = next;
      if (known.wire === BYTES) {
        value = [at, at + Number(number)];
        at = value[1];
      }
    }
    if (at > end) throw new Refused(`${message.name}.${known.name} runs beyond the end of what holds it`);
    const values = found.get(known.name);
    if (values === undefined) found.set(known.name, [value]);
    else if (values.length < known.most) values.push(value);
    else throw new Refused(`${message.name}.${known.name} occurs more often than allowed, ${known.most}`);
  }
  return found;
}

/**
 * The unsigned number that begins at `at`, and where it ends.
 * @param {Uint8Array} data
 * @param {number} at
 * @param {number} end
 * @returns {[number | bigint, number]}
 * @throws {Refused} cut off, longer than it needs to be, or beyond 64 bits
 */
export function varint(data, at, end) {
  let value = 0n;
  let small = 0;
  for (let i = 0; i < 10 && at + i < end; i += 1) {
    const byte = /** @type {number} */ (data[at + i]);
    // Seven groups of seven bits are exact in a number; most numbers are one byte.
    if (i < 7) small += (byte & 0x7f) * 2 ** (7 * i);
    else value |= BigInt(byte & 0x7f) << BigInt(7 * i);
    if (byte < 0x80) {
      if (!byte && i) throw new Refused("a number is written longer than it needs to be");
      if (i < 7) return [small, at + i + 1];
      value |= BigInt(small);
      if (value >> 64n) break;
      return [value, at + i + 1];
    }
  }
  throw new Refused("a number is cut off, or beyond 64 bits");
}

/**
 * @param {Value} value
 * @returns {Span}
 */
export function asSpan(value) {
  if (!Array.isArray(value)) throw new Refused("a number stands where bytes should");
  return /** @type {Span} */ (value);
}

/**
 * The unsigned number; beyond 2^53 only its size is right, and every limit is below that.
 * @param {Value} value
 * @returns {number}
 */
export function asNumber(value) {
  if (typeof value === "object") throw new Refused("bytes stand where a number should");
  return Number(value);
}

/**
 * The signed number with the same 64 bits; beyond 2^53 only its size is right.
 * @param {Value} value
 * @returns {number}
 */
export function asSigned(value) {
  if (typeof value === "object") throw new Refused("bytes stand where a number should");
  return typeof value === "number" ? value : Number(BigInt.asIntN(64, value));
}

/**
 * A string.
 * @param {Uint8Array} data
 * @param {Span} span
 * @returns {string}
 * @throws {Refused} too long, not UTF-8, or with characters that names do not need
 */
export function text(data, [start, end]) {
  if (end - start > 1024) throw new Refused(`a name has ${end - start} bytes, allowed: up to 1024`);
  let found;
  try {
    found = utf8(data.subarray(start, end));
  } catch (err) {
    throw new Refused("a name is not UTF-8", { cause: err });
  }
  // Controls, line and paragraph separators, unassigned and private characters: nothing of these can be printed.
  if (/[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/u.test(found)) throw new Refused("a name holds characters that do not print");
  return found;
}

/**
 * A run of a 32-bit float field.
 * @param {number} tag
 * @returns {Run}
 */
export const floatRun = (tag) => (data, at, end) => {
  while (at + 5 <= end && data[at] === tag) at += 5;
  return at;
};

/**
 * A run of a varint field.
 * @param {number} tag
 * @returns {Run}
 */
export const intRun = (tag) => (data, at, end) => {
  while (at < end && data[at] === tag) {
    let last = at + 1;
    while (last < end && last < at + 10 && /** @type {number} */ (data[last]) > 0x7f) last += 1;
    if (last >= end || /** @type {number} */ (data[last]) > 0x7f) return at;
    at = last + 1;
  }
  return at;
};

/**
 * A run of a string field with a choice of values.
 * @param {number} tag
 * @param {string[]} choice
 * @returns {Run}
 */
export const wordRun = (tag, choice) => {
  const words = choice.map((word) => [tag, word.length, ...[...word].map((x) => x.charCodeAt(0))]);
  return (data, at, end) => {
    for (;;) {
      const word = words.find((one) => at + one.length <= end && one.every((x, i) => data[at + i] === x));
      if (word === undefined) return at;
      at += word.length;
    }
  };
};

/**
 * The signed numbers of runs of varints.
 * @param {Uint8Array} data
 * @param {readonly Span[]} runs
 * @returns {number[]}
 */
export function ints(data, runs) {
  const numbers = [];
  for (const [start, end] of runs) {
    for (let at = start; at < end;) {
      const [value, next] = varint(data, at + 1, end);
      numbers.push(asSigned(value));
      at = next;
    }
  }
  return numbers;
}

/**
 * The numbers of runs of 32-bit floats.
 * @param {Uint8Array} data
 * @param {readonly Span[]} runs
 * @returns {number[]}
 */
export function floats(data, runs) {
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  const numbers = [];
  for (const [start, end] of runs) {
    for (let at = start; at < end; at += 5) numbers.push(view.getFloat32(at + 1, true));
  }
  return numbers;
}
