/** The test vectors that all runtimes share (their README says what is in them), and signals made of them. */

import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { join } from "node:path";

import { Signals } from "../src/index.js";
import { unpack } from "../src/packed.js";
import { pack } from "../src/zip.js";

const FOLDER = fileURLToPath(new URL("../../vectors/", import.meta.url));

/** @param {...string} parts */
export const path = (...parts) => join(FOLDER, ...parts);

/** @param {...string} parts */
export const json = (...parts) => JSON.parse(readFileSync(path(...parts), "utf8"));

/** Content of the file with the public key that signed every bundle. */
export const KEY = readFileSync(path("key.pub"), "utf8");

/** Bundles of the tier `portable`, by name. @param {number} format */
const named = (format) => readdirSync(FOLDER, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && json(entry.name, "cases.json").tier === "portable")
  .map((entry) => entry.name)
  .filter((name) => json(name, "bundle/manifest.json").format === format);

/** Those of format 1, and those of format 2. */
export const NAMES = named(1);
export const PARTS_NAMES = named(2);

/**
 * The files of a bundle, by name; copies that a test may damage.
 * @param {string} name
 */
export function members(name) {
  const folder = path(name, "bundle");
  return new Map(readdirSync(folder).map((file) => [file, new Uint8Array(readFileSync(join(folder, file)))]));
}

/** The same as one zip. @param {string} name */
export const zip = (name) => pack(members(name));

/** The signals of a bundle's cases, with the fingerprint of the guard. @param {string} name */
export function signals(name) {
  const { signal, fingerprint } = json(name, "bundle/manifest.json");
  const cases = json(name, "cases.json");
  const { shape, data } = unpack(cases.signals);
  const forms = { sigma: null, logit: null, [signal.domain]: data };
  const lengths = [...unpack(cases.lengths).data].map(Number);
  return new Signals({ ids: cases.ids, shape, ...forms, lengths, fingerprint, groups: cases.groups ?? null });
}
