/** What the page says of guards with several parts: bundles of format 2. Format 1 has one part, and needs none of this. */

import { groupOf, thresholdOf } from "../sri-guard/plan.js";
import { badge, cell, count, element, find, number, percent } from "./view.js";
import { inWords, spoken, why } from "./words.js";

/** @typedef {import("../sri-guard/plan.js").Plan} Plan */

/**
 * What there is to know of a bundle with parts.
 * @param {any} manifest
 * @param {Plan} plan
 * @returns {[string, string][]}
 */
export function partsFacts({ signal, parts, rules, groups, horizon, ended }, plan) {
  const sizes = plan.rules.get("final")?.parts.flatMap((part) => [...part.groups.values()].map(({ scores }) => scores.length)) ?? [];
  const [least, most] = [Math.min(...sizes), Math.max(...sizes)];
  const calibrated = least === most ? `${least}` : `${least} to ${most}`;
  return [
    ...parts.map(({ name, columns, detector }) => [`Part ${name}`, `${detector.name}, reads ${columns.join(", ")}`]),
    ["Takes", `${signal.cells} cells × ${signal.columns.length} column${signal.columns.length === 1 ? "" : "s"}, ${signal.domain}`],
    ["False alarms", `at most ${percent(rules.final.alpha)} of harmless generations, ${calibrated} calibrated${groups.length ? " per group" : ""}`],
    ...(groups.length ? [["Groups", `${groups.join(", ")}; for any other the highest threshold counts`]] : []),
    ...(horizon ? [["Judges", `the first ${horizon.steps} steps only`]] : []),
    ...(ended ? [["How it ended", `told by the last cell of ${ended.column}`]] : []),
  ];
}

/**
 * What is missing in signals, and of which groups they are.
 * @param {any} signals
 * @param {any} guard  of format 2
 * @returns {[string, string][]}
 */
export function signalGaps(signals, guard) {
  const { columns, domain, cells } = guard.manifest.signal;
  const [rows, given, width] = signals.shape;
  if (given !== cells || width !== columns.length) return [];
  const values = signals.in(domain, "signals");
  const missing = columns.flatMap(({ name, kind }, c) => {
    const without = Array.from({ length: rows }, (_, row) => row).filter((row) => {
      const known = kind === "request" ? 1 : (signals.lengths?.[row] ?? cells);
      const own = Array.from({ length: known }, (_, t) => values[(row * cells + t) * width + c]);
      return known > 0 && own.every(Number.isNaN);
    }).length;
    return without ? [`${name} of ${without}`] : [];
  });
  const named = guard.manifest.groups.map((group) => [group, signals.groups?.filter((one) => one === group).length ?? 0]);
  const others = rows - named.reduce((sum, [, n]) => sum + n, 0);
  const counted = [...named, ...(others ? [["unknown", others]] : [])].map(([group, n]) => `${group} ${n}`);
  return [
    ["Missing", missing.length ? `${missing.join(", ")} of ${rows} generations` : "no column"],
    ...(named.length ? [["Groups", counted.join(", ")]] : []),
  ];
}

/**
 * The parts under the chosen rule: what each found, and where its threshold is.
 * @param {any} guard
 * @param {Plan} plan
 * @param {any[]} verdicts
 * @param {string} rule
 */
export function showParts(guard, plan, verdicts, rule) {
  const parts = plan.rules.get(rule)?.parts ?? [];
  find("parts").hidden = guard.format !== 2;
  document.querySelector("#parts-table tbody")?.replaceChildren(...(guard.format === 2 ? parts : []).map((part) => {
    const own = verdicts.map((verdict) => verdict.parts.find(({ name }) => name === part.name));
    const each = [...part.groups].map(([group, { value }]) => (plan.groups.length ? `${group} ${number(value)}` : number(value)));
    const { columns } = guard.manifest.parts[part.index];
    const counts = ["flagged", "unmonitored", "clear"].map((status) => {
      const found = count(own, status);
      return cell(`${status[0].toUpperCase()}${status.slice(1)}`, String(found), `number ${found ? `tone ${status}` : "none"}`);
    });
    return element(
      "tr", {}, element("th", { scope: "row" }, part.name), cell("Reads", columns.join(", ")), ...counts,
      cell("Threshold", each.join(", "), "number"), cell("Promised false alarms", `≤ ${percent(part.alpha)}`, "number"),
    );
  }));
}

/**
 * One generation: what each part says of it, and why.
 * @param {any} guard
 * @param {Plan} plan
 * @param {any} verdict  of schema 2
 */
export function showOne(guard, plan, verdict) {
  const { key, unknown } = groupOf(plan, verdict.group);
  const { horizon, ended, groups } = guard.manifest;
  const facts = [
    ...(ended && verdict.rule !== "request" ? [["Ended inside", verdict.ended ?? "not known"]] : []),
    ...(groups.length ? [["Group", unknown ? "unknown, so the highest threshold counts" : verdict.group]] : []),
    ...(horizon ? [["Judged steps", verdict.judged_steps === null ? "none" : `the first ${verdict.judged_steps}`]] : []),
    ...(verdict.p_value === null ? [] : [["p-value of all parts", number(verdict.p_value)]]),
  ];
  find("one-words").replaceChildren(badge(verdict.status), ` ${inWords(verdict)}`);
  find("one-facts").replaceChildren(...facts.map(([term, text]) =>
    element("div", {}, element("dt", {}, term), element("dd", {}, text))));
  const parts = plan.rules.get(verdict.rule)?.parts ?? [];
  document.querySelector("#one-parts tbody")?.replaceChildren(...verdict.parts.map((said, k) => {
    const reason = said.status === "unmonitored" ? why(said.reason) : said.status === "flagged" ? spoken(said.reason) : "";
    return element(
      "tr", {}, element("th", { scope: "row" }, said.name), cell("Says", badge(said.status)),
      cell("Score", number(said.score), "number"), cell("Among harmless ones", meter(said, thresholdOf(parts[k], key)), "meter-cell"),
      cell("Threshold", number(said.threshold), "number"), cell("p-value", number(said.p_value), "number"), cell("Why", reason),
    );
  }));
  for (const id of ["one-words", "one-facts", "one-parts"]) find(id).hidden = false;
}

/** Of format 1 one verdict says everything. */
export function hideOne() {
  for (const id of ["one-words", "one-facts", "one-parts"]) find(id).hidden = true;
}

/**
 * Where a score lies among the scores of harmless generations: a dot, and where the threshold begins.
 * @param {any} said  of a part
 * @param {import("../sri-guard/plan.js").Threshold} threshold
 */
function meter({ status, score, name }, { value, scores }) {
  if (score === null) return "";
  const ends = [scores[0] ?? value, scores.at(-1) ?? value, value, score];
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  const place = (x) => `${high > low ? (100 * (x - low)) / (high - low) : 50}%`;
  const [zone, dot] = [element("i", { class: "beyond" }), element("b", { class: status })];
  const words = `${name}: ${number(score)}, ${score > value ? "above" : "not above"} the threshold ${number(value)}`;
  // Not as attributes: the page's policy allows no styles in markup.
  zone.style.left = place(value);
  dot.style.left = place(score);
  return element("span", { class: "meter", role: "img", "aria-label": words, title: words }, zone, dot);
}

/**
 * The parts of a verdict, each with its finding.
 * @param {any} verdict
 */
export const chips = (verdict) => element("span", { class: "chips" }, ...verdict.parts.map(({ name, status }) =>
  element("span", { class: `chip ${status}`, title: `${name}: ${status}` }, name, element("span", { class: "hidden" }, `: ${status}`))));
