"""What a fit leaves on disk: three artefacts that belong together. Each is written whole, and the bundle last.

<out>/anchors.npz     private: makes signals from hidden states
<out>/detector.npz    private: what the detectors learnt, for `--recalibrate`
<out>/bundle/         what a scoring process receives
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sri_sdk.anchors import Anchors
from sri_sdk.bundle.guard_parts import GuardParts
from sri_sdk.bundle.multi_part_guard import AnyGuard, GuardPart
from sri_sdk.detector import Detector
from sri_sdk.errors import BundleError, ModelMismatch
from sri_sdk.exporter import Exporter
from sri_sdk.files import claimed, save_arrays
from sri_sdk.fitting.build import export_guard
from sri_sdk.fitting.parts import Part
from sri_sdk.scoring.guard import ANCHORS, BUNDLE, Guard
from sri_sdk.strict_json import JsonError, json_from_array, json_to_array

DETECTOR = "detector.npz"
_HEAD, _PARTS = "head", "parts"


def write_guard(out: Path, parts: AnyGuard, exporter: Exporter) -> Guard:
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
            save_arrays(scratch / DETECTOR, _learnt(parts))
        except JsonError as err:
            raise BundleError(f"{out}: {err}. Change it in the config or in the plugin that it comes from.") from err
        export_guard(parts, exporter, scratch / BUNDLE)
        Guard.load(scratch)
        # Two fits of one folder may end at the same time: the guard is that of one of them, whole.
        with claimed(out / BUNDLE, wait=True):
            for name in (DETECTOR, ANCHORS):
                (scratch / name).replace(out / name)
            # Last: until now the old bundle names the old anchors, and a half-replaced guard refuses to load.
            if (out / BUNDLE).exists():
                (out / BUNDLE).rename(scratch / "previous")
            (scratch / BUNDLE).rename(out / BUNDLE)
            return Guard.load(out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def restore_parts(out: Path, parts: Sequence[Part], anchors: Anchors, *, several: bool) -> None:
    """Gives detectors what the last fit taught them.

    Args:
        out: folder of the guard.
        parts: of the config.
        anchors: that the guard is to have.
        several: whether it is a `MultiPartGuard`.

    Raises:
        ModelMismatch: the file is missing or damaged, or of other detectors, options, columns or anchors.
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
    # A guard of one detector may get groups, or lose them: format 1 and 2 then say the same of what it learnt.
    alone = not several or [part.columns for part in parts] == [tuple(each.name for each in anchors.columns)]
    if alone and _PARTS not in head:
        (part,) = parts
        _compare(path, "", head, _facts(part.detector, part.detector_name, anchors))
        part.detector.restore(state)
        return
    found = head.get(_PARTS)
    if not isinstance(found, dict) or found.keys() != {part.name for part in parts}:
        names = ", ".join(found) if isinstance(found, dict) else "none"
        raise ModelMismatch(
            f"{path}: its parts are {names}, the config has {', '.join(part.name for part in parts)}. This sets new "
            "thresholds only: fit without --recalibrate."
        )
    for part in parts:
        _compare(path, f"part {part.name!r}: ", found[part.name], _part_facts(part, anchors))
    for part in parts:
        mine = f"{part.name}/"
        part.detector.restore({
            name.removeprefix(mine): array for name, array in state.items() if name.startswith(mine)
        })  # fmt: skip


def _compare(path: Path, where: str, head: Any, facts: Mapping[str, Any]) -> None:
    for fact, now in facts.items():
        if not isinstance(head, dict) or head.get(fact) != now:
            was = head.get(fact) if isinstance(head, dict) else head
            raise ModelMismatch(
                f"{path}: {where}{fact} was {was!r}, the config has {now!r}. This sets new thresholds only: "
                "fit without --recalibrate."
            )


def _learnt(parts: AnyGuard) -> dict[str, Any]:
    """What the detectors of a guard know, and of which guard that is."""
    if isinstance(parts, GuardParts):
        return {
            **parts.detector.state(),
            _HEAD: json_to_array(_facts(parts.detector, parts.detector_name, parts.anchors)),
        }
    state = {
        f"{part.name}/{name}": array for part in parts.parts for name, array in part.detector.state().items()
    }  # fmt: skip
    return {**state, _HEAD: json_to_array({_PARTS: {p.name: _part_facts(p, parts.anchors) for p in parts.parts}})}


def _part_facts(part: Part | GuardPart, anchors: Anchors) -> dict[str, Any]:
    request = None if anchors.request is None else anchors.request.digest
    return {
        **_facts(part.detector, part.detector_name, anchors), "columns": list(part.columns), "request map": request,
    }  # fmt: skip


def _facts(detector: Detector, name: str, anchors: Anchors) -> dict[str, Any]:
    return {"detector": name, "options": detector.config.model_dump(mode="json"), "anchors": anchors.digest}
