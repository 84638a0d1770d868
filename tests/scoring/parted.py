"""A bundle of format 2, put together by hand: what a reader needs, from detectors that compute next to nothing."""

from typing import Any

import numpy as np
from sri_exporter_onnx.exporter import OnnxExporter

import sri_sdk
from sri_sdk.bundle.bundle import MANIFEST, Bundle
from sri_sdk.bundle.guard_graphs import INVALID_SCORE, RANGE
from sri_sdk.bundle.manifest import NO_DIGEST
from sri_sdk.bundle.manifest_v2 import Manifest2, edges2
from sri_sdk.bundle.packed_array import PackedArray
from sri_sdk.bundle.part_entries import PartRule, SignalEntry2
from sri_sdk.bundle.part_graphs import DrawnPart, parts_prefix_graph, parts_signal_graph
from sri_sdk.calibrate.conformal import Threshold
from sri_sdk.files import sha256
from sri_sdk.scoring.runtime import load_own
from sri_sdk.scoring.scorer import Scorer, load_graphs
from sri_sdk.scoring.self_test import self_test
from sri_sdk.strict_json import write

CELLS = 8


class Low(sri_sdk.Detector):
    """How far a signal lies below 1, on average over its cells and columns."""

    def fit(self, signals, labels=None):
        return self

    def score(self, signals):
        return (1 - signals).mean(axis=(1, 2), dtype=np.float32)

    def export(self, graph, signals):
        columns = int(self.state()["columns"])
        return (graph.reduce_sum(signals, [1, 2]) * (1 / (CELLS * columns))) * -1 + 1

    def state(self):
        return {"columns": np.array(self.columns_read)}

    def restore(self, state):
        return self

    columns_read = 1


def signals(seed, count, *, columns=("sri@0", "sri@final", "request"), cells=CELLS, **more):
    """Harmless-looking signals; what is not given is random near 0.8."""
    rng = np.random.default_rng(seed)
    sigma = rng.uniform(0.7, 0.9, (count, cells, len(columns))).astype(np.float32)
    if columns[-1] == "request":
        sigma[:, :, -1] = sigma[:, :1, -1]
    logit = np.log(sigma / (1 - sigma))
    return sri_sdk.Signals(tuple(f"s{i}" for i in range(count)), sigma, logit, columns=tuple(columns), **more)


def bundle(plain: Bundle, parts: dict[str, tuple[str, ...]], *, columns, groups=(), horizon=None, count=200) -> Bundle:
    """A guard whose parts (name -> columns) each alarm above what 99 % of made-up signals score.

    `plain` is any bundle of format 1: fingerprint, grid and the like are its own.
    """
    old = plain.manifest.model_dump(mode="json")
    places = {name: i for i, name in enumerate(columns)}
    made = []
    for read in parts.values():
        detector = Low()
        detector.columns_read = len(read)
        made.append(DrawnPart(detector, tuple(places[name] for name in read)))
    calibration = signals(1, count, columns=columns).sigma
    drawn = {
        "signal": parts_signal_graph(made, CELLS, len(columns)),
        "prefix": parts_prefix_graph(made, CELLS, len(columns)),
    }
    content = {f"{name}.onnx": OnnxExporter().compile(graph) for name, graph in drawn.items()}
    runs = {name: load_own(content[f"{name}.onnx"], name) for name in drawn}
    share = 0.02 / len(parts)

    def rule(named: dict[str, tuple[str, ...]]) -> dict[str, Any]:
        found = {}
        for part in named:
            scores = made[list(parts).index(part)]
            own = scores.detector.score(calibration[:, :, list(scores.columns)])
            # Groups further down the alphabet are stricter, so that it shows whose threshold counts.
            cuts = {name: Threshold.fit(own + 0.01 * i, share) for i, name in enumerate(groups or ("all",))}
            found[part] = PartRule.of(cuts).model_dump(mode="json")
        return {"alpha": 0.02, "parts": found}

    reading = {name: read for name, read in parts.items() if read == ("request",)}
    request = {"sha256": "1" * 64, "provenance": {}} if "request" in places else None
    low, high = RANGE["sigma"]
    value = {
        **{key: old[key] for key in old if key not in ("detector", "golden")},
        "format": 2,
        "digest": NO_DIGEST,
        "files": {name: {"sha256": sha256(data), "size": len(data)} for name, data in content.items()},
        "sensitive": False,
        "signal": {
            "cells": CELLS, "hidden_size": 16, "domain": "sigma",
            "columns": [
                {
                    "name": name, "kind": "request" if name == "request" else "sri",
                    "layers": [0, "final"] if name == "request" else ["final"], "low": low, "high": high,
                }
                for name in columns
            ],
        },
        "grid": {"cells": CELLS, "mapping": "step", "budget": 16},
        "anchors": {**old["anchors"], "request": request},
        "parts": [
            {
                "name": name, "columns": list(read), "reason": f"{name}_alarm",
                "detector": {"name": "low", "config": {}, "tier": "portable"},
            }
            for name, read in parts.items()
        ],
        "tier": "portable",
        "groups": list(groups),
        "rules": {
            "final": rule(parts), "online": rule(parts), **({"request": rule(reading)} if reading else {}),
        },
        "horizon": None if horizon is None else {"steps": horizon},
        "ended": None if horizon or len(columns) == 1 else {"column": columns[len(columns) - 2], "value": 0.5},
        "rates": [],
    }  # fmt: skip
    golden = signals(2, 6, columns=columns).sigma
    golden[4:] = np.nan
    asked = {
        "signal": {"signals": golden},
        "prefix": {"signals": golden, "length": np.array([1, 3, 5, 8, 8, 8])},
    }
    value["golden"], value["graphs"] = {}, {}
    for name, inputs in asked.items():
        score, valid = runs[name].session_run(["score", "valid"], inputs)
        arrays = {"score": score, "valid": valid, "tolerance": np.where(valid, np.float32(1e-5), np.float32(0))}
        value["golden"][name] = {
            "inputs": {key: PackedArray.pack(array).model_dump(mode="json") for key, array in inputs.items()},
            **{key: PackedArray.pack(array).model_dump(mode="json") for key, array in arrays.items()},
        }
    model = Manifest2.model_validate_json  # Tuples are lists in JSON.
    for name in asked:
        value["graphs"][name] = {"file": f"{name}.onnx"}
    entry = SignalEntry2.model_validate_json(sri_json(value["signal"]))
    for name in asked:
        inputs, outputs = edges2(name, entry, len(parts))
        value["graphs"][name] |= {
            "inputs": {key: each.model_dump(mode="json") for key, each in inputs.items()},
            "outputs": {key: each.model_dump(mode="json") for key, each in outputs.items()},
        }
    assert value["invalid_score"] == INVALID_SCORE
    return Bundle.of(plain.path, {**content, MANIFEST: model(sri_json(value)).to_bytes()})


def sri_json(value: Any) -> str:
    """As every file of ours spells it."""
    return write(value)


def scorer_of(found: Bundle) -> Scorer:
    """As `Scorer.open` makes it, from memory."""
    runs = load_graphs(found, ("signal", "prefix"))
    self_test(found, runs)
    return Scorer(found, runs)
