"""Whether a detector that needs labelled attacks is given some, and whether any detector takes those that are given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from sri_sdk import registry
from sri_sdk.config.folds import FEWEST_ATTACKS, TrainFold
from sri_sdk.errors import SriError

WHERE = "folds.train.attacks"


def check_labels(train: TrainFold, detectors: Mapping[str, tuple[str, Any]]) -> Iterator[str]:
    """Checks the attacks that a guard is to learn from.

    Args:
        train: its train fold.
        detectors: path of the section that names a detector -> its name, and its class or None.
    """
    count, known = sum(train.attacks.values()), {path: each for path, each in detectors.items() if each[1] is not None}
    for path, (name, detector) in known.items():
        if detector.labels == "required" and not count:
            yield (
                f"{path}: {name!r} learns from labelled attacks, and {WHERE} names none. Add some, such as "
                f"attacks: {{NAME: {4 * FEWEST_ATTACKS}}}, or take a detector that learns from harmless signals alone"
            )
    if count and len(known) == len(detectors) and all(each.labels == "ignored" for _, each in known.values()):
        yield (
            f"{WHERE}: nothing learns from them: {', '.join(sorted({name for name, _ in known.values()}))} "
            f"{'ignores' if len(known) == 1 else 'ignore'} labels. Leave them out, or take a detector that learns from "
            f"labelled attacks: {', '.join(takers()) or 'none is installed'}"
        )
    if 0 < count < FEWEST_ATTACKS:
        yield f"{WHERE}: found {count} in all, at least {FEWEST_ATTACKS} are needed; with fewer, nothing is learnt"


def takers() -> list[str]:
    """Installed detectors that learn from labelled attacks."""
    found = []
    for info in registry.installed("detectors"):
        with suppress(SriError):
            if registry.load("detectors", info.name).labels != "ignored":
                found.append(info.name)
    return found
