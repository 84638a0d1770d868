"""What a fit leaves on disk: three artefacts that belong together. Each is written whole, and the bundle last.

<out>/anchors.npz     private: makes signals from hidden states
<out>/detector.npz    private: what the detector learnt, for `--recalibrate`
<out>/bundle/         what a scoring process receives
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from sri_sdk.anchors import Anchors
from sri_sdk.bundle.bundle import GuardParts
from sri_sdk.detector import Detector
from sri_sdk.errors import BundleError, ModelMismatch
from sri_sdk.exporter import Exporter
from sri_sdk.files import save_arrays
from sri_sdk.fitting.build import export_guard
from sri_sdk.scoring.guard import ANCHORS, BUNDLE, Guard
from sri_sdk.strict_json import JsonError, json_from_array, json_to_array

DETECTOR = "detector.npz"
_HEAD = "head"


def write_guard(out: Path, parts: GuardParts, exporter: Exporter) -> Guard:
    """Writes a guard beside the old one, tries it, and only then replaces the old one.

    Args:
        out: folder of the guard; its bundle is exported here, and nowhere else.
        parts: the calibrated guard, with its rates.
        exporter: writes the bundle.

    Raises:
        BundleError: what was written does not compute what was calibrated, or its JSON would not be read back; the old
            guard stays.
    """
    out.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".guard-", dir=out))
    try:
        try:
            parts.anchors.save(scratch / ANCHORS)
            save_arrays(scratch / DETECTOR, {**parts.detector.state(), _HEAD: json_to_array(_head(parts))})
        except JsonError as err:
            raise BundleError(f"{out}: {err}. Change it in the config or in the plugin that it comes from.") from err
        export_guard(parts, exporter, scratch / BUNDLE)
        Guard.load(scratch)
        for name in (DETECTOR, ANCHORS):
            (scratch / name).replace(out / name)
        # Last: until now the old bundle names the old anchors, and a half-replaced guard refuses to load.
        if (out / BUNDLE).exists():
            (out / BUNDLE).rename(scratch / "previous")
        (scratch / BUNDLE).rename(out / BUNDLE)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Guard.load(out)


def restore_detector(out: Path, detector: Detector, name: str, anchors: Anchors) -> None:
    """Gives a detector what the last fit taught it.

    Raises:
        ModelMismatch: the file is missing or damaged, or of another detector, other options or other anchors.
    """
    path = out / DETECTOR
    try:
        with np.load(path, allow_pickle=False) as arrays:
            state = dict(arrays)
        head = json_from_array(state.pop(_HEAD))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as err:
        raise ModelMismatch(f"{path}: cannot be read ({err}). Fit without --recalibrate first.") from err
    if not isinstance(head, dict):
        raise ModelMismatch(f"{path}: its head is a {type(head).__name__}. Fit without --recalibrate first.")
    for fact, now in _facts(detector, name, anchors).items():
        if head.get(fact) != now:
            raise ModelMismatch(
                f"{path}: {fact} was {head.get(fact)!r}, the config has {now!r}. This sets new thresholds only: "
                "fit without --recalibrate."
            )
    detector.restore(state)


def _head(parts: GuardParts) -> dict[str, Any]:
    return _facts(parts.detector, parts.detector_name, parts.anchors)


def _facts(detector: Detector, name: str, anchors: Anchors) -> dict[str, Any]:
    return {"detector": name, "options": detector.config.model_dump(mode="json"), "anchors": anchors.digest}
