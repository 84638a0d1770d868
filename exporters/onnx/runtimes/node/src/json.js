/** JSON that means one thing: parsers disagree on which of two equal keys counts, so there must be none. */

import { utf8 } from "./bytes.js";

/**
 * @param {Uint8Array} content
 * @returns {any}
 * @throws {Error} not JSON in UTF-8, or an object has a key twice
 */
export function parseJson(content) {
  const source = utf8(content);
  const value = JSON.parse(source);
  // What follows can rely on correct JSON. A text is a key exactly if a colon follows it.
  /** @type {Set<string>[]} */
  const open = [];
  for (const [token, word] of source.matchAll(/("(?:[^"\\]|\\.)*")\s*:|"(?:[^"\\]|\\.)*"|[{}]/g)) {
    if (token === "{") open.push(new Set());
    else if (token === "}") open.pop();
    else if (word !== undefined) {
      const key = JSON.parse(word);
      if (open.at(-1)?.has(key)) throw new Error(`the key ${JSON.stringify(key.slice(0, 60))} is there twice`);
      open.at(-1)?.add(key);
    }
  }
  return value;
}
