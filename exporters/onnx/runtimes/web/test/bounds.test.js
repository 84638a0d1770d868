/** The page with bundles that ask for much, which the Python tests make: refused in Python's words before anything runs. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";

import { zip } from "../../node/test/vectors.js";
import { complaints, file, give, open, page, shown, start, stop, text } from "./opened.js";

/** With <name>/bundle and <name>/refusal.txt: why Python refuses its graph, or nothing. */
const FOLDER = process.env.SRI_DEMANDING;
const NAMES = FOLDER ? readdirSync(FOLDER) : ["demanding"];
const options = { skip: FOLDER ? false : "SRI_DEMANDING names no folder; tests/runtimes/javascript/test_web.py makes one" };
/** Of the clock, for a busy machine; refusing takes less than one. */
const SECONDS = 20;

before(start);
after(stop);
beforeEach(() => open());

for (const name of NAMES) {
  test(`the page opens or refuses ${name} as Python does, soon, and goes on`, options, async () => {
    const folder = join(FOLDER, name, "bundle");
    const [reason, begun] = [readFileSync(join(FOLDER, name, "refusal.txt"), "utf8"), Date.now()];
    await page.setInputFiles("#bundle-files", readdirSync(folder).map((called) => join(folder, called)));
    await shown("#bundle-problem");
    const took = (Date.now() - begun) / 1000;
    const said = (await text("#bundle-problem")).replaceAll('"', "'");
    // A graph that is allowed scores something else than the bundle's own did.
    assert.ok(said.includes(reason || "golden row"), said);
    assert.ok(took < SECONDS, `${took} s`);
    await give.bundle(file("guard.zip", zip("autoencoder")));
    await page.waitForFunction(() => /autoencoder/.test(document.querySelector("#bundle-facts").textContent));
    assert.deepEqual(complaints, []);
  });
}
