/** The page in a real browser, opened anew for each test, and what tests do with it. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

import { serve } from "./server.js";

const DIST = fileURLToPath(new URL("../dist/", import.meta.url));
/** A busy machine is not a failing test. */
const PATIENCE = 180_000;

export let server;
export let page;
/** What the page said to its console, and what it threw. */
export let complaints = [];
let browser;

/** Before all tests of a file. */
export async function start() {
  server = await serve(DIST);
  const executablePath = process.env.SRI_BROWSER || "/usr/bin/chromium";
  browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"], timeout: PATIENCE });
}

/** After all of them. */
export async function stop() {
  await browser?.close();
  server?.close();
}

/**
 * Opens the page anew.
 * @param {object} [options]  of playwright's `newPage`
 * @param {() => void} [first]  runs before the page's own scripts
 */
export async function open(options = {}, first = undefined) {
  await page?.close();
  complaints = [];
  page = await browser.newPage({ viewport: { width: 1280, height: 900 }, ...options });
  page.setDefaultTimeout(PATIENCE);
  page.on("pageerror", (err) => complaints.push(err.message));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  if (first !== undefined) await page.addInitScript(first);
  await page.goto(server.url);
  await page.waitForSelector("html[data-ready]");
}

export const file = (name, content) => ({ name, mimeType: "application/octet-stream", buffer: Buffer.from(content) });

export const give = {
  bundle: (files) => page.setInputFiles("#bundle-files", files),
  signals: (content, name = "signals.jsonl") => page.setInputFiles("#signals-file", file(name, content)),
};
export const shown = (selector) => page.waitForSelector(selector, { state: "visible" });
export const text = (selector) => page.textContent(selector);
export const choose = (group, value) => page.check(`input[name="${group}"][value="${value}"]`, { force: true });

/** The verdicts, as the page saves them. */
export async function saved() {
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#save")]);
  return readFileSync(await download.path(), "utf8").trim().split("\n").map((line) => JSON.parse(line));
}

/** Whether something is wider than the screen, and the controls that have no name. */
export const sticksOut = () => page.evaluate(() => [
  document.documentElement.scrollWidth > document.documentElement.clientWidth,
  [...document.querySelectorAll("input, select, textarea, button")]
    .filter((one) => !one.textContent.trim() && !one.labels?.length).map((one) => one.id),
]);

/** Before a page's scripts run: notes where each text is drawn on a canvas, in pixels. */
export function noteTexts() {
  const { fillText } = CanvasRenderingContext2D.prototype;
  window.texts = [];
  CanvasRenderingContext2D.prototype.fillText = function note(text, x, y, ...more) {
    const { actualBoundingBoxLeft: l, actualBoundingBoxRight: r, actualBoundingBoxAscent: a, actualBoundingBoxDescent: d } = this.measureText(text);
    const corners = [[x - l, y - a], [x + r, y + d]].map(([u, v]) => new DOMPoint(u, v).matrixTransform(this.getTransform()));
    const [xs, ys] = ["x", "y"].map((key) => corners.map((corner) => corner[key]).sort((p, q) => p - q));
    const { canvas } = this;
    if (canvas.isConnected) window.texts.push({ canvas, text, xs, ys });
    return fillText.call(this, text, x, y, ...more);
  };
}

/**
 * Pairs of texts that lie over each other in the drawings of a generation, and texts that begin outside.
 * @param {string} line  of the table, which is clicked
 */
export async function overlapping(line) {
  await page.evaluate(() => { window.texts = []; });
  await page.click(line);
  await page.waitForFunction(() => window.texts.length > 12);
  const [count, ...wrong] = await page.evaluate(() => {
    const there = window.texts.filter(({ canvas }) => canvas.isConnected);
    const cross = (a, b) => a[0] < b[1] && b[0] < a[1];
    const pairs = there.flatMap((one, i) => there.slice(i + 1)
      .filter((two) => one.canvas === two.canvas && one.text !== two.text && cross(one.xs, two.xs) && cross(one.ys, two.ys))
      .map((two) => [one.text, two.text]));
    return [there.length, pairs, there.filter(({ xs }) => xs[0] < 0).map(({ text }) => text)];
  });
  assert.ok(count > 12);
  return wrong;
}
