/** The page in a real browser: what it says, what it refuses, and that it keeps everything to itself. */

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";

import { resealed } from "../../node/test/reseal.js";
import { json, KEY, members, NAMES, signals, zip } from "../../node/test/vectors.js";
import {
  choose, complaints, file, give, noteTexts, open, overlapping, page, saved, server, shown, start, sticksOut, stop, text,
} from "./opened.js";

const NAME = "autoencoder";

before(start);
after(stop);
beforeEach(() => open());

const filesOf = (name) => [...members(name)].map(([called, content]) => file(called, content));

/** JSON lines of the signals of a bundle's cases. */
function lines(name, { fingerprint = true } = {}) {
  const all = signals(name);
  const { domain } = json(name, "bundle/manifest.json").signal;
  const [, cells, layers] = all.shape;
  const head = fingerprint ? [JSON.stringify({ sri_signals: 1, fingerprint: all.fingerprint })] : [];
  const rows = all.ids.map((id, row) => {
    const cell = (t) => [...all[domain].subarray((row * cells + t) * layers, (row * cells + t + 1) * layers)];
    const values = Array.from({ length: cells }, (_, t) => cell(t).map((x) => (Number.isFinite(x) ? x : null)));
    return JSON.stringify({ id, [domain]: values, length: all.lengths[row] });
  });
  return [...head, ...rows].join("\n");
}

for (const name of NAMES) {
  test(`the page gives the verdicts of ${name}`, async () => {
    await give.bundle(file("guard.zip", zip(name)));
    await give.signals(lines(name));
    for (const rule of ["final", "online"]) {
      await choose("rule", rule);
      const expected = json(name, "cases.json")[rule];
      const flagged = expected.filter((verdict) => verdict.status === "flagged").length;
      await page.waitForFunction(
        ([n, threshold]) => document.querySelector("#keys .flagged dd")?.textContent === String(n)
          && document.querySelector("#keys").textContent.includes(threshold),
        [flagged, String(Number(expected[0].threshold.toPrecision(4)))],
      );
      const verdicts = await saved();
      assert.equal(verdicts.length, expected.length);
      verdicts.forEach((verdict, row) => {
        const { request_id: id, score, tolerance } = expected[row];
        for (const field of ["request_id", "status", "first_alarm_step", "threshold"]) {
          assert.deepEqual(verdict[field], expected[row][field], `${id}: ${field}`);
        }
        if (score !== null) assert.ok(Math.abs(verdict.score - score) <= tolerance, `${id}: ${verdict.score} ${score}`);
      });
      assert.match(await text("#finding"), new RegExp(`^${flagged} of ${expected.length} generations`));
    }
    assert.deepEqual(complaints, []);
  });
}

test("a bundle's files are the same as its zip, in whatever order they come", async () => {
  await give.signals(lines(NAME));
  await give.bundle(filesOf(NAME).reverse());
  await shown("#results");
  assert.match(await text("#bundle-facts"), /autoencoder, reads sigma/);
});

test("files that are dropped are taken", async () => {
  const drop = (selector, files) => page.evaluate(([where, given]) => {
    const transfer = new DataTransfer();
    for (const [name, bytes] of given) transfer.items.add(new File([Uint8Array.from(bytes)], name));
    document.querySelector(where).dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
  }, [selector, files.map(([name, content]) => [name, [...content]])]);
  await drop("#bundle", [["guard.zip", zip(NAME)]]);
  await drop("#signals", [["signals.jsonl", new TextEncoder().encode(lines(NAME))]]);
  await shown("#results");
});

test("a damaged bundle is refused with its reason, and nothing is scored", async () => {
  await give.signals(lines(NAME));
  for (const at of [0, 200, 9000]) {
    const content = zip(NAME);
    content[at] ^= 4;
    await give.bundle(file(`damaged-${at}.zip`, content));
    await page.waitForFunction((name) => document.querySelector("#bundle-problem").textContent.startsWith(name), `damaged-${at}.zip:`);
    assert.equal(await page.isVisible("#results"), false);
  }
});

test("a changed bundle is refused once the right key is given, and the untouched one is not", async () => {
  await page.click("#bundle summary");
  await page.fill("#public-key", KEY);
  await give.signals(lines(NAME));
  await give.bundle(filesOf("python-only"));
  await page.waitForFunction(() => /is of tier python/.test(document.querySelector("#bundle-problem").textContent));
  await give.bundle(filesOf(NAME).filter(({ name }) => name !== "manifest.sig"));
  await page.waitForFunction(() => /not signed/.test(document.querySelector("#bundle-problem").textContent));
  await give.bundle(filesOf(NAME));
  await shown("#results");
  assert.match(await text("#bundle-facts"), /signed by key [0-9a-f]{16}/);
  await page.fill("#digest", "0".repeat(64));
  await page.dispatchEvent("#digest", "change");
  await page.waitForFunction(() => /not the bundle with digest/.test(document.querySelector("#bundle-problem").textContent));
  assert.equal(await page.isVisible("#results"), false);
});

