/**
 * Signals in files, as `sri score` takes them: .npz, .npy, and .jsonl with one object per line.
 *
 *     {"sri_signals": 1, "fingerprint": {...}}                       optional first line
 *     {"id": "req-1", "sigma": [0.98, 0.97, ...], "length": 12}      one number per cell; a list per cell for C > 1
 *
 * `logit` may stand beside `sigma` or instead of it. `null` and NaN mean "not finite" and become `unmonitored`. Without
 * `length` the generation is finished. A .json file may hold the same objects in one list.
 */

import { utf8 } from "../bytes.js";
import { brief, ScoringError } from "../errors.js";
import { isObject } from "../schema.js";
import { complete, grid } from "../signals.js";
import { NotAnArray, readNpy } from "./npy.js";
import { readNpz } from "./npz.js";

const FORMAT = 1;
const KEYS = ["id", "sigma", "logit", "length"];

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
    if (kind === "jsonl" || kind === "ndjson") return fromLines(name, utf8(content).split("\n"));
    if (kind === "json") return fromList(name, parse(utf8(content)));
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
  const packed = arrays.get("head");
  const head = packed === undefined ? {} : JSON.parse(utf8(Uint8Array.from(/** @type {number[]} */ (packed.values))));
  const format = isObject(head) ? head["sri_signals"] ?? FORMAT : null;
  if (format !== FORMAT) {
    throw new ScoringError(`${subject}: signals format ${JSON.stringify(format)}, this reader knows ${FORMAT}. Write it again.`);
  }
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
      ids: arrays.has("ids") ? Array.from(arrays.get("ids")?.values ?? [], String) : null,
      shape: one.shape,
      sigma: sigma?.data ?? null,
      logit: logit?.data ?? null,
      lengths: arrays.has("lengths") ? Array.from(arrays.get("lengths")?.values ?? [], Number) : null,
      fingerprint: head["fingerprint"] ?? null,
    },
    subject,
  );
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
  return { shape: [rows, length, layers], data: Float32Array.from(/** @type {number[]} */ (values)) };
}

/**
 * @param {string} subject
 * @param {string[]} lines
 */
function fromLines(subject, lines) {
  /** @type {[string, unknown][]} */
  const objects = [];
  lines.forEach((line, i) => {
    if (!line.trim()) return;
    const where = `${subject}, line ${i + 1}`;
    try {
      objects.push([where, parse(line)]);
    } catch (err) {
      throw new ScoringError(`${where}: not JSON (${brief(err)}). Write one JSON object per line.`, err);
    }
  });
  return fromObjects(subject, objects);
}

/**
 * @param {string} subject
 * @param {unknown} value
 */
function fromList(subject, value) {
  const list = Array.isArray(value) ? value : [value];
  return fromObjects(subject, list.map((one, i) => [`${subject}, entry ${i + 1}`, one]));
}

/**
 * @param {string} subject
 * @param {[string, unknown][]} objects  (where, object)
 */
function fromObjects(subject, objects) {
  /** @type {unknown} */
  let fingerprint = null;
  /** @type {string[]} */
  const ids = [];
  /** @type {number[]} */
  const lengths = [];
  /** @type {Record<string, Float32Array[]>} */
  const columns = { sigma: [], logit: [] };
  /** @type {string | null} */
  let form = null;
  /** @type {[number, number] | null} */
  let shape = null;
  for (const [where, value] of objects) {
    if (!isObject(value)) throw new ScoringError(`${where}: not an object. Write one JSON object per generation.`);
    const keys = Object.keys(value);
    if (Object.hasOwn(value, "sri_signals")) {
      if (ids.length || value["sri_signals"] !== FORMAT || !keys.every((x) => x === "sri_signals" || x === "fingerprint")) {
        throw new ScoringError(
          `${where}: a head {"sri_signals": ${FORMAT}, "fingerprint": {...}} is allowed first only, with these keys. ` +
            "Start a new file for other signals.",
        );
      }
      fingerprint = value["fingerprint"] ?? null;
      continue;
    }
    const given = Object.keys(columns).filter((name) => Object.hasOwn(value, name));
    const strange = !keys.every((key) => KEYS.includes(key));
    if (strange || typeof value["id"] !== "string" || !given.length || given.join() !== (form ?? given.join())) {
      throw new ScoringError(
        `${where}: found keys ${keys.sort().join(", ")}; it needs a text \`id\`, and \`sigma\` or \`logit\` or both ` +
          "(the same everywhere), and may have `length`.",
      );
    }
    for (const name of given) {
      const found = grid(value[name], `${where}, ${name}`);
      if (shape !== null && found.shape.join() !== shape.join()) {
        throw new ScoringError(
          `${where}: ${name} has [T, C] = [${found.shape.join(", ")}], the ones before have [${shape.join(", ")}]. ` +
            "Give each all cells, and say with `length` how many are filled.",
        );
      }
      shape = found.shape;
      columns[name]?.push(found.data);
    }
    const length = Object.hasOwn(value, "length") ? value["length"] : shape?.[0];
    if (!Number.isInteger(length)) {
      throw new ScoringError(`${where}: length is ${JSON.stringify(length)}; allowed: a whole number of filled cells.`);
    }
    form = given.join();
    ids.push(value["id"]);
    lengths.push(length);
  }
  const [cells, layers] = shape ?? [0, 0];
  const { sigma, logit } = columns;
  return complete(
    { ids, shape: [ids.length, cells, layers], sigma: joined(sigma), logit: joined(logit), lengths, fingerprint },
    subject,
  );
}

/** @param {Float32Array[] | undefined} rows */
function joined(rows) {
  const [first] = rows ?? [];
  if (!rows || !first) return null;
  const data = new Float32Array(rows.length * first.length);
  rows.forEach((row, i) => data.set(row, i * first.length));
  return data;
}

/** JSON as Python writes it, which has NaN and infinities. @param {string} source */
function parse(source) {
  const plain = source.replace(/"(?:[^"\\]|\\.)*"|\bNaN\b|\bInfinity\b/g, (word) =>
    word === "NaN" ? "null" : word === "Infinity" ? "1e999" : word);
  return JSON.parse(plain);
}
