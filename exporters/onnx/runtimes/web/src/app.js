/** The page: files in, verdicts and drawings out. What was chosen is kept here; everything shown follows from it. */

import { loadGuard, readSignals } from "../sri-guard/browser.js";
import { SOFT } from "../sri-guard/admission.js";
import { eachLength } from "../sri-guard/findings.js";
import { groupOf, planOf, thresholdOf } from "../sri-guard/plan.js";
import { looksLikeZip } from "../sri-guard/zip.js";
import * as ort from "../ort/ort.mjs";
import { Courses, Paths } from "./charts.js";
import { acceptDrops, contentOf, ignoreOtherDrops } from "./drop.js";
import { fetchAndLock } from "./lock.js";
import { chips, hideOne, partsFacts, showOne, showParts, signalGaps } from "./parts.js";
import {
  badge, detectorFacts, element, facts, find, finding, keys, legend, number, ownerFacts, percent, problem, showRates, signalFacts, table,
} from "./view.js";
import { spoken } from "./words.js";

/** Lines of a drawing, and rows that a table begins with. More would neither be seen nor be quick. */
const MOST_LINES = 300;
const MOST_ROWS = 50;

const state = {
  /** @type {Map<string, Uint8Array> | null} */ bundle: null,
  /** @type {{ name: string, content: Uint8Array } | null} */ file: null,
  /** @type {any} */ guard: null,
  /** @type {import("../sri-guard/plan.js").Plan | null} */ plan: null,
  /** @type {any} */ signals: null,
  /** @type {any[]} */ verdicts: [],
  /** @type {number | null} */ chosen: null,
  rows: MOST_ROWS,
};

const paths = new Paths(find("paths"), choose);
const courses = new Courses(find("courses"));
/** Steps follow each other even if files come faster than they are read. */
let turn = Promise.resolve();
const next = (step) => {
  turn = turn.then(step).catch((err) => {
    find("finding").textContent = "Something went wrong.";
    problem("signals-problem", err);
    throw err;
  });
  return turn;
};

// -- what is chosen ------------------------------------------------------------------------------------------

async function takeBundle(files) {
  state.bundle = await contentOf(files);
  await openBundle();
}

async function openBundle() {
  if (state.bundle === null) return;
  const publicKey = find("public-key").value.trim();
  const digest = find("digest").value.trim();
  const wanted = { ...(publicKey && { publicKey }), ...(digest && { digest }) };
  const [only] = state.bundle.size === 1 ? [...state.bundle] : [];
  const source = only && looksLikeZip(only[1]) ? only[1] : state.bundle;
  const subject = only ? only[0] : "bundle";
  await state.guard?.dispose();
  state.guard = null;
  problem("bundle-problem");
  facts("bundle-facts", []);
  showRates([]);
  try {
    const guard = await loadGuard(source, { subject, backend: ort, ...wanted });
    const { manifest } = guard;
    [state.guard, state.plan] = [guard, planOf(manifest)];
    const about = manifest.format === 2 ? partsFacts(manifest, state.plan) : detectorFacts(manifest);
    facts("bundle-facts", [...about, ...ownerFacts(guard, Boolean(digest))]);
    showRates(manifest.rates);
    showRules();
  } catch (err) {
    problem("bundle-problem", err);
  }
  await readFile();
}

async function takeSignals(files) {
  const [name, content] = [...await contentOf(files)][0] ?? ["", new Uint8Array()];
  state.file = { name, content };
  await readFile();
}

/** What a bare array means, the bundle says. */
async function readFile() {
  state.signals = null;
  problem("signals-problem");
  facts("signals-facts", []);
  if (state.file !== null) {
    try {
      const domain = state.guard?.manifest.signal.domain ?? "sigma";
      state.signals = await readSignals(state.file.name, state.file.content, domain);
      const parted = state.guard?.format === 2;
      const told = signalFacts(state.signals, parted || state.signals.columns ? "column" : "layer");
      facts("signals-facts", parted ? [...told, ...signalGaps(state.signals, state.guard)] : told);
    } catch (err) {
      problem("signals-problem", err);
    }
  }
  await score();
}

const chosenRule = () => document.querySelector('input[name="rule"]:checked').value;
const chosenFilter = () => document.querySelector('input[name="filter"]:checked').value;

async function score() {
  state.verdicts = [];
  state.chosen = null;
  state.rows = MOST_ROWS;
  if (state.guard !== null && state.signals !== null) {
    const accept = SOFT.filter((name) => find(`soft-${name}`).checked);
    problem("signals-problem");
    try {
      state.verdicts = await state.guard.score(state.signals, {
        rule: chosenRule(), accept, unverified: find("unverified").checked, subject: state.file.name,
      });
    } catch (err) {
      problem("signals-problem", err);
      find("admission").open ||= ["ModelMismatch", "ScoringError"].includes(err?.name);
    }
  }
  show();
}

