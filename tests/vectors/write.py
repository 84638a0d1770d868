"""Writes what every runtime must agree on: bundles, signals with their edge cases, and the verdicts they must get.

    python -m tests.vectors.write [FOLDER]      exporters/onnx/runtimes/vectors without an argument

Everything is made up and follows from seeds: the same machine and versions give the same bytes. `write_parts.py` does
the same for bundles of format 2. The README beside the vectors, and `refusals.json`, are written by hand.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sri_exporter_onnx.exporter import OnnxExporter
from sri_plugin_detectors.autoencoder import AutoencoderDetector
from sri_plugin_toy.detector import ToyDetector

from sri_sdk.anchors import Anchors
from sri_sdk.bundle.bundle import Bundle
from sri_sdk.bundle.files import MANIFEST, SIGNATURE
from sri_sdk.bundle.packed_array import PackedArray
from sri_sdk.bundle.signature import sign
from sri_sdk.detector import Detector
from sri_sdk.fingerprint import Fingerprint
from sri_sdk.fitting.build import fit_guard
from sri_sdk.records import Signals
from sri_sdk.scoring.scorer import Scorer, load_graphs
from sri_sdk.signal import sigmoid
from tests.vectors.detectors import IsolationForestDetector, LogitMahalanobis

FOLDER = Path(__file__).parents[2] / "exporters/onnx/runtimes/vectors"
KEY_SEED = sha256(b"sri-sdk test vectors: this key is public and signs nothing else").digest()
FLIPS = 12
"""Changed bytes per file that every reader must refuse."""


class PythonToy(ToyDetector):
    """Says that it needs onnxruntime in Python."""

    tier = "python"


@dataclass(frozen=True)
class Guard:
    """What one bundle is made of."""

    make: Callable[[], Detector]
    cells: int
    layers: int
    width: int
    exporter: OnnxExporter


GUARDS = {
    "autoencoder": Guard(
        lambda: AutoencoderDetector(AutoencoderDetector.Config(hidden=(16, 4, 16), epochs=40)), 16, 1, 8, OnnxExporter()
    ),
    "isolation-forest": Guard(IsolationForestDetector, 8, 2, 8, OnnxExporter()),
    "mahalanobis": Guard(
        LogitMahalanobis, 8, 1, 128, OnnxExporter(OnnxExporter.Config(full=True, step=True))
    ),
    "python-only": Guard(PythonToy, 4, 1, 8, OnnxExporter()),
}  # fmt: skip


def write_vectors(target: Path, names: Collection[str] = tuple(GUARDS)) -> None:
    """Writes those of the named guards; what was there of them is gone."""
    for name in names:
        if (target / name).exists():
            rmtree(target / name)
    target.mkdir(parents=True, exist_ok=True)
    private, public = keys()
    (target / "key.pub").write_bytes(public)
    damage = []
    for number, (name, guard) in enumerate(GUARDS.items()):
        if name not in names:
            continue
        anchors = made_up_anchors(guard)
        folds = (made_up_signals(guard, anchors, count, 10 * number + k) for k, count in enumerate((120, 60, 99)))
        bundle = fit_guard(
            guard.make(), name, *folds, anchors=anchors, exporter=guard.exporter, alpha=0.05,
            target=target / name / "bundle",
        )  # fmt: skip
        (bundle.path / SIGNATURE).write_bytes(sign(bundle.unlisted[MANIFEST], private))
        cases = _cases(bundle, guard, anchors, 10 * number + 5)
        write_json(target / name / "cases.json", {"tier": bundle.manifest.detector.tier, **cases})
        damage += damage_of(name, bundle, number)
    write_json(target / "damage.json", damage)


def made_up_anchors(guard: Guard) -> Anchors:
    """[T, C, D] of no model at all."""
    rng = np.random.default_rng(1)
    harmless = rng.normal(size=(guard.cells, guard.layers, guard.width)).astype(np.float32)
    harmful = harmless + 0.3 * rng.normal(size=harmless.shape).astype(np.float32)
    hard = {
        "architecture": "Made-up", "hidden_size": guard.width, "layers": [f"layer-{i}" for i in range(guard.layers)],
        "pooling": "response", "grid": {"cells": guard.cells, "mapping": "step", "budget": 2 * guard.cells},
        "sampler": {"name": "made-up"}, "config_digest": "c" * 64, "weights_digest": "d" * 64,
    }  # fmt: skip
    return Anchors(harmless, harmful, Fingerprint(hard, {"dtype": "float32"}), {"judge": "made-up 1"})


def made_up_signals(guard: Guard, anchors: Anchors, count: int, seed: int, dip: float = 0.0) -> Signals:
    """Smooth noisy logits; with a `dip`, which is in units of the logit, those of attacks."""
    rng, t = np.random.default_rng(seed), np.linspace(0, 1, guard.cells)
    level = 1.5 + 0.4 * rng.normal(size=(count, 1)) + 0.4 * rng.normal(size=(count, 1)) * np.sin(4 * t)
    smooth = level - dip * np.exp(-(((t - 0.5) / 0.2) ** 2))
    noise = 0.2 * rng.normal(size=(count, guard.cells, guard.layers))
    logit = (smooth[..., None] + noise).astype(np.float32)
    return Signals(
        tuple(f"made-up-{seed}-{i}" for i in range(count)), sigmoid(logit), logit, anchors.fingerprint.to_dict()
    )


def _cases(bundle: Bundle, guard: Guard, anchors: Anchors, seed: int) -> dict[str, Any]:
    signals = _edge_cases(
        bundle, made_up_signals(guard, anchors, 16, seed), made_up_signals(guard, anchors, 4, seed + 1, dip=5.0)
    )
    scorer = Scorer.open(bundle.path)
    found: dict[str, Any] = {
        "ids": signals.ids,
        "signals": _packed(signals.domain(bundle.manifest.signal.domain)),
        "lengths": _packed(np.asarray(signals.lengths)),
    }
    for rule in ("final", "online"):
        threshold, verdicts = scorer.thresholds[rule], []
        for verdict in scorer.score(signals, rule=rule):
            one: dict[str, Any] = {
                name: value for name, value in verdict.to_dict().items()
                if name in ("request_id", "status", "reasons", "score", "threshold", "p_value", "first_alarm_step")
            }  # fmt: skip
            if verdict.score is not None:
                room = float(threshold.allowed(np.float32([verdict.score]))[0])
                ends = threshold.p_values(np.float32([verdict.score + room, verdict.score - room]))
                one |= {"tolerance": room, "p_range": ends.tolist()}
            verdicts.append(one)
        found[rule] = verdicts
    return found | _streams(bundle, anchors)


def _edge_cases(bundle: Bundle, harmless: Signals, attacks: Signals) -> Signals:
    """Rows that a reader could get wrong, each with its own id."""
    domain, cells = bundle.manifest.signal.domain, bundle.manifest.signal.cells
    low, high = bundle.manifest.signal.low, bundle.manifest.signal.high
    middle, inside = cells // 2, np.float32(1.0 if domain == "sigma" else 50.0)
    changes: dict[str, tuple[Any, Any]] = {
        "nan-in-the-middle": (middle, np.nan), "nan-at-the-end": (-1, np.nan), "infinity": (0, np.inf),
        "minus-infinity": (0, -np.inf), "zero": (slice(None), 0.0), "minus-zero": (0, -0.0),
        "all-at-one": (slice(None), inside), "smallest-number": (0, np.float32(1e-45)),
        "at-the-upper-bound": (0, np.float32(high)), "at-the-lower-bound": (0, np.float32(low)),
        "just-inside": (0, np.nextafter(np.float32(high), np.float32(0)) - np.float32(1e-6 * high)),
        "far-above": (0, np.float32(1e30)), "far-below": (0, np.float32(-1e30)),
    }  # fmt: skip
    values = np.concatenate([harmless.domain(domain), attacks.domain(domain)])
    ids = [f"harmless-{i}" for i in range(16)] + [f"attack-{i}" for i in range(4)]
    lengths = np.full(len(values), cells, dtype=np.int64)
    for row, (name, (where, value)) in enumerate(changes.items(), start=3):
        ids[row], values[row, where] = name, value
    # An alarm stands although the rest cannot be read; a running one; one cell; none at all.
    ids[17], values[17, -1] = "attack-then-nan", np.nan
    ids[18], lengths[18], values[18, middle + 2 :] = "attack-still-running", middle + 2, np.nan
    ids[19], lengths[19], values[19, 1:] = "attack-of-one-cell", 1, np.nan
    ids[2], lengths[2] = "nothing-yet", 0
    return Signals(tuple(ids), values, values, harmless.fingerprint, lengths)


def _streams(bundle: Bundle, anchors: Anchors) -> dict[str, Any]:
    if not bundle.manifest.sensitive:
        return {}
    runs, rng, rows = load_graphs(bundle, ("full", "step")), np.random.default_rng(2), 4
    cells = len(anchors.harmless)
    mix = np.array([0.1, 0.9, 0.3, 0.2], np.float32)[:, None, None, None]
    activations = (1 - mix) * anchors.harmless + mix * anchors.harmful
    activations += 0.1 * rng.normal(size=activations.shape).astype(np.float32)
    activations[2, 3, 0, 5], activations[3, 5] = np.nan, 0
    names = ["score", "valid", "sigma", "logit"]
    full = dict(zip(names, runs["full"](names, {"activations": activations}), strict=True))
    # Two calls that are told steps that do not exist, then all cells in order.
    steps = np.repeat(np.array([-1, cells, *range(cells)], dtype=np.int64)[:, None], rows, axis=1)
    state, outputs = np.full((rows, cells, anchors.harmless.shape[1]), np.nan, np.float32), []
    for step in steps:
        given = {"phi": activations[:, np.clip(step[0], 0, cells - 1)], "step": step, "state": state}
        outputs.append(
            dict(
                zip(
                    ["score", "valid", "sigma", "state_out"],
                    runs["step"](["score", "valid", "sigma", "state_out"], given),
                    strict=True,
                )
            )
        )
        state = outputs[-1]["state_out"]
    stepped = {name: _packed(np.stack([output[name] for output in outputs])) for name in outputs[0]}
    return {
        "full": {"activations": _packed(activations), **{name: _packed(array) for name, array in full.items()}},
        "step": {"steps": _packed(steps), **stepped},
    }  # fmt: skip


def damage_of(name: str, bundle: Bundle, seed: int) -> list[dict[str, Any]]:
    """Changed bytes of each file that every reader must refuse."""
    rng = np.random.default_rng(seed)
    return [
        {"bundle": name, "file": file, "offset": int(offset), "xor": int(rng.integers(1, 256))}
        for file, content in sorted({**bundle.files, MANIFEST: bundle.unlisted[MANIFEST]}.items())
        for offset in [0, len(content) - 1, *rng.integers(len(content), size=FLIPS - 2)]
    ]


def _packed(array: NDArray[Any]) -> dict[str, Any]:
    packed: dict[str, Any] = PackedArray.pack(array).model_dump(mode="json")
    return packed


def write_json(path: Path, value: Any) -> None:
    """One file of the vectors."""
    path.write_text(json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def keys() -> tuple[bytes, bytes]:
    """The PEM files of the private and the public key."""
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.from_private_bytes(KEY_SEED)
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    return private, public


if __name__ == "__main__":
    write_vectors(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
