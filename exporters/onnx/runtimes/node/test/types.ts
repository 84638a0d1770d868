// Compiled, never run: what a user writes must agree with the declarations, and these with the sources.
import * as browser from "../src/browser.js";
import * as source from "../src/index.js";
import type * as api from "../index.js";
import type * as web from "../browser.js";

const guard: api.AnyGuard = await source.loadGuard("bundle", { digest: "0", backend: "wasm" });
const [verdict] = await guard.scoreOnline({ sigma: [[0.5, null], [1, 2]], lengths: [1, 2] }, { unverified: true });
const status: api.Status | undefined = verdict?.status;
const wrong = verdict?.status === "unmonitored" ? verdict.reasons : [];
export const names: Record<keyof typeof api, unknown> = source;
export const same: Record<keyof typeof web, unknown> = browser;
export { status, wrong };
