// Compiled, never run: what a user writes must agree with the declarations, and these with the sources.
import * as browser from "../src/browser.js";
import * as source from "../src/index.js";
import type * as api from "../index.js";
import type * as web from "../browser.js";

const guard: api.Guard = await source.loadGuard("bundle", { digest: "0", backend: "wasm" });
const [verdict] = await guard.scoreOnline({ sigma: [[0.5, null], [1, 2]], lengths: [1, 2] }, { unverified: true });
const status: api.Status | undefined = verdict?.status;
const wrong = verdict?.status === "unmonitored" ? verdict.reasons : [];
// What a guard gives follows from its format, and what a verdict holds from its schema.
if (guard.format === 2) {
  const [judged] = await guard.score({ sigma: [[0.5]] }, { rule: "request" });
  const threshold: number | undefined = guard.thresholds["final"]?.["harm"]?.["all"];
  const { parts } = await guard.stream("1", { request: 0.5, group: "de" }).push(0.5);
  console.log(judged?.parts, threshold, guard.manifest.groups, parts);
} else {
  const { score } = await guard.stream("1", { unverified: true }).push(0.5);
  console.log(guard.thresholds.online, guard.manifest.signal.layers, score);
}
export const parts: readonly api.PartVerdict[] = verdict?.schema === 2 ? verdict.parts : [];
export const names: Record<keyof typeof api, unknown> = source;
export const same: Record<keyof typeof web, unknown> = browser;
export { status, wrong };
