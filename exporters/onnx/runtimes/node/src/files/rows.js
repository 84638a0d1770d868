/** Signals as JSON objects, one per generation: lines of a file, or a list. */

import { brief, ScoringError } from "../errors.js";
import { parseJson, Real } from "../json.js";
import { isObject } from "../schema.js";
import { checkId, complete, grid } from "../signals.js";

const FORMAT = 1;
const KEYS = ["id", "sigma", "logit", "length", "group"];
const HEAD_KEYS = ["sri_signals", "fingerprint", "columns"];
const LINE_END = 10;
/** Space, tab, carriage return. */
const BLANK = new Set([32, 9, 13]);
const MOST_ROWS = 1_000_000;
/** Of one form: generations times cells times layers. */
const MOST_NUMBERS = 2 ** 25;
/** Characters in the name of a column or a group. */
const LONGEST_NAME = 64;
/** Bytes. */
const LONGEST_LINE = 2 ** 24;

/**
 * @param {string} subject
 * @param {Uint8Array} content
 */
export function fromLines(subject, content) {
  const into = new Rows(subject);
  let at = withoutMark(content).byteOffset - content.byteOffset;
  for (let number = 1; at < content.length; number += 1) {
    const end = content.indexOf(LINE_END, at);
    const line = content.subarray(at, end < 0 ? content.length : end);
    at += line.length + 1;
    const where = `${subject}, line ${number}`;
    if (line.length > LONGEST_LINE || number > MOST_ROWS + 1) {
      throw new ScoringError(
        `${where}: too much at once; allowed: up to ${LONGEST_LINE} bytes in a line and ${MOST_ROWS + 1} lines. Split the file.`,
      );
    }
    if (line.every((byte) => BLANK.has(byte))) continue;
    try {
      into.add(where, parseJson(line, { marked: true, notFinite: true }));
    } catch (err) {
      if (err instanceof ScoringError) throw err;
      throw new ScoringError(`${where}: not JSON (${brief(err)}). Write one JSON object per line.`, err);
    }
  }
  return into.signals();
}

/**
 * @param {string} subject
 * @param {Uint8Array} content
 */
export function fromList(subject, content) {
  const into = new Rows(subject);
  const value = parseJson(withoutMark(content), { marked: true, notFinite: true });
  const list = Array.isArray(value) ? value : [value];
  list.forEach((one, i) => into.add(`${subject}, entry ${i + 1}`, one));
  return into.signals();
}

/** Without the byte-order mark that some editors write in front. @param {Uint8Array} content */
function withoutMark(content) {
  return content.subarray(content[0] === 0xef && content[1] === 0xbb && content[2] === 0xbf ? 3 : 0);
}

/**
 * The fingerprint in a head `{"sri_signals": 1, "fingerprint": {...}}`; null = it has none.
 * @param {any} value  read with `marked`
 * @param {string} where
 * @returns {Record<string, unknown> | null}
 * @throws {ScoringError} another format, or not a head
 */
export function fingerprintOf(value, where) {
  if (!isObject(value) || !Object.keys(value).every((key) => HEAD_KEYS.includes(key))) {
    throw new ScoringError(`${where}: not a head with sri_signals, fingerprint and columns only. Write the file again.`);
  }
  const format = Object.hasOwn(value, "sri_signals") ? value["sri_signals"] : FORMAT;
  if (format !== FORMAT) {
    throw new ScoringError(
      `${where}: signals format ${JSON.stringify(format)}, this reader knows ${FORMAT}. Write the file again.`,
    );
  }
  const print = value["fingerprint"] ?? null;
  if (print !== null && !(isObject(print) && isObject(print["hard"]) && isObject(print["soft"]))) {
    throw new ScoringError(
      `${where}: the fingerprint must be an object with the objects \`hard\` and \`soft\`, or null. Write the file again.`,
    );
  }
  return print === null ? null : plain(print);
}

/**
 * The names of columns in a head; null = it has none.
 * @param {any} value  a head
 * @param {string} where
 * @returns {string[] | null}
 * @throws {ScoringError} not a list of texts
 */
export function columnsOf(value, where) {
  const names = value["columns"] ?? null;
  if (names !== null && !(Array.isArray(names) && names.every(isName))) {
    throw new ScoringError(`${where}: columns must be a list of names of up to ${LONGEST_NAME} characters, or null. Write the file again.`);
  }
  return names;
}

/** Whether it can name a column or a group. @param {unknown} value */
function isName(value) {
  return typeof value === "string" && [...value].length <= LONGEST_NAME && !value.includes("\0");
}

/** The value with plain numbers. @param {any} value @returns {any} */
function plain(value) {
  if (value instanceof Real) return Number(value);
  if (Array.isArray(value)) return value.map(plain);
  return isObject(value) ? Object.fromEntries(Object.entries(value).map(([key, one]) => [key, plain(one)])) : value;
}

