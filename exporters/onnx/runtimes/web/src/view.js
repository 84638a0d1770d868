/** What the page says in words and numbers. Everything from a file goes in as text, never as markup. */

/** @param {number | null | undefined} value */
export const number = (value) => (value === null || value === undefined ? "" : Number(value.toPrecision(4)).toString());

/** @param {string} id */
export const find = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/**
 * @param {string} tag
 * @param {Record<string, string>} attributes
 * @param {...(Node | string)} children
 */
export function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/**
 * Shows a problem, or takes it away.
 * @param {string} id
 * @param {unknown} [err]
 */
export function problem(id, err) {
  const home = find(id);
  home.hidden = err === undefined;
  home.textContent = err === undefined ? "" : String(/** @type {any} */ (err)?.message ?? err);
}

/**
 * @param {string} id
 * @param {[string, string][]} pairs
 */
export function facts(id, pairs) {
  find(id).replaceChildren(...pairs.flatMap(([term, text]) => [element("dt", {}, term), element("dd", {}, text)]));
}

/**
 * What there is to know of a bundle.
 * @param {any} guard
 * @param {boolean} pinned  its digest was compared
 * @returns {[string, string][]}
 */
export function bundleFacts(guard, pinned) {
  const { signal, detector, rules } = guard.manifest;
  const whose = [guard.signedBy && `signed by key ${guard.signedBy}`, pinned && "the digest you gave"].filter(Boolean);
  return [
    ["Detector", `${detector.name}, reads ${signal.domain}`],
    ["Takes", `${signal.cells} cells × ${signal.layers} layer${signal.layers === 1 ? "" : "s"}`],
    ["False alarms", `at most ${number(100 * rules.final.alpha)} % of harmless generations, ${rules.final.n} calibrated`],
    ["Whose", whose.length ? whose.join(", ") : "not checked"],
    ["Digest", guard.digest],
  ];
}

/**
 * What was measured when the guard was made. Many and wide, so they have a row of their own below both panels.
 * @param {any[]} rates
 */
export function showRates(rates) {
  find("rates").hidden = rates.length === 0;
  find("rates").replaceChildren(...rates.map((rate) => element("div", {}, element("dt", {}, rate.name),
    element("dd", {}, `${rate.k} of ${rate.n} (${percent(rate.low)} to ${percent(rate.high)})`))));
}

/** @param {number} share */
const percent = (share) => `${number(100 * share)} %`;

/**
 * @param {any} signals
 * @returns {[string, string][]}
 */
export function signalFacts(signals) {
  const [rows, cells, layers] = signals.shape;
  const forms = ["sigma", "logit"].filter((form) => signals[form]).join(" and ");
  return [
    ["Generations", String(rows)],
    ["Shape", `${cells} cells × ${layers} layer${layers === 1 ? "" : "s"}, ${forms}`],
    ["Made by", signals.fingerprint ? String(signals.fingerprint.hard?.architecture ?? "a named model") : "unknown"],
  ];
}

/**
 * The sentence at the top.
 * @param {any[]} verdicts
 */
export function finding(verdicts) {
  const [flagged, unseen] = ["flagged", "unmonitored"].map((status) => count(verdicts, status));
  const main = flagged === 0 ? "No generation" : `${flagged} of ${verdicts.length} generations`;
  const rest = unseen ? `, ${unseen} could not be judged` : "";
  return `${main} ${flagged > 1 ? "are" : "is"} flagged${rest}.`;
}

/**
 * @param {any[]} verdicts
 * @param {string} status
 */
export const count = (verdicts, status) => verdicts.filter((verdict) => verdict.status === status).length;

/**
 * @param {any[]} verdicts
 * @param {any} rule
 */
export function keys(verdicts, rule) {
  const each = [
    ...["flagged", "unmonitored", "clear"].map((status) => [status, status, String(count(verdicts, status))]),
    ["", "threshold", number(rule.value)],
    ["", "promised false alarms", `≤ ${percent(rule.alpha)}`],
  ];
  find("keys").replaceChildren(...each.map(([tone, term, value]) =>
    element("div", { class: tone }, element("dt", {}, term), element("dd", {}, value))));
}

/**
 * @param {any[]} verdicts
 * @param {number | null} chosen  row
 * @param {(row: number) => void} pick
 */
export function table(verdicts, chosen, pick) {
  const body = document.querySelector("#verdicts tbody");
  body?.replaceChildren(...verdicts.map(({ row, verdict }) => {
    const name = element("button", { type: "button" }, verdict.request_id || "(no name)");
    const line = element(
      "tr",
      { "aria-selected": String(row === chosen) },
      element("td", {}, name),
      element("td", {}, element("span", { class: `badge ${verdict.status}` }, verdict.status)),
      ...[verdict.score, verdict.p_value, verdict.first_alarm_step].map((x) => element("td", { class: "number" }, number(x))),
      element("td", {}, verdict.reasons.map((/** @type {string} */ code) => code.replaceAll("_", " ")).join(", ")),
    );
    line.addEventListener("click", () => pick(row));
    return line;
  }));
}

/**
 * @param {string} id
 * @param {[string, string][]} entries  (tone, text)
 */
export function legend(id, entries) {
  find(id).replaceChildren(...entries.map(([tone, text]) => element("span", { class: tone }, element("i", {}), text)));
}
