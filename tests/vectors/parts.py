"""Bundles of format 2 for the test vectors, put together by hand: several columns and parts, groups, a horizon."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sri_exporter_onnx.exporter import OnnxExporter

import sri_sdk
from sri_sdk.bundle.bundle import MANIFEST, Bundle
from sri_sdk.bundle.guard_graphs import INVALID_SCORE, RANGE
from sri_sdk.bundle.manifest import NO_DIGEST
from sri_sdk.bundle.manifest_v2 import ALL, Manifest2, edges2
from sri_sdk.bundle.packed_array import PackedArray
from sri_sdk.bundle.part_entries import PartRule, SignalEntry2
from sri_sdk.bundle.part_graphs import DrawnPart, parts_prefix_graph, parts_signal_graph
from sri_sdk.calibrate.conformal import Threshold
from sri_sdk.calibrate.prefix import PrefixScale
from sri_sdk.detector import Detector, Domain
from sri_sdk.files import sha256
from sri_sdk.fingerprint import Fingerprint
from sri_sdk.records import REQUEST, Signals
from sri_sdk.scoring.runtime import RunGraph, load_own, score_prefixes, score_rows
from sri_sdk.signal import sigmoid
from sri_sdk.strict_json import write
from tests.vectors.detectors import IsolationForestDetector, LogitMahalanobis, MahalanobisDetector

Floats = NDArray[np.float32]
ALPHA = 0.05
ENDS = {"sigma": 0.5, "logit": 0.0}
"""Below it, a generation ends refusing."""
FOLDS = 120, 60, 99
"""Signals for training, for the scale of the online rule, and for the thresholds."""


class Mean(sri_sdk.Detector):
    """How far a signal lies below 1, on average over its cells and columns."""

    _size = 0

    def fit(self, signals: Floats, labels: NDArray[np.int64] | None = None) -> Self:
        """Remembers how many numbers [N, T, C] has per generation."""
        self._size = int(np.prod(signals.shape[1:]))
        return self

    def score(self, signals: Floats) -> Floats:
        """[N, T, C] -> [N]."""
        return np.asarray((1 - signals).mean(axis=(1, 2)), dtype=np.float32)

    def export(self, graph: sri_sdk.Graph, signals: sri_sdk.Value) -> sri_sdk.Value:
        """[B, T, C] -> [B]."""
        return (graph.reduce_sum(signals, [1, 2]) * (1 / self._size)) * -1 + 1

    def state(self) -> Mapping[str, NDArray[Any]]:
        """How many numbers a generation has."""
        return {"size": np.array(self._size)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> Self:
        """The inverse of `state`."""
        self._size = int(state["size"])
        return self


class LogitMean(Mean):
    """On logits, whose range is another."""

    domain = "logit"


@dataclass(frozen=True)
class Part:
    """One score of a guard."""

    columns: tuple[str, ...]
    make: Callable[[], Detector]
    share: float
    """Of ALPHA."""
    reason: str


@dataclass(frozen=True)
class PartsGuard:
    """What one bundle is made of."""

    cells: int
    columns: tuple[str, ...]
    parts: Mapping[str, Part]
    domain: Domain = "sigma"
    groups: tuple[str, ...] = ()
    horizon: int | None = None
    """Steps of the grid; None = whole generations, and a grid that counts tokens where `mapping` says so."""
    mapping: str = "step"
    ended: str | None = None
    """Column that says how a generation ended."""


HARM = Part((REQUEST,), Mean, 0.4, "request_harmful")
PARTS_GUARDS = {
    "parts": PartsGuard(
        8,
        ("sri@4", "sri@final", REQUEST),
        {
            "harm": HARM,
            "novelty": Part(("sri@4", "sri@final"), IsolationForestDetector, 0.4, "signal_unfamiliar"),
            "both": Part(("sri@final", REQUEST), MahalanobisDetector, 0.2, "pair_unfamiliar"),
        },
        ended="sri@final",
    ),
    "groups": PartsGuard(
        6,
        ("sri@final", REQUEST),
        # A part that reads the request comes last, and both alarms have one code.
        {
            "novelty": Part(("sri@final",), LogitMahalanobis, 0.6, "not_as_usual"),
            "harm": replace(HARM, make=LogitMean, reason="not_as_usual"),
        },
        domain="logit",
        groups=("de", "en", "zh-Hant"),
        mapping="token",
        ended="sri@final",
    ),
    "request-horizon": PartsGuard(4, (REQUEST,), {"harm": replace(HARM, share=1.0)}, horizon=6),
    "horizon": PartsGuard(
        4, ("sri@final", REQUEST), {"harm": HARM, "novelty": Part(("sri@final",), Mean, 0.6, "signal_low")}, horizon=10
    ),
}  # fmt: skip


def made_up(guard: PartsGuard, count: int, seed: int, *, dip: float = 0.0, harm: float = 0.0) -> Signals:
    """Smooth noisy logits, and a request; with `dip` and `harm`, both in units of the logit, those of attacks."""
    rng, t = np.random.default_rng(seed), np.linspace(0, 1, guard.cells)
    level = 1.5 + 0.4 * rng.normal(size=(count, 1, 1)) - dip * np.exp(-(((t - 0.5) / 0.3) ** 2))[:, None]
    logit = level + 0.2 * rng.normal(size=(count, guard.cells, len(guard.columns)))
    logit[:, :, -1] = 2.5 + 0.7 * rng.normal(size=(count, 1)) - harm
    logit = logit.astype(np.float32)
    ids = tuple(f"made-up-{seed}-{i}" for i in range(count))
    return Signals(ids, sigmoid(logit), logit, fingerprint_of(guard).to_dict(), columns=guard.columns)


def fingerprint_of(guard: PartsGuard) -> Fingerprint:
    """Of no model at all."""
    hard = {
        "architecture": "Made-up", "hidden_size": 16, "layers": [c for c in guard.columns if c != REQUEST],
        "pooling": "response", "grid": grid_of(guard), "sampler": {"name": "made-up"}, "config_digest": "c" * 64,
        "weights_digest": "d" * 64,
    }  # fmt: skip
    return Fingerprint(hard, {"dtype": "float32"})


def grid_of(guard: PartsGuard) -> dict[str, Any]:
    """Three steps in two cells, unless a horizon says how many there are."""
    steps = {"budget": guard.horizon or 3 * guard.cells // 2} if guard.mapping == "step" else {}
    return {"cells": guard.cells, "mapping": guard.mapping, **steps}


@dataclass(frozen=True)
class _Fitted:
    """A guard's graphs, compiled, and its thresholds: rule -> part -> group."""

    content: dict[str, bytes]
    runs: dict[str, RunGraph]
    thresholds: dict[str, dict[str, dict[str, Threshold]]]


