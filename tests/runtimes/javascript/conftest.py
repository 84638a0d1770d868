"""Packages of npm, and Python's verdicts on signals in files, to compare them with."""

import fcntl
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sri_sdk.records import Signals, Verdict
from sri_sdk.scoring.scorer import Scorer
from sri_sdk.scoring.signal_files import write_signals
from sri_sdk.signal import sigmoid

RUNTIMES = Path(__file__).parents[3] / "exporters/onnx/runtimes"
NODE = (20, 12)
"""Oldest release that the packages support."""


@pytest.fixture(scope="session")
def packages() -> Callable[[str], Path]:
    """packages("node"): that folder, with what it needs from npm installed; skips where that cannot be had."""

    def ready(name: str) -> Path:
        folder = RUNTIMES / name
        node, npm = shutil.which("node"), shutil.which("npm")
        if node is None or npm is None:
            pytest.skip("no node or npm on PATH")
        version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
        if tuple(int(x) for x in re.findall(r"\d+", version)[:2]) < NODE:
            pytest.skip(f"node {version.strip()}, the package needs {'.'.join(map(str, NODE))}")
        # Two test workers must not install into one folder at once.
        with (folder / ".install-lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            wanted, stamp = (folder / "package-lock.json").read_bytes(), folder / "node_modules/.installed"
            if not stamp.exists() or stamp.read_bytes() != wanted:
                _install(npm, folder)
                stamp.write_bytes(wanted)
        return folder

    return ready


def _install(npm: str, folder: Path) -> None:
    # Without its install script onnxruntime-node is complete for CPUs; the script would download CUDA libraries.
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=800)
    if done.returncode:
        pytest.skip(f"npm cannot install {folder.name}'s packages: {done.stderr.strip().splitlines()[:1]}")


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """<bundle>.npz and <bundle>.jsonl with signals for bundles of the vectors, <bundle>.json with what Python says."""
    folder = tmp_path_factory.mktemp("signals")
    for name in ("autoencoder", "isolation-forest", "mahalanobis"):
        scorer = Scorer.open(RUNTIMES / "vectors" / name / "bundle")
        signals = _signals(scorer)
        write_signals(folder / f"{name}.npz", signals)
        (folder / f"{name}.jsonl").write_text(_lines(signals), encoding="utf-8")
        expected = {rule: [_room(scorer, v) for v in scorer.score(signals, rule=rule)] for rule in ("final", "online")}
        (folder / f"{name}.json").write_text(json.dumps(expected), encoding="utf-8")
    return folder


def _room(scorer: Scorer, verdict: Verdict) -> dict[str, Any]:
    """The verdict, with the ranges in which another runtime's score and p-value may lie."""
    ranges: dict[str, Any] = {}
    if verdict.score is not None:
        threshold = scorer.thresholds[verdict.rule]
        room = float(threshold.allowed(np.float32([verdict.score]))[0])
        ends = threshold.p_values(np.float32([verdict.score + room, verdict.score - room])).tolist()
        ranges = {"score": [verdict.score - room, verdict.score + room], "p_value": ends}
    return {"verdict": verdict.to_dict(), "ranges": ranges}


def _signals(scorer: Scorer, count: int = 60) -> Signals:
    """Harmless generations, some with the hole that a jailbreak digs, and a few that cannot be read."""
    manifest = scorer.manifest
    shape = count, manifest.signal.cells, manifest.signal.layers
    rng = np.random.default_rng(5)
    t = np.linspace(0, 1, shape[1])[:, None]
    level = 1.5 + 0.4 * rng.normal(size=(count, 1, 1)) + 0.4 * rng.normal(size=(count, 1, 1)) * np.sin(4 * t)
    hole = np.where(np.arange(count) % 3 == 2, 5.0, 0.0)[:, None, None] * np.exp(-(((t - 0.5) / 0.2) ** 2))
    logit = (level - hole + 0.2 * rng.normal(size=shape)).astype(np.float32)
    sigma = sigmoid(logit)
    lengths = np.full(count, shape[1], dtype=np.int64)
    for row, (cell, bad) in enumerate([(0, np.nan), (-1, np.inf), (1, -np.inf), (2, 3e4), (3, -3e4)]):
        logit[row, cell], sigma[row, cell] = bad, bad
    lengths[5:8] = 0, 1, shape[1] - 1
    ids = tuple(f"request {i} 漢字 \U0001f642" for i in range(count))
    return Signals(ids, sigma, logit, manifest.fingerprint, lengths)


def _lines(signals: Signals) -> str:
    """As somebody's own program would write them: Python's JSON, with its NaN and Infinity."""
    assert signals.lengths is not None
    lines = [json.dumps({"sri_signals": 1, "fingerprint": signals.fingerprint})]
    for row, name in enumerate(signals.ids):
        both = {form: signals.domain(form)[row].astype(float).tolist() for form in ("sigma", "logit")}
        lines.append(json.dumps({"id": name, **both, "length": int(signals.lengths[row])}))
    return "\n".join(lines)
