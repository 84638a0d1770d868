/** The page with bundles of format 2, which the Python tests make: what it says of parts, groups and what is missing. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";

import { members, signals as signalsOf } from "../../node/test/vectors.js";
import {
  choose, complaints, file, give, noteTexts, open, overlapping, page, saved, shown, start, sticksOut, stop, text,
} from "./opened.js";

/** With <name>/bundle, signals.jsonl and verdicts.json, as `tests/runtimes/parted_files.py` writes them. */
const FOLDER = process.env.SRI_PARTED;
const NAMES = FOLDER ? readdirSync(FOLDER) : ["grouped"];
const options = { skip: FOLDER ? false : "SRI_PARTED names no folder; tests/runtimes/javascript/test_web.py makes one" };

before(start);
after(stop);
beforeEach(() => open());

const bundleOf = (name) => {
  const folder = join(FOLDER, name, "bundle");
  return readdirSync(folder).map((called) => file(called, readFileSync(join(folder, called))));
};
const lines = (name) => readFileSync(join(FOLDER, name, "signals.jsonl"));
const expected = (name) => JSON.parse(readFileSync(join(FOLDER, name, "verdicts.json"), "utf8"));

async function opened(name, rule = "final") {
  await give.bundle(bundleOf(name));
  await give.signals(lines(name));
  await shown("#results");
  await choose("rule", rule);
  const flagged = expected(name)[rule].filter(({ status }) => status === "flagged").length;
  const what = rule === "request" ? "request" : "generation";
  await page.waitForFunction((start) => document.querySelector("#finding").textContent.startsWith(start), `${flagged} of 20 ${what}s are flagged`);
}
const pick = async (id) => {
  await page.click(`#verdicts button:text-is("${id}")`);
  await page.waitForFunction((title) => document.querySelector("#one-title").textContent === title, `Generation ${id}`);
};
const cells = (selector) => page.$$eval(`${selector} tbody tr`, (rows) => rows.map((row) => [...row.children].map((one) => one.textContent)));
const pairs = (selector) => page.$$eval(`${selector} dt`, (terms) =>
  Object.fromEntries(terms.map((one) => [one.textContent, one.nextElementSibling.textContent])));
const round = (x) => (x === null ? "" : String(Number(x.toPrecision(4))));

/** Numbers of two runtimes differ in the last digits. */
function near(found, wanted, where) {
  if (typeof wanted === "number") assert.ok(Math.abs(found - wanted) <= 1e-5, `${where}: ${found}, expected ${wanted}`);
  else if (typeof wanted !== "object" || wanted === null) assert.equal(found, wanted, where);
  else {
    assert.deepEqual(Object.keys(found), Object.keys(wanted), where);
    for (const key of Object.keys(wanted)) near(found[key], wanted[key], `${where}.${key}`);
  }
}

for (const name of NAMES) {
  test(`the page gives Python's verdicts of ${name} under every rule`, options, async () => {
    for (const [rule, verdicts] of Object.entries(expected(name))) {
      await opened(name, rule);
      near(await saved(), verdicts, `${name}, ${rule}`);
    }
    assert.deepEqual(complaints, []);
  });
}

test("each part says under each rule how many it flags, and above what", options, async () => {
  for (const rule of ["final", "online", "request"]) {
    await opened("grouped", rule);
    const verdicts = expected("grouped")[rule];
    const found = await cells("#parts-table");
    assert.deepEqual(found.map(([name]) => name), rule === "request" ? ["harm"] : ["harm", "novelty"]);
    for (const [name, reads, ...counts] of found) {
      const own = verdicts.map(({ parts }) => parts.find((part) => part.name === name).status);
      const wanted = ["flagged", "unmonitored", "clear"].map((status) => String(own.filter((one) => one === status).length));
      assert.deepEqual([reads, ...counts.slice(0, 3)], [name === "harm" ? "request" : "sri@0, sri@final", ...wanted]);
      assert.match(counts[3], /^de 0\.\d+, en 0\.\d+$/);
    }
  }
});

test("a generation shows each part with score, threshold, p-value and why", options, async () => {
  await opened("grouped");
  for (const verdict of expected("grouped").final) {
    await pick(verdict.request_id);
    const found = await cells("#one-parts");
    for (const [k, { name, status, score, threshold, p_value: p }] of verdict.parts.entries()) {
      const [part, says, number, , limit, own] = found[k];
      assert.deepEqual([part, says, number, limit, own], [name, status, round(score), round(threshold), round(p)]);
      assert.equal(await page.locator(`#one-parts tbody tr:nth-child(${k + 1}) .meter`).count(), score === null ? 0 : 1);
    }
    const { "Ended inside": ended, Group: group } = await pairs("#one-facts");
    assert.equal(ended, verdict.ended ?? "not known");
    assert.match(group, verdict.group === null ? /^unknown, so the highest/ : new RegExp(`^${verdict.group}$`));
  }
  await pick("missing-but-flagged");
  assert.equal(await text("#one-words"), "flagged Flagged by novelty. harm could not be judged: the signals have no number for its request.");
  assert.match(await text("#courses"), /^harm: no cell could be scored/);
  await pick("harmless-0");
  assert.equal(await text("#one-words"), "clear No part is above its threshold.");
});

