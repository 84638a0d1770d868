/** onnxruntime, and nothing else: the only file that talks to it. It is handed in, so that the page and Node share this. */

import { brief, BundleError } from "./errors.js";
import { inspect } from "./inspect/inspector.js";
import { INVALID_SCORE } from "./limits.js";

/** Rows per call: keeps the temporaries of a large batch at a few MiB. */
export const CHUNK = 4096;

/** Bytes that one call may take: a graph that needs more per row gets fewer rows per call. */
const MEMORY = 2 ** 24;

/** Every door that a model file could open is closed. Nested keys are joined with dots by the binding. */
const ENTRIES = {
  "session.intra_op.allow_spinning": "0",
  "session.load_model_format": "ONNX",
  "optimization.constant_folding_max_output_size_in_bytes": String(2 ** 20),
  // Without this, a model from bytes may read external data from the working directory.
  "session.model_external_initializers_file_folder_path": "/nonexistent",
};
/** Of onnxruntime. Older releases follow references to other files and allocate gigabytes for a file of 168 bytes. */
const OLDEST = [1, 27];

/** @typedef {typeof import("onnxruntime-common")} Ort */
/** @typedef {{ score: Float32Array, valid: boolean[] }} Scored */
/** @typedef {Record<string, { dtype: string, shape: number[], data: any }>} Inputs */

/** One graph, ready to run. */
export class Session {
  /**
   * @param {Ort} ort
   * @param {import("onnxruntime-common").InferenceSession} session
   * @param {{ size: number }} work  bytes that a row takes at most
   */
  constructor(ort, session, { size }) {
    this.ort = ort;
    this.session = session;
    /** Most rows of one call of onnxruntime. */
    this.rows = Math.max(1, Math.floor(MEMORY / Math.max(1, size)));
    /** The last call: a session of the browser's runtime takes one at a time. @type {Promise<unknown>} */
    this.last = Promise.resolve();
  }

  /**
   * As many rows at a time as fit into `MEMORY`.
   * @param {Inputs} inputs
   * @returns {Promise<Scored>}
   */
  async run(inputs) {
    const count = Math.max(...Object.values(inputs).map(({ shape }) => shape[0] ?? 0));
    if (count <= this.rows) return this.#call(inputs);
    /** @type {Scored[]} */
    const parts = [];
    for (let at = 0; at < count; at += this.rows) {
      parts.push(await this.#call(Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, some(input, at, this.rows)]))));
    }
    const score = new Float32Array(parts.reduce((sum, part) => sum + part.score.length, 0));
    parts.reduce((at, part) => {
      score.set(part.score, at);
      return at + part.score.length;
    }, 0);
    return { score, valid: parts.flatMap(({ valid }) => valid) };
  }

  /**
   * @param {Inputs} inputs
   * @returns {Promise<Scored>}
   */
  #call(inputs) {
    const feeds = Object.fromEntries(
      Object.entries(inputs).map(([name, { dtype, data, shape }]) => [
        name,
        new this.ort.Tensor(/** @type {any} */ (dtype), data, shape),
      ]),
    );
    const done = this.last.then(() => this.session.run(feeds, ["score", "valid"]));
    this.last = done.catch(() => {});
    return done.then(({ score, valid }) => ({
      score: Float32Array.from(/** @type {Float32Array} */ (score?.data)),
      valid: Array.from(/** @type {Uint8Array} */ (valid?.data), Boolean),
    }));
  }

  /** Frees the native memory. */
  async release() {
    await this.last;
    await this.session.release();
  }
}

/**
 * Some rows of an input.
 * @param {Inputs[string]} input
 * @param {number} at
 * @param {number} most
 * @returns {Inputs[string]}
 */
function some({ dtype, shape: [rows = 0, ...tail], data }, at, most) {
  const [count, size] = [Math.min(most, rows - at), data.length / rows];
  return { dtype, shape: [count, ...tail], data: data.subarray(at * size, (at + count) * size) };
}

