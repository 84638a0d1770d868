"""Bundles of format 2 as folders, signals for them, and what Python says of these."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sri_sdk.bundle.bundle import Bundle
from sri_sdk.records import Signals
from sri_sdk.scoring.scorer import Scorer
from tests.runtimes.programs import RUNTIMES
from tests.scoring import parted

BOTH = ("sri@0", "sri@final", "request")
PARTS = {"harm": ("request",), "novelty": ("sri@0", "sri@final")}
BUNDLES: dict[str, dict[str, Any]] = {
    "grouped": {"parts": PARTS, "columns": BOTH, "groups": ("de", "en")},
    "plain": {"parts": PARTS, "columns": BOTH},
    "request-only": {"parts": {"harm": ("request",)}, "columns": ("request",), "horizon": 16},
}
"""What `parted.bundle` makes, by name."""


def write(folder: Path) -> None:
    """<name>/bundle, <name>/signals.jsonl and <name>/verdicts.json (rule -> verdicts) for each of `BUNDLES`."""
    first = Bundle.read(RUNTIMES / "vectors/autoencoder/bundle")
    for name, made in BUNDLES.items():
        found = parted.bundle(first, made["parts"], **{key: value for key, value in made.items() if key != "parts"})
        (folder / name / "bundle").mkdir(parents=True)
        for member, content in found.members.items():
            (folder / name / "bundle" / member).write_bytes(content)
        scorer = Scorer.open(folder / name / "bundle")
        signals = _signals(made["columns"], made.get("groups", ()), scorer.manifest.fingerprint)
        (folder / name / "signals.jsonl").write_text(_lines(signals), encoding="utf-8")
        said = {rule: [v.to_dict() for v in scorer.score(signals, rule=rule)] for rule in scorer.rules}
        (folder / name / "verdicts.json").write_text(json.dumps(said), encoding="utf-8")


def _signals(columns: tuple[str, ...], groups: tuple[str, ...], fingerprint: Any) -> Signals:
    """One generation for each thing that a verdict may say, and many harmless ones."""
    special = (
        "harmful-request unfamiliar-inside both request-missing missing-but-flagged cut-off no-cell-yet not-finite "
        "out-of-range refused-inside unknown-group"
    )
    ids = *special.split(), *(f"harmless-{i}" for i in range(9))
    made = parted.signals(7, len(ids), columns=columns)
    sigma, lengths = made.sigma.copy(), np.full(len(ids), parted.CELLS)
    row = {name: i for i, name in enumerate(ids)}
    for name in ("harmful-request", "both", "unknown-group"):
        sigma[row[name], :, -1] = 0.1
    for name in ("request-missing", "missing-but-flagged"):
        sigma[row[name], :, -1] = np.nan
    if len(columns) > 1:
        for name in ("unfamiliar-inside", "both", "missing-but-flagged"):
            sigma[row[name], 3:6, 0] = 0.02
        sigma[row["not-finite"], 4, 0] = np.nan
        sigma[row["out-of-range"], 5, 1] = 1.5
        sigma[row["refused-inside"], -1, 1] = 0.3
    lengths[[row["cut-off"], row["no-cell-yet"]]] = 5, 0
    with np.errstate(invalid="ignore"):
        logit = np.log(sigma / (1 - sigma))
    named = (
        tuple(None if name == "unknown-group" else groups[i % len(groups)] for i, name in enumerate(ids))
        if groups
        else None
    )
    return replace(made, ids=ids, sigma=sigma, logit=logit, lengths=lengths, groups=named, fingerprint=fingerprint)


def _lines(signals: Signals) -> str:
    """As somebody's own program would write them."""
    assert signals.lengths is not None and signals.columns is not None
    head = {"sri_signals": 1, "fingerprint": signals.fingerprint, "columns": list(signals.columns)}
    lines: list[dict[str, Any]] = [head]
    for i, name in enumerate(signals.ids):
        group = {} if signals.groups is None else {"group": signals.groups[i]}
        row = {"id": name, "sigma": signals.sigma[i].astype(float).tolist(), "length": int(signals.lengths[i])}
        lines.append({**row, **group})
    return "\n".join(map(json.dumps, lines))