def write_parts(name: str, guard: PartsGuard, seed: int, target: Path) -> Bundle:
    """Writes the bundle to the folder `target`, unsigned."""
    fitted = _fit(guard, seed)
    manifest = _manifest(name, guard, fitted, seed)
    target.mkdir(parents=True)
    for file, content in {**fitted.content, MANIFEST: manifest.to_bytes()}.items():
        (target / file).write_bytes(content)
    return Bundle.read(target)


def _fit(guard: PartsGuard, seed: int) -> _Fitted:
    train, reference, calibration = (
        made_up(guard, count, seed + k).domain(guard.domain) for k, count in enumerate(FOLDS)
    )
    places = {column: i for i, column in enumerate(guard.columns)}
    drawn = []
    for part in guard.parts.values():
        reads = tuple(places[column] for column in part.columns)
        drawn.append(DrawnPart(part.make().fit(train[:, :, list(reads)]), reads))
    size = guard.cells, len(guard.columns)
    raw = load_own(OnnxExporter().compile(parts_prefix_graph(drawn, *size)), "prefix")
    early, _ = score_prefixes(raw, reference, len(drawn))
    scaled = [replace(one, scale=PrefixScale.fit(early[..., k])) for k, one in enumerate(drawn)]
    graphs = {"signal": parts_signal_graph(drawn, *size), "prefix": parts_prefix_graph(scaled, *size)}
    content = {f"{name}.onnx": OnnxExporter().compile(graph) for name, graph in graphs.items()}
    runs = {name: load_own(content[f"{name}.onnx"], name) for name in graphs}
    final, _ = score_rows(runs["signal"], calibration, len(drawn))
    online = score_prefixes(runs["prefix"], calibration, len(drawn))[0].max(axis=1)
    rules = {"final": (final, guard.parts), "online": (online, guard.parts)}
    if reading := {name: part for name, part in guard.parts.items() if part.columns == (REQUEST,)}:
        rules["request"] = final, reading
    order = list(guard.parts)
    thresholds = {
        rule: {name: _by_group(guard, scores[:, order.index(name)], part.share) for name, part in parts.items()}
        for rule, (scores, parts) in rules.items()
    }
    return _Fitted(content, runs, thresholds)