// -- what is shown -------------------------------------------------------------------------------------------

function show() {
  const { guard, plan, verdicts } = state;
  const rule = chosenRule();
  find("results").hidden = !verdicts.length;
  find("finding").textContent = verdicts.length ? finding(verdicts, rule === "request" ? "request" : "generation") : waitingFor();
  if (!verdicts.length) return;
  const { alpha, parts } = plan.rules.get(rule);
  const [[threshold]] = parts.map(({ groups }) => [...groups.values()]);
  const one = guard.format === 1 ? [["threshold", number(threshold.value)]] : [];
  keys(verdicts, [...one, ["promised false alarms", `≤ ${percent(alpha)}`]]);
  showParts(guard, plan, verdicts, rule);
  showColumns();
  showPaths();
  showTable();
  find("one").hidden = true;
  const worst = byPValue()[0];
  if (worst?.verdict.status === "flagged") choose(worst.row);
}

/** The rule `request` is there for guards with a part that reads the request alone. */
function showRules() {
  const there = state.plan.rules.has("request");
  find("rule-request").hidden = !there;
  if (!there && chosenRule() === "request") document.querySelector('input[name="rule"][value="final"]').checked = true;
}

function waitingFor() {
  if (state.guard === null) return state.file === null ? "Drop a bundle and a file of signals." : "Drop the bundle that judges them.";
  return state.file === null ? "Drop a file of signals." : "These signals are not scored.";
}

/** Which column the trajectories show: one of several tapped layers, or of a guard's columns by name. */
function showColumns() {
  const { manifest } = state.guard;
  const names = manifest.format === 2
    ? manifest.signal.columns.map(({ name }) => name)
    : Array.from({ length: manifest.signal.layers }, (_, c) => String(c));
  find("layers").hidden = names.length === 1;
  document.querySelector('label[for="layer"]').textContent = manifest.format === 2 ? "Column" : "Tapped layer";
  const select = find("layer");
  if ([...select.options].map(({ text }) => text).join() === names.join()) return;
  select.replaceChildren(...names.map((name, c) => element("option", { value: String(c) }, name)));
}

/** Suspicious ones are drawn last, so that they lie on top. */
function showPaths() {
  const { signals, verdicts, chosen } = state;
  const { domain } = state.guard.manifest.signal;
  const values = signals.in(domain, "signals");
  const [, cells, layers] = signals.shape;
  const layer = Number(find("layer").value) || 0;
  const { kind, low, high } = state.plan.columns[layer];
  const shown = byPValue().slice(0, MOST_LINES).reverse();
  const lines = shown.map(({ row, verdict }) => ({
    row,
    status: verdict.status,
    values: Array.from({ length: cells }, (_, t) => {
      const value = values[(row * cells + t) * layers + layer];
      // What the guard cannot read leaves a gap.
      return (kind === "request" || t < (signals.lengths?.[row] ?? cells)) && value > low && value < high ? value : null;
    }),
  }));
  paths.update(lines, chosen, domain);
  const [top, bottom] = domain === "sigma" ? ["1", "0"] : ["high", "low"];
  const what = kind === "request"
    ? `${top} is a harmless request, ${bottom} a harmful one; one number, the same in all cells`
    : `${top} is compliant inside, ${bottom} is refusing inside`;
  const some = verdicts.length > MOST_LINES ? ` The ${MOST_LINES} most suspicious of ${verdicts.length} are drawn.` : "";
  find("paths-note").textContent = `One line per generation: ${what}.${some} Click one to look closer.`;
  legend("paths-legend", ["flagged", "unmonitored", "clear"].filter((x) => verdicts.some((v) => v.status === x)).map((x) => [x, x]));
}

/** Rows with their verdicts, most suspicious first; what could not be judged follows what was flagged. */
function byPValue() {
  const order = { flagged: 0, unmonitored: 1, clear: 2 };
  // Scores of different parts are not alike.
  const more = state.guard.format === 2
    ? (a, b) => (a.verdict.p_value ?? 1) - (b.verdict.p_value ?? 1)
    : (a, b) => (b.verdict.score ?? 0) - (a.verdict.score ?? 0);
  return state.verdicts
    .map((verdict, row) => ({ verdict, row }))
    .sort((a, b) => order[a.verdict.status] - order[b.verdict.status] || more(a, b));
}

