/**
 * The one JSON grammar of all readers: RFC 8259, minus what parsers disagree on. Refused: a key written twice, numbers of
 * more than 63 characters or that no double holds, integers beyond 2^53 - 1, half a surrogate pair, more than 64 levels
 * or 2^20 values.
 */

import { utf8 } from "./bytes.js";

const LEVELS = 64;
const CHARACTERS = 63;
const VALUES = 2 ** 20;
const NUMBER = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
const STRING = /"(?:[^"\\\u0000-\u001f]|\\.)*"/y;
const BLANKS = /[ \t\r\n]*/y;
const WORD = /null|true|false/y;
const WORDS = new Map([["null", null], ["true", true], ["false", false]]);
const NOT_FINITE = /NaN|-?Infinity/y;

/** A number written with a point, an exponent or a word: where an integer must stand, 1.0 is none. */
export class Real extends Number {}

/**
 * @param {Uint8Array} content
 * @param {object} [options]
 * @param {boolean} [options.marked]  numbers with a point or an exponent are `Real`s
 * @param {boolean} [options.notFinite]  NaN, Infinity and -Infinity are numbers too, as in signals
 * @returns {any}
 * @throws {Error} not UTF-8, or not one value of this grammar
 */
export function parseJson(content, { marked = false, notFinite = false } = {}) {
  const source = utf8(content);
  let at = 0;
  let values = 0;
  /** @param {RegExp} form */
  const take = (form) => {
    form.lastIndex = at;
    const found = form.exec(source);
    if (found) at = form.lastIndex;
    return found;
  };
  /** @param {string} problem */
  const stop = (problem) => new Error(`${problem}, at character ${at}`);
  /** @param {string} sign */
  const eat = (sign) => {
    take(BLANKS);
    if (source[at] !== sign) return false;
    at += 1;
    return true;
  };
  const string = () => {
    const found = take(STRING);
    if (found === null) throw stop("not JSON: no text where one must be");
    const text = JSON.parse(found[0]);
    if (/\p{Surrogate}/u.test(text)) throw stop("half a surrogate pair");
    return text;
  };
  const number = () => {
    const word = notFinite ? take(NOT_FINITE) : null;
    if (word) return marked ? new Real(word[0]) : Number(word[0]);
    const found = take(NUMBER);
    if (found === null) throw stop("not JSON: no value");
    const [text, point, exponent] = found;
    const value = Number(text);
    if (text.length > CHARACTERS) throw stop(`a number of more than ${CHARACTERS} characters`);
    if (point === undefined && exponent === undefined) {
      if (!Number.isSafeInteger(value)) throw stop("an integer beyond 2^53 - 1");
      return value;
    }
    if (!Number.isFinite(value)) throw stop("a number that no double holds");
    return marked ? new Real(value) : value;
  };
  /**
   * @param {number} level
   * @returns {any}
   */
  const value = (level) => {
    if (values === VALUES) throw stop(`more than ${VALUES} values`);
    values += 1;
    take(BLANKS);
    const first = source[at];
    if (first === '"') return string();
    if (first !== "{" && first !== "[") {
      const word = take(WORD);
      return word === null ? number() : WORDS.get(word[0]);
    }
    if (level === LEVELS) throw stop(`more than ${LEVELS} levels`);
    at += 1;
    /** @type {any[]} */
    const items = [];
    /** @type {Map<string, any>} */
    const members = new Map();
    for (let count = 0; !eat(first === "{" ? "}" : "]"); count += 1) {
      if (count && !eat(",")) throw stop("not JSON: no comma between two values");
      if (first === "[") {
        items.push(value(level + 1));
        continue;
      }
      take(BLANKS);
      const key = string();
      if (members.has(key)) throw stop(`the key ${JSON.stringify(key.slice(0, 60))} is there twice`);
      if (!eat(":")) throw stop("not JSON: no colon behind a key");
      members.set(key, value(level + 1));
    }
    // Unlike an assignment, this takes "__proto__" for a name like any other.
    return first === "[" ? items : Object.fromEntries(members);
  };
  const all = value(0);
  take(BLANKS);
  if (at < source.length) throw stop("not JSON: something behind the end");
  return all;
}
