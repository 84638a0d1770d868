/** Who may be scored: signals of the model, tap and profile the guard was fitted on. */

import { ConfigError, ModelMismatch, ScoringError } from "./errors.js";
import { isObject } from "./schema.js";

/** Fields of a fingerprint that may differ if the operator accepts them by name. */
export const SOFT = ["dtype", "adapter", "torch", "transformers", "system_prompt"];
/** Stands among the accepted fields of a verdict whose signals did not say what made them. */
export const UNVERIFIED = "unverified";

/**
 * Checks shape and identity.
 *
 * Beside `hard` and `soft`, a fingerprint of signals may say with which `anchors` (digest), `tau` and `eps` they were
 * made; what it says must fit.
 * @param {import("../index.js").Manifest} manifest
 * @param {import("./signals.js").Signals} signals
 * @param {{ accept: readonly string[], unverified: boolean, subject: string }} options
 * @returns {string[]} the soft fields that differ, all of them accepted; `unverified` for signals without a fingerprint
 * @throws {ScoringError} T or C differ, or there is no fingerprint and `unverified` was not given
 * @throws {ModelMismatch} another model, tap, profile or set of anchors
 * @throws {ConfigError} `accept` names a field that is not soft
 */
export function admit(manifest, signals, { accept, unverified, subject }) {
  for (const name of accept) {
    if (!SOFT.includes(name)) {
      throw new ConfigError(
        `accept: ${JSON.stringify(name)} is not a soft field; allowed: ${SOFT.join(", ")}. ` +
          "Hard fields cannot be accepted: fit a guard for that model.",
      );
    }
  }
  const { cells } = manifest.signal;
  const layers = manifest.format === 2 ? manifest.signal.columns.length : manifest.signal.layers;
  const [rows, ...tail] = signals.shape;
  if (signals.ids.length !== rows || new Set(signals.ids).size !== rows) {
    throw new ScoringError(
      `${subject}: ${signals.ids.length} ids, ${new Set(signals.ids).size} of them different, for ${rows} rows. ` +
        "Give one id per row, each only once.",
    );
  }
  if (tail[0] !== cells || tail[1] !== layers) {
    throw new ScoringError(
      `${subject}: shape [${signals.shape.join(", ")}], the guard takes [N, T, C] = [N, ${cells}, ${layers}]. ` +
        "Lay the signals on the guard's step grid and tapped layers.",
    );
  }
  const names = manifest.format === 2 ? manifest.signal.columns.map(({ name }) => name) : null;
  const fits = names ? signals.columns?.join() === names.join() : !signals.columns?.includes("request");
  if (signals.columns !== null && !fits) {
    throw new ScoringError(
      `${subject}: columns ${signals.columns.join(", ")}, the guard takes ${names?.join(", ") ?? "tapped layers only"}. ` +
        "Compute the signals again with this guard.",
    );
  }
  const print = signals.fingerprint;
  if (print === null) {
    if (unverified) return [UNVERIFIED];
    throw new ScoringError(
      `${subject}: no fingerprint says what made them, so they may belong to another model. Write them with the SDK, ` +
        "or score them at your own risk with `unverified: true` (`--unverified`).",
    );
  }
  const map = manifest.format === 2 ? manifest.anchors.request : null;
  const madeWith = {
    anchors: manifest.anchors.sha256, tau: manifest.tau, eps: manifest.eps, ...(map && { request_map: map.sha256 }),
  };
  for (const [name, wanted] of Object.entries(madeWith)) {
    const given = Object.hasOwn(print, name) ? print[name] : wanted;
    if (given !== wanted) {
      throw new ModelMismatch(
        `${subject}: made with ${name} ${String(given).slice(0, 12)}, the guard was calibrated with ` +
          `${String(wanted).slice(0, 12)}. Compute the signals again with the guard's own anchors and settings.`,
      );
    }
  }
  return compare(manifest.fingerprint, print, accept, subject);
}

/**
 * @param {import("../index.js").Fingerprint} guard
 * @param {Record<string, unknown>} print
 * @param {readonly string[]} accept
 * @param {string} subject
 */
function compare(guard, print, accept, subject) {
  const { hard, soft } = print;
  if (!isObject(hard) || !isObject(soft)) {
    throw new ModelMismatch(
      `fingerprint: expected an object with \`hard\` and \`soft\`, found keys ${Object.keys(print).sort().join(", ")}. ` +
        "Compute the signals again with the SDK.",
    );
  }
  for (const [name, expected] of Object.entries(guard.hard)) {
    if (!Object.hasOwn(hard, name) || !equal(hard[name], expected)) {
      const found = Object.hasOwn(hard, name) ? short(hard[name]) : "nothing";
      throw new ModelMismatch(
        `${subject}: ${name} is ${found}, the guard was fitted on ${short(expected)}. Anchors and thresholds do not ` +
          "carry over; use the guard of this model and profile, or fit one with `sri fit`.",
      );
    }
  }
  const differing = Object.keys(guard.soft).filter((name) => !equal(own(soft, name), guard.soft[name] ?? null));
  for (const name of differing) {
    if (!accept.includes(name)) {
      throw new ModelMismatch(
        `${subject}: ${name} is ${short(own(soft, name))}, the guard was fitted with ${short(guard.soft[name])}. ` +
          `If that is intended, accept it by name: \`accept: [${JSON.stringify(name)}]\`.`,
      );
    }
  }
  return differing;
}

/**
 * @param {Record<string, unknown>} object
 * @param {string} name
 */
const own = (object, name) => (Object.hasOwn(object, name) ? object[name] : null);

/**
 * Whether two JSON values are equal, whatever the order of their keys.
 * @param {unknown} a
 * @param {unknown} b
 * @returns {boolean}
 */
function equal(a, b) {
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((x, i) => equal(x, b[i]));
  if (isObject(a) && isObject(b)) {
    const names = Object.keys(a);
    return names.length === Object.keys(b).length && names.every((name) => Object.hasOwn(b, name) && equal(a[name], b[name]));
  }
  return a === b;
}

/** @param {unknown} value */
function short(value) {
  const text = JSON.stringify(value) ?? "nothing";
  if (/^"[0-9a-f]{64}"$/.test(text)) return text.slice(1, 13);
  return text.length <= 120 ? text : `${text.slice(0, 117)}...`;
}