/** What the table says of each verdict. */
function columnsShown() {
  const { format, manifest } = state.guard;
  const [several, rule] = [format === 2, chosenRule()];
  const numeric = (title, key) => ({ title, numeric: true, shows: (verdict) => number(verdict[key]) });
  return [
    { title: "Verdict", shows: ({ status }) => badge(status) },
    several ? { title: "Parts", shows: chips } : numeric("Score", "score"),
    numeric("p-value", "p_value"),
    ...(several && rule !== "online" ? [] : [numeric("First alarm (step)", "first_alarm_step")]),
    ...(several && manifest.ended && rule !== "request" ? [{ title: "Ended inside", shows: (verdict) => verdict.ended ?? "" }] : []),
    ...(several && manifest.groups.length ? [{ title: "Group", shows: (verdict) => verdict.group ?? "" }] : []),
    { title: "Reasons", shows: ({ reasons }) => reasons.map(spoken).join(", ") },
  ];
}

function showTable() {
  const filter = chosenFilter();
  const all = byPValue().filter(({ verdict }) => filter === "all" || verdict.status === filter);
  find("verdicts").classList.toggle("stack", state.guard.format === 2);
  table(all.slice(0, state.rows), columnsShown(), state.chosen, choose);
  find("more").hidden = all.length <= state.rows;
  find("more").textContent = `Show more (${all.length - state.rows})`;
}

async function choose(row) {
  state.chosen = row;
  showPaths();
  showTable();
  const { guard, plan, signals, verdicts } = state;
  const [, cells, columns] = signals.shape;
  const size = cells * columns;
  const own = signals.in(guard.manifest.signal.domain, "signals").subarray(row * size, (row + 1) * size);
  const answers = [];
  await eachLength(plan, own, 1, (some, each) => guard.scorePrefix(some, each), (_, length, { score, valid }, at) => {
    answers[length - 1] = (part) => (valid[at + part] ? score[at + part] : null);
  });
  if (state.chosen !== row || state.guard !== guard) return;
  const [verdict, length] = [verdicts[row], signals.lengths?.[row] ?? cells];
  find("one").hidden = false;
  find("one-title").textContent = `Generation ${verdict.request_id}`;
  if (guard.format === 2) showOne(guard, plan, verdict);
  else hideOne();
  const { key } = groupOf(plan, verdict.group ?? null);
  const judged = new Set(plan.rules.get(verdict.rule).parts.map(({ name }) => name));
  const drawn = plan.rules.get("online").parts.filter(({ name }) => judged.has(name)).map((part) => ({
    name: part.name,
    threshold: thresholdOf(part, key).value,
    scores: answers.map((answer, t) => (t < length ? answer(part.index) : null)),
  }));
  courses.update(drawn);
  const empty = guard.format === 2 && drawn.every(({ scores }) => scores.every((score) => score === null));
  legend("course-legend", empty ? [] : [["score", "score after this cell"], ["above", "online threshold"]]);
}

function save() {
  const lines = state.verdicts.map((verdict) => `${JSON.stringify(verdict)}\n`);
  const link = element("a", { href: URL.createObjectURL(new Blob(lines, { type: "application/x-ndjson" })), download: "verdicts.jsonl" });
  link.click();
  URL.revokeObjectURL(link.href);
}

// -- the wiring ----------------------------------------------------------------------------------------------

find("soft").append(...SOFT.map((name) =>
  element("label", {}, element("input", { type: "checkbox", id: `soft-${name}` }), ` ${name}`)));
for (const [id, take] of [["bundle-files", takeBundle], ["bundle-folder", takeBundle], ["signals-file", takeSignals]]) {
  const input = find(id);
  input.addEventListener("change", () => {
    const files = [...input.files];
    // So that the same file can be chosen again after it changed.
    input.value = "";
    if (files.length) next(() => take(files));
  });
}
acceptDrops(find("bundle"), (files) => next(() => takeBundle(files)));
acceptDrops(find("signals"), (files) => next(() => takeSignals(files)));
ignoreOtherDrops();
for (const id of ["public-key", "digest"]) find(id).addEventListener("change", () => next(openBundle));
for (const id of ["unverified", ...SOFT.map((name) => `soft-${name}`)]) find(id).addEventListener("change", () => next(score));
find("rule").addEventListener("change", () => next(async () => {
  // What the rule looks at is what the trajectories begin with.
  if (state.plan !== null && chosenRule() === "request") find("layer").value = String(state.plan.columns.length - 1);
  await score();
}));
find("filter").addEventListener("change", showTable);
find("layer").addEventListener("change", showPaths);
find("more").addEventListener("click", () => {
  state.rows += 10 * MOST_ROWS;
  showTable();
});
find("save").addEventListener("click", save);

await next(async () => {
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = await fetchAndLock();
  document.documentElement.dataset.ready = "yes";
});