/**
 * All rows. A graph that calls a score valid which is no number below 3e38 is not believed: ours never do, and as NaN is
 * above no threshold, a bundle of somebody else could make every generation clear with it.
 * @param {Session} session
 * @param {Inputs} inputs
 * @returns {Promise<Scored>}
 */
export async function scoreOnce(session, inputs) {
  const { score, valid } = await session.run(inputs);
  return { score, valid: valid.map((said, row) => said && Math.abs(score[row] ?? NaN) < INVALID_SCORE) };
}

/**
 * A model from bytes, inspected and ready to run.
 * @param {Ort} ort
 * @param {string[]} providers  execution providers: `cpu` in Node, `wasm` in a browser
 * @param {Uint8Array} content
 * @param {string} subject
 * @param {import("../index.js").GraphEntry} entry  the edges the manifest promises
 * @returns {Promise<Session>}
 * @throws {BundleError} the inspector or onnxruntime refuses it, its edges differ, or this onnxruntime is too old
 */
export async function openSession(ort, providers, content, subject, entry) {
  const work = inspect(content, subject, entry);
  newEnough(ort);
  if ((globalThis.process?.env?.["ORT_LOAD_CONFIG_FROM_MODEL"] ?? "0") !== "0") {
    throw new BundleError(`${subject}: ORT_LOAD_CONFIG_FROM_MODEL is set, so a model could set session options. Unset it.`);
  }
  let session;
  try {
    // A copy, because some builds take over the memory they are given.
    session = await ort.InferenceSession.create(Uint8Array.from(content), {
      executionProviders: providers,
      intraOpNumThreads: 1,
      interOpNumThreads: 1,
      // As everywhere: without an arena, glibc before 2.38 grows the heap with each call whose results are large.
      enableCpuMemArena: true,
      // What goes wrong is in the exception.
      logSeverityLevel: 4,
      // A copy: the browser build adds entries of its own.
      extra: { ...ENTRIES },
    });
  } catch (err) {
    throw new BundleError(`${subject}: onnxruntime cannot load it (${brief(err)}). Export the guard again.`, err);
  }
  compare(session, subject, entry);
  return new Session(ort, session, work);
}

/** @param {Ort} ort */
function newEnough(ort) {
  const found = ort.env.versions.node ?? ort.env.versions.web ?? ort.env.versions.common;
  const [major = 0, minor = 0] = found.split(".").map(Number);
  if (major < /** @type {number} */ (OLDEST[0]) || (major === OLDEST[0] && minor < /** @type {number} */ (OLDEST[1]))) {
    throw new BundleError(
      `onnxruntime ${found} is installed, and graphs may only be loaded by ${OLDEST.join(".")} or later, which checks ` +
        `where their data lies and how much they allocate. Run: npm install --ignore-scripts onnxruntime-node@^${OLDEST.join(".")}`,
    );
  }
}

/**
 * What onnxruntime sees must be what the manifest promises.
 * @param {import("onnxruntime-common").InferenceSession} session
 * @param {string} subject
 * @param {import("../index.js").GraphEntry} entry
 */
function compare(session, subject, entry) {
  for (const [what, names, edges, promised] of /** @type {const} */ ([
    ["inputs", session.inputNames, session.inputMetadata, entry.inputs],
    ["outputs", session.outputNames, session.outputMetadata, entry.outputs],
  ])) {
    const found = edges.map((edge) => (edge.isTensor ? [edge.name, edge.type, edge.shape] : [edge.name]));
    const wanted = Object.entries(promised).map(([name, { dtype, shape }]) => [name, dtype, shape]);
    const sorted = (/** @type {unknown[]} */ list) => list.map((one) => JSON.stringify(one)).sort().join(" ");
    if (names.length !== wanted.length || sorted(found) !== sorted(wanted)) {
      throw new BundleError(
        `${subject}: its ${what} are ${sorted(found)}, the manifest promises ${sorted(wanted)}. Export the guard again.`,
      );
    }
  }
}
