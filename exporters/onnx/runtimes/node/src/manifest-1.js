/** `manifest.json` of a bundle, format 1: one detector on the signals of tapped layers. */

import { LARGEST_PROBE } from "./limits.js";
import { CALIBRATION, calibrationFacts, detector, edgeFacts, graphFacts, KEYS, refuse, SIGNAL } from "./manifest-checks.js";
import { anything, either, mapOf, number, object, oneOf, sha256, share, whole } from "./schema.js";

const rule = object({ alpha: share, delta: either(oneOf(null), share), ...CALIBRATION });

const shape = object({
  ...KEYS,
  format: oneOf(1),
  signal: object({ ...SIGNAL, layers: whole(1, 1024), low: number, high: number }),
  anchors: object({ sha256, provenance: mapOf(anything) }),
  detector,
  rules: object({ final: rule, online: rule }),
});

/**
 * What the entries must agree on.
 * @param {import("../index.js").Manifest1} value
 */
function consistent(value) {
  const { cells, layers, hidden_size: width, low, high } = value.signal;
  refuse([
    ...graphFacts(value),
    [low < high, "signal.low is not below signal.high"],
    [!value.sensitive || cells * layers * width <= LARGEST_PROBE, "cells, layers and width are too many"],
    ...Object.entries(value.rules).flatMap(([name, entry]) => calibrationFacts(`rules.${name}`, [entry])),
  ]);
  refuse(edgeFacts(value, { cells, columns: layers, sri: layers, layers: 0, width, parts: null }));
}

export const MANIFEST_1 = { shape, consistent };