test("what is missing in signals, their columns and their groups are told beside them", options, async () => {
  await opened("grouped");
  const told = await pairs("#signals-facts");
  assert.equal(told.Columns, "sri@0, sri@final, request");
  assert.equal(told.Missing, "request of 2 of 20 generations");
  assert.equal(told.Groups, "de 9, en 10, unknown 1");
});

test("signals of other columns are refused with both names", options, async () => {
  await give.bundle(bundleOf("grouped"));
  await give.signals(lines("grouped").toString().replace("sri@0", "sri@3"));
  const both = /columns sri@3, sri@final, request, the guard takes sri@0/;
  await page.waitForFunction((wanted) => wanted.test(document.querySelector("#signals-problem").textContent), both);
  assert.equal(await page.isVisible("#results"), false);
});

test("a horizon is named with the bundle and with each verdict", options, async () => {
  await opened("request-only");
  assert.equal((await pairs("#bundle-facts")).Judges, "the first 16 steps only");
  await pick("harmful-request");
  assert.equal((await pairs("#one-facts"))["Judged steps"], "the first 16");
});

test("the table has columns for what the guard says, and signs that need no colour", options, async () => {
  const heads = () => page.$$eval("#verdicts thead th", (all) => all.map((one) => one.textContent));
  await opened("grouped");
  assert.deepEqual(await heads(), ["Generation", "Verdict", "Parts", "p-value", "Ended inside", "Group", "Reasons"]);
  const signs = await page.$$eval("#verdicts .chip", (all) =>
    all.map((one) => [one.title.split(": ")[1], getComputedStyle(one, "::before").content]));
  assert.deepEqual(Object.fromEntries(signs), { flagged: '"▲"', unmonitored: '"?"', clear: '"✓"' });
  await choose("rule", "online");
  await page.waitForFunction(() => /First alarm/.test(document.querySelector("#verdicts thead").textContent));
  await opened("request-only", "request");
  assert.deepEqual(await heads(), ["Generation", "Verdict", "Parts", "p-value", "Reasons"]);
});

test("the rule request is there for guards that have it, and a bundle of format 1 looks as ever after one of format 2", options, async () => {
  assert.equal(await page.isVisible("#rule-request"), false);
  await opened("plain", "request");
  assert.equal(await page.isVisible("#rule-request"), true);
  await give.bundle([...members("autoencoder")].map(([called, content]) => file(called, content)));
  const { shape: [, size], sigma, fingerprint } = signalsOf("autoencoder");
  const rows = [0, 1].map((row) => JSON.stringify({ id: `g${row}`, sigma: [...sigma.subarray(row * size, (row + 1) * size)] }));
  await give.signals([JSON.stringify({ sri_signals: 1, fingerprint }), ...rows].join("\n"));
  await page.waitForFunction(() => document.querySelectorAll("#verdicts tbody tr").length === 2);
  assert.equal(await page.isVisible("#rule-request"), false);
  assert.equal(await page.isChecked('input[name="rule"][value="final"]'), true);
  await pick("g0");
  for (const hidden of ["#parts", "#one-parts", "#one-words", "#one-facts"]) assert.equal(await page.isVisible(hidden), false);
  const heads = await page.$$eval("#verdicts thead th", (all) => all.map((one) => one.textContent));
  assert.deepEqual(heads, ["Generation", "Verdict", "Score", "p-value", "First alarm (step)", "Reasons"]);
  assert.deepEqual(complaints, []);
});

for (const colorScheme of ["light", "dark"]) {
  test(`on a narrow screen in ${colorScheme} colours every number stands beside its name, and nothing sticks out`, options, async () => {
    await open({ viewport: { width: 390, height: 800 }, colorScheme });
    await opened("grouped", "online");
    await shown("#one");
    assert.deepEqual(await sticksOut(), [false, []]);
    const beyond = await page.$$eval("#results table", (all) =>
      all.filter((one) => one.scrollWidth > one.parentElement.clientWidth).map((one) => one.id));
    assert.deepEqual(beyond, []);
    const named = await page.$$eval("#one-parts td", (all) =>
      all.filter((one) => one.checkVisibility()).map((one) => getComputedStyle(one, "::before").content));
    assert.ok(named.length > 8 && named.every((one) => /^".+"$/.test(one)), named.join());
  });
}

test("no text lies over another in the drawings of several parts", options, async () => {
  await open({}, noteTexts);
  await opened("grouped", "online");
  for (let row = 1; row <= 12; row += 1) {
    assert.deepEqual(await overlapping(`#verdicts tbody tr:nth-child(${row})`), [[], []]);
  }
});
