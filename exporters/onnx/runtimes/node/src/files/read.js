/**
 * Signals in files, as `sri score` takes them: .npz, .npy, and .jsonl with one object per line.
 *
 *     {"sri_signals": 1, "fingerprint": {...}}                       optional first line
 *     {"id": "req-1", "sigma": [0.98, 0.97, ...], "length": 12}      one number per cell; a list per cell for C > 1
 *
 * The head may name `columns`, as the manifest of the guard does, and a row its `group`.
 *
 * `logit` may stand beside `sigma` or instead of it. `null` and NaN mean "not finite" and become `unmonitored`. Without
 * `length` the generation is finished. A .json file may hold the same objects in one list. A byte-order mark in front is
 * skipped; what is written twice, unknown or of another kind is refused.
 */

import { brief, ScoringError } from "../errors.js";
import { parseJson } from "../json.js";
import { complete } from "../signals.js";
import { NotAnArray, readNpy } from "./npy.js";
import { readNpz } from "./npz.js";
import { fingerprintOf, fromLines, fromList, within } from "./rows.js";

const MEMBERS = ["sigma", "logit", "ids", "lengths", "head", "columns", "groups"];

/** @typedef {import("../signals.js").Signals} Signals */
/** @typedef {import("../signals.js").Domain} Domain */

/**
 * Reads signals.
 * @param {string} name  of the file; its ending says what it is
 * @param {Uint8Array} content
 * @param {Domain} [domain]  what a bare array is: a bundle's `signal.domain`
 * @returns {Promise<Signals>}
 * @throws {ScoringError} unreadable or inconsistent; names file and line
 */
export async function readSignals(name, content, domain = "sigma") {
  const kind = /\.([a-z]+)$/.exec(name.toLowerCase())?.[1] ?? "";
  try {
    if (kind === "npz") return fromNpz(name, await readNpz(content));
    if (kind === "npy") return fromNpy(name, readNpy(content), domain);
    if (kind === "jsonl" || kind === "ndjson") return fromLines(name, content);
    if (kind === "json") return fromList(name, content);
  } catch (err) {
    if (err instanceof ScoringError) throw err;
    const why = err instanceof NotAnArray ? err.message : brief(err);
    throw new ScoringError(`${name}: cannot be read as signals (${why}). Write it again.`, err);
  }
  throw new ScoringError(`${name}: unknown kind of file; allowed: .npz, .npy, .jsonl, .json.`);
}

/**
 * @param {string} subject
 * @param {Map<string, import("./npy.js").Npy>} arrays
 */
function fromNpz(subject, arrays) {
  const unknown = [...arrays.keys()].find((name) => !MEMBERS.includes(name));
  if (unknown !== undefined) {
    throw new ScoringError(`${subject}: unknown member ${JSON.stringify(unknown)}; allowed: ${MEMBERS.join(", ")}. Leave it out.`);
  }
  const head = member(subject, arrays, "head", "u");
  const fingerprint = head === null
    ? null
    : fingerprintOf(parseJson(Uint8Array.from(/** @type {number[]} */ (head)), { marked: true }), `${subject}, head`);
  const [sigma, logit] = ["sigma", "logit"].map((form) => {
    const array = arrays.get(form);
    return array === undefined ? null : cells(array, `${subject}, ${form}`);
  });
  const one = sigma ?? logit;
  if (!one) throw new ScoringError(`${subject}: holds no signals. Give \`sigma\` or \`logit\` of at least one generation.`);
  if (logit && logit.shape.join() !== one.shape.join()) {
    throw new ScoringError(`${subject}: logit has [${logit.shape.join(", ")}], expected [${one.shape.join(", ")}]. Write it again.`);
  }
  return complete(
    {
      ids: member(subject, arrays, "ids", "Uiu")?.map(String) ?? null,
      shape: one.shape,
      sigma: sigma?.data ?? null,
      logit: logit?.data ?? null,
      lengths: /** @type {number[] | null} */ (member(subject, arrays, "lengths", "iu")),
      fingerprint,
      columns: /** @type {string[] | null} */ (member(subject, arrays, "columns", "U")),
      groups: member(subject, arrays, "groups", "U")?.map((group) => String(group) || null) ?? null,
    },
    subject,
  );
}

/**
 * A list in an archive; null = it is not there.
 * @param {string} subject
 * @param {Map<string, import("./npy.js").Npy>} arrays
 * @param {string} name
 * @param {string} kinds  of numpy that it may have
 * @returns {(number | string)[] | null}
 */
function member(subject, arrays, name, kinds) {
  const array = arrays.get(name);
  if (array === undefined) return null;
  if (!kinds.includes(array.kind) || array.shape.length !== 1) {
    throw new ScoringError(
      `${subject}: ${name} is an array of kind ${array.kind} with shape [${array.shape.join(", ")}]; allowed: one dimension of ` +
        `kind ${[...kinds].join(" or ")}. Write it again.`,
    );
  }
  return Array.from(array.values);
}

/**
 * @param {string} subject
 * @param {import("./npy.js").Npy} array
 * @param {Domain} domain
 */
function fromNpy(subject, array, domain) {
  const { shape, data } = cells(array, subject);
  const forms = domain === "logit" ? { sigma: null, logit: data } : { sigma: data, logit: null };
  return complete({ ids: null, shape, ...forms, lengths: null, fingerprint: null }, subject);
}

/**
 * [N, T] or [N, T, C] of numbers as [N, T, C] float32.
 * @param {import("./npy.js").Npy} array
 * @param {string} subject
 * @returns {{ shape: [number, number, number], data: Float32Array }}
 */
function cells({ shape, kind, values }, subject) {
  const [rows = 0, length = 0, layers = 1] = shape;
  if (!"fiu".includes(kind) || (shape.length !== 2 && shape.length !== 3)) {
    throw new ScoringError(
      `${subject}: an array of kind ${kind} with shape [${shape.join(", ")}]; allowed: numbers of shape [N, T] or [N, T, C].`,
    );
  }
  within(subject, rows, rows * length * layers);
  return { shape: [rows, length, layers], data: Float32Array.from(/** @type {number[]} */ (values)) };
}