def _by_group(guard: PartsGuard, scores: Floats, share: float) -> dict[str, Threshold]:
    """One threshold per group. The last two groups have one value, but not the same calibration scores."""
    spread = np.float32(scores.std())
    found = {name: Threshold.fit(scores + spread * i, ALPHA * share) for i, name in enumerate(guard.groups or (ALL,))}
    if len(guard.groups) > 1:
        twin, last = guard.groups[-2:]
        lower = found[twin].scores.copy()
        lower[: len(lower) // 2] -= spread
        found[last] = replace(found[twin], scores=lower)
    return found


def _manifest(name: str, guard: PartsGuard, fitted: _Fitted, seed: int) -> Manifest2:
    low, high = RANGE[guard.domain]
    signal = {
        "cells": guard.cells, "hidden_size": 16, "domain": guard.domain,
        "columns": [
            {
                "name": column, "kind": REQUEST if column == REQUEST else "sri",
                "layers": [2, "final"] if column == REQUEST else _layer(column), "low": low, "high": high,
            }
            for column in guard.columns
        ],
    }  # fmt: skip
    fingerprint = fingerprint_of(guard)
    value = {
        "format": 2,
        "digest": NO_DIGEST,
        "files": {file: {"sha256": sha256(content), "size": len(content)} for file, content in fitted.content.items()},
        "sensitive": False,
        "signal": signal,
        "tau": 0.1,
        "eps": 1e-6,
        "pooling": "response",
        "grid": grid_of(guard),
        "fingerprint": fingerprint.to_dict(),
        "fingerprint_digest": fingerprint.digest,
        "anchors": {
            "sha256": "a" * 64, "provenance": {"judge": "made-up 1"},
            "request": {"sha256": "b" * 64, "provenance": {}} if REQUEST in guard.columns else None,
        },
        "parts": [
            {
                "name": part, "columns": entry.columns, "reason": entry.reason,
                "detector": {"name": type(entry.make()).__name__, "config": {}, "tier": "portable"},
            }
            for part, entry in guard.parts.items()
        ],
        "tier": "portable",
        "groups": guard.groups,
        "rules": {
            rule: {
                "alpha": ALPHA,
                "parts": {part: PartRule.of(groups).model_dump(mode="json") for part, groups in parts.items()},
            }
            for rule, parts in fitted.thresholds.items()
        },
        "horizon": None if guard.horizon is None else {"steps": guard.horizon},
        "ended": None if guard.ended is None else {"column": guard.ended, "value": ENDS[guard.domain]},
        "invalid_score": INVALID_SCORE,
        "rates": [{"name": "made up", "k": 1, "n": 20, "low": 0.0013, "high": 0.2487}],
        "producer": {"tests": name},
        "graphs": {},
        "golden": {},
    }  # fmt: skip
    entry = SignalEntry2.model_validate_json(write(signal))
    for graph, asked in _golden_inputs(guard, seed).items():
        inputs, outputs = edges2(graph, entry, len(guard.parts))
        value["graphs"][graph] = {
            "file": f"{graph}.onnx",
            "inputs": {key: edge.model_dump(mode="json") for key, edge in inputs.items()},
            "outputs": {key: edge.model_dump(mode="json") for key, edge in outputs.items()},
        }
        score, valid = fitted.runs[graph](["score", "valid"], asked)
        room = np.zeros_like(score)
        for k, groups in enumerate(fitted.thresholds["online" if graph == "prefix" else "final"].values()):
            room[:, k] = next(iter(groups.values())).allowed(score[:, k])
        answers = {"score": score, "valid": valid, "tolerance": np.where(valid, room, np.float32(0))}
        value["golden"][graph] = {
            "inputs": {key: _packed(array) for key, array in asked.items()},
            **{key: _packed(array) for key, array in answers.items()},
        }
    return Manifest2.model_validate_json(write(value))  # Tuples are lists in JSON.


def _golden_inputs(guard: PartsGuard, seed: int) -> dict[str, dict[str, NDArray[Any]]]:
    """Rows of which every part can read some; each column is missing in one, and one row has no cell."""
    values = made_up(guard, 12, seed + 7).domain(guard.domain).copy()
    values[6:8] = made_up(guard, 2, seed + 8, dip=4.0, harm=4.0).domain(guard.domain)
    for column in range(len(guard.columns)):
        values[8 + column, :, column] = np.nan
    values[11] = 0.0 if guard.domain == "logit" else 1.5
    lengths = np.arange(12, dtype=np.int64) % guard.cells + 1
    lengths[5] = 0
    return {"signal": {"signals": values}, "prefix": {"signals": values, "length": lengths}}


def _layer(column: str) -> list[int | str]:
    name = column.removeprefix("sri@")
    return [name if name == "final" else int(name)]


def _packed(array: NDArray[Any]) -> dict[str, Any]:
    packed: dict[str, Any] = PackedArray.pack(array).model_dump(mode="json")
    return packed
