import assert from "node:assert/strict";
import { test } from "node:test";

import { checkBundle, loadGuard } from "../src/index.js";
import { json, KEY, NAMES, path, signals, zip } from "./vectors.js";

const BACKENDS = ["native", "wasm"];

for (const backend of BACKENDS) {
  for (const name of NAMES) {
    test(`${backend} gives the verdicts of ${name}`, async () => {
      const guard = await loadGuard(path(name, "bundle"), { backend, publicKey: KEY });
      const cases = json(name, "cases.json");
      for (const rule of ["final", "online"]) {
        const verdicts = await guard.score(signals(name), { rule });
        assert.equal(verdicts.length, cases[rule].length);
        verdicts.forEach((verdict, row) => agree(verdict, cases[rule][row]));
      }
      await guard.dispose();
    });

    test(`${backend} streams ${name} to the verdicts of the online rule`, async () => {
      const guard = await loadGuard(zip(name), { backend });
      const whole = signals(name);
      const [rows, cells, layers] = whole.shape;
      const values = whole.in(guard.manifest.signal.domain, "signals");
      const verdicts = await guard.scoreOnline(whole);
      for (let row = 0; row < rows; row += 1) {
        const stream = guard.stream(whole.ids[row], { fingerprint: whole.fingerprint });
        let alarms = 0;
        for (let t = 0; t < whole.lengths[row]; t += 1) {
          const at = (row * cells + t) * layers;
          const prefix = await stream.push([...values.subarray(at, at + layers)]);
          assert.equal(prefix.length, t + 1);
          alarms += Number(prefix.alarm);
        }
        assert.deepEqual(stream.verdict(), verdicts[row]);
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

function agree(found, expected) {
  const id = expected.request_id;
  for (const field of ["request_id", "status", "reasons", "threshold", "first_alarm_step"]) {
    assert.deepEqual(found[field], expected[field], `${id}: ${field}`);
  }
  assert.equal(found.score === null, expected.score === null, id);
  assert.equal(found.p_value === null, expected.score === null, id);
  if (expected.score === null) return;
  assert.ok(Math.abs(found.score - expected.score) <= expected.tolerance, `${id}: ${found.score}, expected ${expected.score}`);
  const [low, high] = expected.p_range;
  assert.ok(low <= found.p_value && found.p_value <= high, `${id}: p ${found.p_value}, expected ${low} to ${high}`);
}
