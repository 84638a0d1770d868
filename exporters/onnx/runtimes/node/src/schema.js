/** A reader of JSON that knows what it expects: exact keys, exact types, no coercion, as the Python SDK's models. */

import { Real } from "./json.js";

/** A value is not what it should be. The loader turns it into a `BundleError` that names the place. */
export class Misfit extends Error {
  /**
   * @param {string} at  where, as `rules.final.n`; empty = the whole
   * @param {string} problem
   */
  constructor(at, problem) {
    super(`${at || "manifest"}: ${problem}`);
  }
}

/** @typedef {(value: any, at: string) => void} Check throws a `Misfit` */

/** @type {Check} */
export const anything = () => {};

/** @type {Check} */
export const text = (value, at) => {
  if (typeof value !== "string") throw new Misfit(at, `expected a text, found ${kind(value)}`);
};

/** @type {Check} */
export const flag = (value, at) => {
  if (typeof value !== "boolean") throw new Misfit(at, `expected true or false, found ${kind(value)}`);
};

/** @type {Check} */
export const number = (value, at) => {
  if (!(value instanceof Real) && !Number.isFinite(value)) {
    throw new Misfit(at, `expected a finite number, found ${kind(value)}`);
  }
};

/** @type {Check} */
export const share = (value, at) => {
  number(value, at);
  if (value <= 0 || value >= 1) throw new Misfit(at, `expected a share between 0 and 1, found ${kind(value)}`);
};

/**
 * @param {number} least
 * @param {number} [most]
 * @returns {Check}
 */
export const whole = (least, most = Number.MAX_SAFE_INTEGER) => (value, at) => {
  if (!Number.isSafeInteger(value) || value < least || value > most) {
    throw new Misfit(at, `expected a whole number from ${least} to ${most}, found ${kind(value)}`);
  }
};

/** @type {Check} */
export const sha256 = (value, at) => {
  if (typeof value !== "string" || !/^[0-9a-f]{64}$/.test(value)) throw new Misfit(at, "expected 64 hexadecimal digits");
};

/**
 * @param {...unknown} allowed
 * @returns {Check}
 */
export const oneOf = (...allowed) => (value, at) => {
  if (!allowed.includes(value)) throw new Misfit(at, `found ${kind(value)}, allowed: ${allowed.join(", ")}`);
};

/**
 * @param {...Check} checks
 * @returns {Check}
 */
export const either = (...checks) => (value, at) => {
  /** @type {unknown} */
  let last;
  for (const check of checks) {
    try {
      check(value, at);
      return;
    } catch (err) {
      last = err;
    }
  }
  throw last;
};

/**
 * @param {Check} check
 * @returns {Check}
 */
export const list = (check) => (value, at) => {
  if (!Array.isArray(value)) throw new Misfit(at, `expected a list, found ${kind(value)}`);
  value.forEach((item, i) => check(item, join(at, String(i))));
};

/**
 * A list of some length.
 * @param {number} least
 * @param {number} most
 * @param {Check} check
 * @returns {Check}
 */
export const some = (least, most, check) => (value, at) => {
  list(check)(value, at);
  if (value.length < least || value.length > most) {
    throw new Misfit(at, `${value.length} entries, allowed: ${least} to ${most}`);
  }
};

/**
 * A text of one form.
 * @param {RegExp} form
 * @returns {Check}
 */
export const matching = (form) => (value, at) => {
  text(value, at);
  if (!form.test(value)) throw new Misfit(at, `found ${kind(value)}, allowed: ${form.source}`);
};

/**
 * Any names, one kind of value.
 * @param {Check} check
 * @returns {Check}
 */
export const mapOf = (check) => (value, at) => {
  if (!isObject(value)) throw new Misfit(at, `expected an object, found ${kind(value)}`);
  for (const [name, item] of Object.entries(value)) check(item, join(at, name));
};

/**
 * Exactly these names.
 * @param {Record<string, Check>} fields
 * @returns {Check}
 */
export const object = (fields) => (value, at) => {
  if (!isObject(value)) throw new Misfit(at, `expected an object, found ${kind(value)}`);
  for (const name of Object.keys(fields)) {
    if (!Object.hasOwn(value, name)) throw new Misfit(join(at, name), "is missing");
  }
  for (const name of Object.keys(value)) {
    if (!Object.hasOwn(fields, name)) throw new Misfit(join(at, name), "is not known to this reader");
  }
  for (const [name, check] of Object.entries(fields)) check(value[name], join(at, name));
};

/**
 * @param {unknown} value
 * @returns {value is Record<string, any>}
 */
export function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Real);
}

/**
 * @param {unknown} value
 * @returns {string} the value itself where it is short, else what it is
 */
function kind(value) {
  if (value === null) return "null";
  if (value instanceof Real) return `${value}, written with a point or an exponent`;
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  if (typeof value === "string") return value.length <= 40 ? JSON.stringify(value) : "a long text";
  return Array.isArray(value) ? "a list" : `an ${typeof value}`;
}

/**
 * @param {string} at
 * @param {string} name
 */
function join(at, name) {
  const short = name.length <= 60 ? name : `${name.slice(0, 57)}...`;
  return at ? `${at}.${short}` : short;
}
