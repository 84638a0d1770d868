// Opens every page in a real browser, at two widths and in two schemes, and says what was wrong as JSON.
//
//     node walk.mjs PLACE_OF_PLAYWRIGHT BROWSER FOLDER_OF_PICTURES < sites.json
//
// sites.json: {bad, calm, empty, labelling, locked: addresses; token; pages: name -> path}
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const [place, executablePath, folder] = process.argv.slice(2);
const { chromium } = createRequire(`${place}/package.json`)("playwright-core");
const sites = JSON.parse(readFileSync(0, "utf8"));
const wrong = [];
const facts = { looked: 0, focused: {} };
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"], timeout: 120_000 });
const SIZES = { 390: { width: 390, height: 844 }, 1280: { width: 1280, height: 800 } };

async function open(size, colorScheme = "light", more = {}) {
  const context = await browser.newContext({
    viewport: SIZES[size], colorScheme, deviceScaleFactor: size === 390 ? 2 : 1, reducedMotion: "reduce", ...more,
  });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  page.complaints = [];
  const complain = (what) => page.complaints.push(what);
  page.on("pageerror", (err) => complain(`error: ${err.message}`));
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && complain(`console: ${message.text()}`));
  page.on("request", (request) => {
    if (!Object.values(sites).includes(new URL(request.url()).origin)) complain(`request to ${request.url()}`);
  });
  await page.addInitScript(() => {
    globalThis.violations = [];
    document.addEventListener("securitypolicyviolation", (event) => globalThis.violations.push(`${event.violatedDirective}: ${event.blockedURI}`));
  });
  return page;
}

/** What is wrong with what a page shows now. */
async function judge(page, name) {
  const seen = await page.evaluate(() => {
    const shown = [...document.querySelectorAll("[data-chart]")].filter((each) => each.checkVisibility());
    return {
      violations: globalThis.violations, owned: document.title.includes("owned"), animations: document.getAnimations().length,
      over: document.documentElement.scrollWidth - innerWidth, charts: shown.length,
      drawn: shown.filter((each) => each.querySelector("canvas") || each.classList.contains("empty")).length,
      background: getComputedStyle(document.body).backgroundColor,
      // A finger needs some room.
      small: innerWidth > 400 ? [] : [...document.querySelectorAll("button, .button, nav.main a, .choice a, summary")]
        .filter((each) => each.checkVisibility() && each.getBoundingClientRect().height < 36).map((each) => each.textContent.trim()),
    };
  });
  const say = (what) => wrong.push(`${name}: ${what}`);
  seen.violations.forEach((each) => say(`policy: ${each}`));
  page.complaints.splice(0).forEach(say);
  if (seen.owned) say("a text of the store ran");
  if (seen.animations) say("moves although the reader asked for stillness");
  if (seen.over > 0) say(`is ${seen.over} pixels too wide`);
  if (seen.charts !== seen.drawn) say(`${seen.charts - seen.drawn} charts are not drawn`);
  if (seen.small.length) say(`too small to touch: ${seen.small.join(", ")}`);
  facts.looked += 1;
  return seen;
}

/** Tab from the first element to the last: everything is reached once, and shows that it is. */
async function tab(page, name) {
  const count = await page.evaluate(() => {
    const all = "a[href], button, input:not([type=hidden]), select, summary, [tabindex='0']";
    return [...document.querySelectorAll(all)].filter((each) => each.checkVisibility() || each.classList.contains("skip")).length;
  });
  let reached = 0;
  await page.evaluate(() => { document.activeElement.blur(); window.getSelection().removeAllRanges(); });
  for (let i = 0; i < count + 30; i += 1) {
    await page.keyboard.press("Tab");
    const found = await page.evaluate(() => {
      const it = document.activeElement;
      if (it === document.body || it.dataset.reached) return { end: true };
      it.dataset.reached = "1";
      const box = it.getBoundingClientRect(), style = getComputedStyle(it);
      return { what: it.textContent.trim().slice(0, 30) || it.name, seen: style.outlineStyle !== "none" && box.width > 0 && box.right > 0 };
    });
    if (found.end) break;
    reached += 1;
    if (!found.seen) wrong.push(`${name}: the focus on "${found.what}" is not seen`);
  }
  facts.focused[name] = [reached, count];
  if (reached < count) wrong.push(`${name}: Tab reaches ${reached} of ${count} elements`);
}