/** Objects of a file, one by one. */
class Rows {
  /** @param {string} subject */
  constructor(subject) {
    this.subject = subject;
    /** @type {Record<string, unknown> | null} */
    this.fingerprint = null;
    /** @type {string[] | null} */
    this.names = null;
    /** @type {(string | null)[]} */
    this.groups = [];
    this.grouped = false;
    this.first = true;
    /** @type {string[]} */
    this.ids = [];
    /** @type {number[]} */
    this.lengths = [];
    /** @type {Record<string, Float32Array[]>} */
    this.columns = { sigma: [], logit: [] };
    /** @type {string | null} */
    this.form = null;
    /** @type {[number, number] | null} */
    this.shape = null;
  }

  /**
   * @param {string} where
   * @param {any} value  read with `marked`
   */
  add(where, value) {
    if (!isObject(value)) throw new ScoringError(`${where}: not an object. Write one JSON object per generation.`);
    if (!Object.hasOwn(value, "sri_signals")) this.#row(where, value);
    else if (this.first) {
      this.fingerprint = fingerprintOf(value, where);
      this.names = columnsOf(value, where);
    } else {
      throw new ScoringError(
        `${where}: a head {"sri_signals": ${FORMAT}, "fingerprint": {...}} is allowed first only. ` +
          "Start a new file for other signals.",
      );
    }
    this.first = false;
  }

  /**
   * @param {string} where
   * @param {Record<string, any>} value
   */
  #row(where, value) {
    const keys = Object.keys(value);
    const given = Object.keys(this.columns).filter((name) => Object.hasOwn(value, name));
    const strange = !keys.every((key) => KEYS.includes(key));
    if (strange || typeof value["id"] !== "string" || !given.length || given.join() !== (this.form ?? given.join())) {
      throw new ScoringError(
        `${where}: found keys ${keys.sort().join(", ")}; it needs a text \`id\`, and \`sigma\` or \`logit\` or both ` +
          "(the same everywhere), and may have `length` and `group`.",
      );
    }
    for (const name of given) {
      const found = grid(plain(value[name]), `${where}, ${name}`);
      if (this.shape !== null && found.shape.join() !== this.shape.join()) {
        throw new ScoringError(
          `${where}: ${name} has [T, C] = [${found.shape.join(", ")}], the ones before have [${this.shape.join(", ")}]. ` +
            "Give each all cells, and say with `length` how many are filled.",
        );
      }
      this.shape = found.shape;
      this.columns[name]?.push(found.data);
    }
    const [cells, layers] = /** @type {[number, number]} */ (this.shape);
    const length = Object.hasOwn(value, "length") ? value["length"] : cells;
    if (!Number.isInteger(length) || length < 0 || length > cells) {
      throw new ScoringError(
        `${where}: length is ${JSON.stringify(length)}; allowed: a whole number of filled cells, from 0 to ${cells}.`,
      );
    }
    checkId(value["id"], where);
    const group = value["group"] ?? null;
    if (group !== null && !isName(group)) {
      throw new ScoringError(
        `${where}: the group is neither null nor a text of up to ${LONGEST_NAME} characters without NUL. Write it anew, or leave it out.`,
      );
    }
    this.grouped ||= Object.hasOwn(value, "group");
    this.groups.push(group);
    this.form = given.join();
    this.ids.push(value["id"]);
    this.lengths.push(length);
    within(where, this.ids.length, this.ids.length * cells * layers);
  }

  /** All of them. */
  signals() {
    const { ids, lengths, fingerprint, subject } = this;
    const [cells, layers] = this.shape ?? [0, 0];
    const [sigma, logit] = [joined(this.columns["sigma"]), joined(this.columns["logit"])];
    const groups = this.grouped ? this.groups : null;
    return complete(
      { ids, shape: [ids.length, cells, layers], sigma, logit, lengths, fingerprint, columns: this.names, groups }, subject,
    );
  }
}

/**
 * Refuses more than is read at once.
 * @param {string} where
 * @param {number} rows
 * @param {number} numbers  rows times cells times layers
 */
export function within(where, rows, numbers) {
  if (rows > MOST_ROWS || numbers > MOST_NUMBERS) {
    throw new ScoringError(
      `${where}: ${rows} generations with ${numbers} numbers; allowed: up to ${MOST_ROWS} generations and ` +
        `${MOST_NUMBERS} numbers at once. Split the file.`,
    );
  }
}

/** @param {Float32Array[] | undefined} rows */
function joined(rows) {
  const [first] = rows ?? [];
  if (!rows || !first) return null;
  const data = new Float32Array(rows.length * first.length);
  rows.forEach((row, i) => data.set(row, i * first.length));
  return data;
}
