/** The golden self-test: a runtime that computes something else never scores. */

import { BundleError } from "./errors.js";
import { unpack } from "./packed.js";

/**
 * Runs the golden vectors of one graph.
 * @param {import("./runtime.js").Session} session
 * @param {any} golden  of the manifest
 * @param {string} subject
 * @param {string} name  of the graph
 * @returns {Promise<number>} the largest share of the tolerance that a row used
 * @throws {BundleError} a score outside its tolerance, or another `valid`
 */
export async function selfTest(session, golden, subject, name) {
  const inputs = Object.fromEntries(Object.entries(golden.inputs).map(([key, value]) => [key, unpack(value)]));
  const expected = unpack(golden.score).data;
  const tolerance = unpack(golden.tolerance).data;
  const valid = unpack(golden.valid).data;
  let answer;
  try {
    answer = await session.run(inputs);
  } catch (err) {
    throw new BundleError(`${subject}: graph ${name} fails on its golden inputs. Export the guard again.`, err);
  }
  if (answer.score.length !== expected.length || answer.valid.length !== expected.length) {
    throw new BundleError(
      `${subject}: graph ${name} answers ${answer.score.length} golden rows, expected ${expected.length}. ` +
        "Export the guard again.",
    );
  }
  // One number per row, or one per row and part.
  const parts = golden.score.shape[1] ?? 1;
  let used = 0;
  answer.score.forEach((score, i) => {
    const [wanted, room] = [Number(expected[i]), Number(tolerance[i])];
    const row = parts === 1 ? String(i) : `${Math.floor(i / parts)}, part ${i % parts}`;
    if (answer.valid[i] !== Boolean(valid[i])) {
      throw new BundleError(
        `${subject}: graph ${name} says valid = ${answer.valid[i]} of golden row ${row}, not the opposite. ` +
          "This runtime cannot be trusted with it; use another onnxruntime, or export the guard again.",
      );
    }
    const gap = Math.abs(score - wanted);
    // Written so that NaN is wrong.
    if (!(gap <= room)) {
      throw new BundleError(
        `${subject}: graph ${name} scores golden row ${row} ${score}, expected ${wanted} within ${room}. ` +
          "Use another onnxruntime, or export the guard again.",
      );
    }
    if (answer.valid[i]) used = Math.max(used, gap / room);
  });
  return used;
}
