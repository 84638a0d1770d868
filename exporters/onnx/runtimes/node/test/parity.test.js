import assert from "node:assert/strict";
import { test } from "node:test";

import { checkBundle, loadGuard } from "../src/index.js";
import { json, KEY, NAMES, PARTS_NAMES, path, signals, zip } from "./vectors.js";

const BACKENDS = ["native", "wasm"];

for (const backend of BACKENDS) {
  for (const name of [...NAMES, ...PARTS_NAMES]) {
    test(`${backend} gives the verdicts of ${name}`, async () => {
      const guard = await loadGuard(path(name, "bundle"), { backend, publicKey: KEY });
      const cases = json(name, "cases.json");
      for (const rule of Object.keys(guard.manifest.rules)) {
        const verdicts = await guard.score(signals(name), { rule });
        assert.equal(verdicts.length, cases[rule].length);
        verdicts.forEach((verdict, row) => agree(verdict, cases[rule][row]));
      }
      await guard.dispose();
    });

    test(`${backend} streams ${name} to the verdicts of the online rule`, async () => {
      const guard = await loadGuard(zip(name), { backend });
      const whole = signals(name);
      const [rows, cells, columns] = whole.shape;
      const request = guard.manifest.format === 2 && guard.manifest.signal.columns.at(-1).kind === "request";
      const values = whole.in(guard.manifest.signal.domain, "signals");
      const verdicts = await guard.scoreOnline(whole);
      for (let row = 0; row < rows; row += 1) {
        const numbers = (t) => [...values.subarray((row * cells + t) * columns, (row * cells + t + 1) * columns)];
        if (request && Array.from({ length: cells }, (_, t) => numbers(t).at(-1)).some((x, _, [first]) => !Object.is(x, first))) continue;
        const more = request ? { request: numbers(0).at(-1) } : {};
        const group = whole.groups?.[row] ?? null;
        const stream = guard.stream(whole.ids[row], { fingerprint: whole.fingerprint, group, ...more });
        let alarms = 0;
        for (let t = 0; t < whole.lengths[row]; t += 1) {
          const prefix = await stream.push(numbers(t).slice(0, request ? -1 : columns));
          assert.equal(prefix.length, t + 1);
          alarms += Number(prefix.alarm);
        }
        // One generation at a time, a runtime may round otherwise than many at once.
        if (guard.manifest.format === 2) agree(stream.verdict(), json(name, "cases.json").online[row]);
        else assert.deepEqual(stream.verdict(), verdicts[row]);
        assert.equal(alarms > 0, verdicts[row].status === "flagged");
      }
      await guard.dispose();
    });

    test(`${backend} uses a small part of the golden tolerance of ${name}`, async () => {
      const guard = await loadGuard(path(name, "bundle"), { backend });
      for (const share of Object.values(guard.parity)) assert.ok(share < 0.5, `${share}`);
      await guard.dispose();
    });
  }

  test(`${backend}: calls that overlap do not mix`, async () => {
    const guard = await loadGuard(path("autoencoder", "bundle"), { backend });
    const alone = await guard.scoreOnline(signals("autoencoder"));
    const together = await Promise.all([1, 2, 3, 4].map(() => guard.scoreOnline(signals("autoencoder"))));
    for (const one of together) assert.deepEqual(one, alone);
    await guard.dispose();
  });
}

test("a bundle for onnxruntime in Python is refused by name", async () => {
  await assert.rejects(checkBundle(path("python-only", "bundle")), /is of tier python/);
});

/** Fields that may differ a little, or say how far. */
const ROUGH = ["score", "p_value", "tolerance", "p_range", "parts"];

function agree(found, expected, id = expected.request_id) {
  for (const field of Object.keys(expected).filter((name) => !ROUGH.includes(name))) {
    assert.deepEqual(found[field], expected[field], `${id}: ${field}`);
  }
  (expected.parts ?? []).forEach((part, k) => agree(found.parts[k], part, `${id}, ${part.name}`));
  assert.equal(found.score === null, expected.score === null, id);
  assert.equal(found.p_value === null, expected.score === null, id);
  if (expected.score === null) return;
  assert.ok(Math.abs(found.score - expected.score) <= expected.tolerance, `${id}: ${found.score}, expected ${expected.score}`);
  const [low, high] = expected.p_range;
  assert.ok(low <= found.p_value && found.p_value <= high, `${id}: p ${found.p_value}, expected ${low} to ${high}`);
}
