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
 * What there is to know of a bundle of format 1.
 * @param {any} manifest
 * @returns {[string, string][]}
 */
export function detectorFacts({ signal, detector, rules }) {
  return [
    ["Detector", `${detector.name}, reads ${signal.domain}`],
    ["Takes", `${signal.cells} cells × ${signal.layers} layer${signal.layers === 1 ? "" : "s"}`],
    ["False alarms", `at most ${percent(rules.final.alpha)} of harmless generations, ${rules.final.n} calibrated`],
  ];
}

/**
 * Who made a bundle, as far as it was checked.
 * @param {any} guard
 * @param {boolean} pinned  its digest was compared
 * @returns {[string, string][]}
 */
export function ownerFacts(guard, pinned) {
  const whose = [guard.signedBy && `signed by key ${guard.signedBy}`, pinned && "the digest you gave"].filter(Boolean);
  return [["Whose", whose.length ? whose.join(", ") : "not checked"], ["Digest", guard.digest]];
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
export const percent = (share) => `${number(100 * share)} %`;

/**
 * @param {any} signals
 * @param {string} kind  what its columns are
 * @returns {[string, string][]}
 */
export function signalFacts(signals, kind) {
  const [rows, cells, columns] = signals.shape;
  const forms = ["sigma", "logit"].filter((form) => signals[form]).join(" and ");
  return [
    ["Generations", String(rows)],
    ["Shape", `${cells} cells × ${columns} ${kind}${columns === 1 ? "" : "s"}, ${forms}`],
    ...(signals.columns ? [["Columns", signals.columns.join(", ")]] : []),
    ["Made by", signals.fingerprint ? String(signals.fingerprint.hard?.architecture ?? "a named model") : "unknown"],
  ];
}

/**
 * The sentence at the top.
 * @param {any[]} verdicts
 * @param {string} what  was judged
 */
export function finding(verdicts, what) {
  const [flagged, unseen] = ["flagged", "unmonitored"].map((status) => count(verdicts, status));
  const main = flagged === 0 ? `No ${what}` : `${flagged} of ${verdicts.length} ${what}s`;
  const rest = unseen ? `, ${unseen} could not be judged` : "";
  return `${main} ${flagged > 1 ? "are" : "is"} flagged${rest}.`;
}

/**
 * @param {any[]} verdicts
 * @param {string} status
 */
export const count = (verdicts, status) => verdicts.filter((verdict) => verdict.status === status).length;

/**
 * The numbers at the top.
 * @param {any[]} verdicts
 * @param {[string, string][]} more
 */
export function keys(verdicts, more) {
  const each = [
    ...["flagged", "unmonitored", "clear"].map((status) => [status, status, String(count(verdicts, status))]),
    ...more.map((pair) => ["", ...pair]),
  ];
  find("keys").replaceChildren(...each.map(([tone, term, value]) =>
    element("div", { class: tone }, element("dt", {}, term), element("dd", {}, value))));
}

/** @param {string} status */
export const badge = (status) => element("span", { class: `badge ${status}` }, status);

/**
 * A cell of a table that knows its column's title: on narrow screens, where heads are not seen, it stands beside the cell.
 * @param {string} title
 * @param {Node | string} content
 * @param {string} [tone]
 */
export const cell = (title, content, tone = "") =>
  element("td", { class: content === "" ? `${tone} blank` : tone, "data-label": title }, content);

/**
 * A column of the table of verdicts.
 * @typedef {object} Column
 * @property {string} title
 * @property {(verdict: any) => Node | string} shows
 * @property {boolean} [numeric]
 */

/**
 * @param {any[]} verdicts
 * @param {Column[]} columns  beside the name
 * @param {number | null} chosen  row
 * @param {(row: number) => void} pick
 */
export function table(verdicts, columns, chosen, pick) {
  document.querySelector("#verdicts thead tr")?.replaceChildren(
    element("th", { scope: "col" }, "Generation"),
    ...columns.map(({ title, numeric }) => element("th", { scope: "col", class: numeric ? "number" : "" }, title)),
  );
  document.querySelector("#verdicts tbody")?.replaceChildren(...verdicts.map(({ row, verdict }) => {
    const line = element(
      "tr",
      { "aria-selected": String(row === chosen) },
      element("td", {}, element("button", { type: "button" }, verdict.request_id || "(no name)")),
      ...columns.map(({ title, numeric, shows }) => cell(title, shows(verdict), numeric ? "number" : "")),
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
