#!/usr/bin/env node
/** Verdicts for a file of signals, one JSON object per line: `sri score --json` without Python. */

import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { parseArgs } from "node:util";

import { ConfigError, loadGuard, readSignals, SriError } from "../src/index.js";

const USAGE = `sri-score BUNDLE SIGNALS [--rule final|online|request] [--accept FIELD]... [--unverified]
          [--public-key FILE] [--digest HEX] [--backend native|wasm]

BUNDLE is a bundle folder or zip, SIGNALS a .npz, .npy, .jsonl or .json file.
Exit codes: 0 = scored, 1 = refused, 2 = wrong arguments.`;

/** @param {string[]} args */
async function main(args) {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      rule: { type: "string", default: "final" },
      accept: { type: "string", multiple: true, default: [] },
      unverified: { type: "boolean", default: false },
      "public-key": { type: "string" },
      digest: { type: "string" },
      backend: { type: "string", default: "native" },
      help: { type: "boolean", default: false },
    },
  });
  const [bundle, signals] = positionals;
  if (values.help || bundle === undefined || signals === undefined || positionals.length > 2) {
    process.stdout.write(`${USAGE}\n`);
    return values.help ? 0 : 2;
  }
  const guard = await loadGuard(bundle, {
    backend: /** @type {"native"} */ (values.backend),
    ...(values.digest !== undefined && { digest: values.digest }),
    ...(values["public-key"] !== undefined && { publicKey: await read(values["public-key"], "public key") }),
  });
  const data = await readSignals(basename(signals), await read(signals, "signals"), guard.manifest.signal.domain);
  const { accept, unverified } = values;
  const verdicts = await guard.score(data, {
    rule: /** @type {"final"} */ (values.rule), accept, unverified, subject: signals,
  });
  for (const verdict of verdicts) process.stdout.write(`${JSON.stringify(verdict)}\n`);
  await guard.dispose();
  return 0;
}

/**
 * @param {string} path
 * @param {string} what
 */
async function read(path, what) {
  try {
    return new Uint8Array(await readFile(path));
  } catch (err) {
    throw new ConfigError(`${path}: the ${what} cannot be read (${/** @type {any} */ (err).code}). Check the path.`, err);
  }
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (err) {
  const code = /** @type {any} */ (err)?.code;
  if (!(err instanceof SriError) && !String(code).startsWith("ERR_PARSE_ARGS")) throw err;
  process.stderr.write(`${/** @type {Error} */ (err).name}: ${/** @type {Error} */ (err).message}\n`);
  process.exitCode = err instanceof SriError ? 1 : 2;
}
