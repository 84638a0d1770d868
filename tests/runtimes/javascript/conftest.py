"""Packages of npm, and Python's verdicts on signals in files, to compare them with."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sri_sdk.bundle.bundle import Bundle
from sri_sdk.records import Signals, Verdict
from sri_sdk.scoring.scorer import Scorer
from sri_sdk.scoring.signal_files import write_signals
from sri_sdk.signal import sigmoid
from tests.runtimes import demanding as demands
from tests.runtimes import packages as npm
from tests.runtimes import parted_files
from tests.runtimes.programs import RUNTIMES, Absent


@pytest.fixture(scope="session")
def packages() -> Callable[[str], Path]:
    """packages("node"): that folder, with what it needs from npm installed; skips where that cannot be had."""

    def ready(name: str) -> Path:
        try:
            return npm.ready(name)
        except Absent as err:
            pytest.skip(str(err))

    return ready


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


@pytest.fixture(scope="session")
def parted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundles of format 2, each in a folder with signals and Python's verdicts."""
    folder = tmp_path_factory.mktemp("parted")
    parted_files.write(folder)
    return folder


@pytest.fixture(scope="session")
def demanding(tmp_path_factory: pytest.TempPathFactory, fitted: Bundle) -> Iterator[Path]:
    """Bundles that ask for much, each in a folder with why Python refuses it; 300 MB, so they do not stay."""
    folder = tmp_path_factory.mktemp("demanding")
    demands.write(folder, Bundle.read(fitted.path))
    yield folder
    shutil.rmtree(folder)


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