test("signals that do not say whose they are are scored only after somebody said so", async () => {
  await give.bundle(filesOf(NAME));
  await give.signals(lines(NAME, { fingerprint: false }));
  await shown("#signals-problem");
  assert.match(await text("#signals-problem"), /no fingerprint/);
  assert.equal(await page.isVisible("#results"), false);
  await page.check("#unverified");
  await shown("#results");
  assert.deepEqual((await saved())[0].accepted, ["unverified"]);
});

test("a file that holds no signals says so", async () => {
  await give.bundle(filesOf(NAME));
  await give.signals("hello", "signals.npz");
  await page.waitForFunction(() => /signals\.npz: cannot be read/.test(document.querySelector("#signals-problem").textContent));
});

test("what a file says is shown as text and never run", async () => {
  const nasty = '<img src=x onerror="document.title=1"><script>document.title=2</script>';
  await give.bundle(filesOf(NAME));
  await give.signals(lines(NAME).replaceAll('"harmless-0"', JSON.stringify(nasty)));
  await shown("#results");
  await page.click(`text=${nasty}`);
  await page.waitForFunction((name) => document.querySelector("#one-title").textContent.includes(name), nasty);
  assert.equal(await page.title(), "SRI Guard: score a bundle");
  assert.deepEqual(complaints, []);
});

test("once it is ready the page asks for nothing more, and no script of it can", async () => {
  const before = server.asked.length;
  assert.ok(server.asked.every((one) => one.startsWith("GET /")));
  await give.bundle(filesOf(NAME));
  await give.signals(lines(NAME));
  await shown("#one");
  assert.deepEqual(server.asked.slice(before), []);
  const tried = await page.evaluate(async (url) => {
    const image = new Promise((resolve) => {
      const one = new Image();
      one.onload = () => resolve("image loaded");
      one.onerror = () => resolve("no image");
      one.src = `${url}page.css`;
    });
    const sent = (what) => fetch(what).then(() => "sent", () => "not sent");
    return [await sent(`${url}index.html`), await sent("data:,x"), await image, navigator.sendBeacon(`${url}x`, "x")];
  }, server.url);
  assert.deepEqual(tried.slice(0, 3), ["not sent", "not sent", "no image"]);
  assert.deepEqual(server.asked.slice(before), []);
});

for (const colorScheme of ["light", "dark"]) {
  test(`both drawings show lines in ${colorScheme} colours, and follow the page`, async () => {
    await open({ colorScheme });
    await give.bundle(filesOf("isolation-forest"));
    await give.signals(lines("isolation-forest"));
    await shown("#one");
    const inks = () => page.$$eval(".plot canvas", (all) => all.map((canvas) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      const found = new Set();
      for (let i = 0; i < data.length; i += 4) if (data[i + 3] > 200) found.add(`${data[i] >> 4},${data[i + 1] >> 4},${data[i + 2] >> 4}`);
      return [...found];
    }));
    const first = await inks();
    assert.equal(first.length, 2);
    for (const colours of first) assert.ok(colours.length > 5, `only ${colours.length} colours`);
    await page.emulateMedia({ colorScheme: colorScheme === "light" ? "dark" : "light" });
    await page.waitForTimeout(500);
    assert.notDeepEqual((await inks())[1], first[1]);
    // Two tapped layers can be told apart.
    await page.selectOption("#layer", "1");
    assert.deepEqual(complaints, []);
  });
}

test("nothing sticks out of a narrow screen, and every control has a name", async () => {
  await open({ viewport: { width: 360, height: 740 } });
  await give.bundle(filesOf(NAME));
  await give.signals(lines(NAME));
  await shown("#one");
  assert.deepEqual(await sticksOut(), [false, []]);
});

for (const name of NAMES) {
  test(`no text lies over another in the drawings of ${name}, however long its numbers`, async () => {
    await open({}, noteTexts);
    await give.bundle(filesOf(name));
    await give.signals(lines(name));
    await shown("#one");
    for (const row of (await page.$$("#verdicts tbody tr")).map((_, i) => i).slice(0, 6)) {
      assert.deepEqual(await overlapping(`#verdicts tbody tr:nth-child(${row + 1})`), [[], []]);
    }
  });
}

test("a bundle's rates lie below both panels and leave no half of the page empty", async () => {
  const names = ["false alarms", "recall of attacks", "a rate with a name as long as people give them", "x", "y"];
  const rates = names.map((name) => ({ name, k: 12, n: 99, low: 0.0431, high: 0.2519 }));
  const files = await resealed(members(NAME), {}, (m) => { m.rates = rates; });
  await give.bundle([...files].filter(([called]) => called !== "manifest.sig").map(([called, content]) => file(called, content)));
  await give.signals(lines(NAME));
  await shown("#one");
  const box = (selector) => page.$$eval(selector, (all) => all.map((one) => one.getBoundingClientRect().toJSON()));
  const [[bundle], [signals], [panel], each] = await Promise.all(["#bundle", "#signals", "#rates", "#rates > div"].map(box));
  assert.equal(each.length, rates.length);
  assert.ok(Math.abs(bundle.bottom - signals.bottom) < 1 && panel.top >= bundle.bottom);
  // The last one of every row ends where the panel does.
  for (const top of new Set(each.map((one) => one.top))) {
    const right = Math.max(...each.filter((one) => one.top === top).map((one) => one.right));
    assert.ok(panel.right - right < 30, `${panel.right} ${right}`);
  }
});
