"""Labelled traffic as files of signals, for detectors that learn from labels (`folds.train.observed`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sri_sdk.bundle.bundle import Bundle
from sri_sdk.bundle.manifest import Manifest
from sri_sdk.errors import ConfigError
from sri_sdk.observation import Observation
from sri_sdk.records import Signals
from sri_sdk.scoring.signal_files import write_signals
from sri_sdk.serve.store.observed import LabelWord, StreamQuery

if TYPE_CHECKING:
    from sri_sdk.serve.store.store import VerdictStore

FILES: dict[LabelWord, str] = {"attack": "attacks.npz", "benign": "harmless.npz"}


@dataclass(frozen=True, slots=True)
class Exported:
    """What came of an export."""

    counts: dict[LabelWord, int]
    """Label -> how many generations were written."""
    not_judged: int
    """Labelled ones that were left out, since they are neither clear nor flagged: what was not seen whole has a signal
    as well, and it says nothing."""


def export_labelled(store: VerdictStore, bundle: Bundle, folder: Path) -> Exported:
    """Writes the signals of labelled traffic that one guard watched and judged; no texts.

    Args:
        store: with labels and trajectories.
        bundle: of that guard: its anchors made the signals.
        folder: gets `attacks.npz` and `harmless.npz`; only files with something in them are written.

    Raises:
        ConfigError: none is labelled, or none of these was judged and has a trajectory.
    """
    counts: dict[LabelWord, int] = {}
    not_judged = 0
    for label, name in FILES.items():
        labelled = list(_labelled(store, bundle.digest, label))
        found = [each for each in labelled if each.verdict.status in ("clear", "flagged")]
        not_judged += len(labelled) - len(found)
        counts[label] = len(found)
        if found:
            folder.mkdir(parents=True, exist_ok=True)
            write_signals(folder / name, _signals(found, bundle))
    if not any(counts.values()):
        raise ConfigError(
            f"no labelled traffic of guard {bundle.digest[:12]} has a trajectory"
            + (f" and was judged ({not_judged} were not)" if not_judged else "")
            + ". Label some (`sri label --next`), and leave `trajectories` on in the file of the monitor."
        )
    return Exported(counts, not_judged)


def _labelled(store: VerdictStore, digest: str, label: LabelWord) -> Iterator[Observation]:
    before = None
    while True:
        page = store.stream(
            StreamQuery(before=before, limit=500, kind="traffic", bundle=digest, label=label, trajectories=True)
        )
        for row in page.rows:
            if row.observation.trajectory is not None:
                yield row.observation
        if page.next is None:
            return
        before = page.next


def _signals(found: list[Observation], bundle: Bundle) -> Signals:
    logit = np.stack([each.trajectory.logit for each in found if each.trajectory is not None])
    manifest = bundle.manifest
    # Observations have ids of their own: one request may have been generated twice.
    return Signals(
        ids=tuple(each.id for each in found),
        sigma=(0.5 * (1 + np.tanh(logit.astype(np.float64) / 2))).astype(np.float32),
        logit=logit,
        fingerprint=_fingerprint(bundle),
        columns=None if isinstance(manifest, Manifest) else manifest.column_names,
    )


def _fingerprint(bundle: Bundle) -> dict[str, Any]:
    """What the guard's own watch writes into the signals that it makes."""
    manifest = bundle.manifest
    made: dict[str, Any] = {"anchors": manifest.anchors.sha256, "tau": manifest.tau, "eps": manifest.eps}
    if not isinstance(manifest, Manifest) and manifest.anchors.request is not None:
        made["request_map"] = manifest.anchors.request.sha256
    return {**manifest.fingerprint, **made}