async function everyPage() {
  const backgrounds = {};
  const looks = [390, 1280].flatMap((size) => ["light", "dark"].map((scheme) => [size, scheme]));
  // Beside each other: one waits for the server or the disk while another draws.
  await Promise.all(looks.map(async ([size, scheme]) => {
    const page = await open(size, scheme);
    for (const [name, { site, path, top, tall, open: folded }] of Object.entries(sites.pages)) {
      await page.goto(sites[site] + path);
      await page.waitForFunction(() => [...document.querySelectorAll("[data-chart]")].every((each) => !each.checkVisibility() || each.childNodes.length));
      if (folded) await page.evaluate((which) => document.querySelector(which).click(), folded);
      if (tall) await page.setViewportSize({ width: size, height: tall });
      if (top) await page.evaluate((where) => document.querySelector(where).scrollIntoView(), top);
      const seen = await judge(page, `${name}-${size}-${scheme}`);
      backgrounds[scheme] = seen.background;
      await page.screenshot({ path: `${folder}/${name}-${size}-${scheme}.png` });
      if (tall) await page.setViewportSize(SIZES[size]);
    }
    await page.context().close();
  }));
  if (backgrounds.light === backgrounds.dark) wrong.push("light and dark look alike");
}

async function byKeyboard() {
  const page = await open(1280);
  for (const name of ["now", "live", "verdicts", "verdict", "audit", "health"]) {
    await page.goto(sites.bad + sites.pages[name].path);
    await tab(page, name);
  }
  // From a list to its verdict.
  await page.goto(`${sites.bad}/verdicts?status=flagged`);
  await page.locator(".verdict-row").first().focus();
  await page.keyboard.press("Enter");
  await page.waitForURL(/verdicts\/[0-9a-f]{32}/);
  // The queue, one label after the other.
  await page.goto(`${sites.labelling}/audit`);
  const waiting = page.locator(".queue > li"), first = await waiting.first().getAttribute("id");
  await page.locator(`#${first} button.benign`).focus();
  await page.keyboard.press("Enter");
  await page.waitForFunction((id) => !document.getElementById(id), first);
  // One verdict, with a note.
  await page.goto(`${sites.labelling}${sites.pages.verdict.path}`);
  await page.locator("input[name=note]").focus();
  await page.keyboard.type("<b>seen</b>");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Space");
  await page.waitForSelector(".history >> text=<b>seen</b>");
  await judge(page, "labelled");
  await page.context().close();
}

async function overTime() {
  const page = await open(390);
  await page.clock.install();
  await page.goto(`${sites.bad}/live`);
  // What is asked for again comes, and what the reader did stays.
  const again = page.waitForResponse(/live\/rows/);
  await page.clock.runFor(1500);
  await again;
  await page.goto(`${sites.bad}/`);
  await page.locator(".finding details summary").first().click();
  const state = page.waitForResponse(/\/now$/);
  await page.clock.runFor(11_000);
  await state;
  await page.waitForTimeout(50);
  if (!(await page.locator(".finding details[open]").count())) wrong.push("a finding folds while it is read");
  await judge(page, "asked again");
  // Without the dashboard, the page says that it is old.
  await page.context().setOffline(true);
  await page.clock.runFor(40_000);
  await page.waitForSelector("#stale:not([hidden])");
  await page.screenshot({ path: `${folder}/old-390-light.png` });
  await page.context().setOffline(false);
  const back = page.waitForResponse(/\/now$/);
  await page.clock.runFor(12_000);
  await back;
  await page.waitForSelector("#stale", { state: "hidden" });
  await page.context().close();
}

async function loggingIn() {
  const page = await open(390, "dark");
  await page.goto(`${sites.locked}/verdicts?status=flagged`);
  await page.waitForSelector("input[name=token]");
  await judge(page, "login");
  await page.screenshot({ path: `${folder}/login-390-dark.png` });
  await page.keyboard.type(sites.token);
  await page.keyboard.press("Enter");
  await page.waitForURL(`${sites.locked}/verdicts?status=flagged`);
  if (await page.evaluate(() => document.cookie)) wrong.push("a script can read the cookie");
  await page.getByRole("button", { name: "Log out" }).click();
  await page.waitForURL(/\/login$/);
  await page.goto(sites.locked);
  if (!page.url().endsWith("/login")) wrong.push("logged out, and still in");
  await page.context().close();
}

const parts = [everyPage, byKeyboard, overTime, loggingIn];
await Promise.all(parts.map((part) => part().catch((err) => {
  wrong.push(`${part.name}: ${err.message.split("\n").slice(0, 3).join(" ")}`);
})));
await browser.close();
console.log(JSON.stringify({ wrong, facts }));
