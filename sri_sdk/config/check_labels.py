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
    observed = None if train.observed is None else train.observed.attacks
    for name in ("attacks", "harmless"):
        file = None if train.observed is None else getattr(train.observed, name)
        if file is not None and not file.is_file():
            yield f"folds.train.observed.{name}: {file} is not a file; write it with: sri label STORE --export FOLDER"
    count, known = sum(train.attacks.values()), {path: each for path, each in detectors.items() if each[1] is not None}
    for path, (name, detector) in known.items():
        if detector.labels == "required" and not count and observed is None:
            yield (
                f"{path}: {name!r} learns from labelled attacks, and {WHERE} names none. Add some, such as "
                f"attacks: {{NAME: {4 * FEWEST_ATTACKS}}}, or traffic that people labelled (observed), or take a "
                "detector that learns from harmless signals alone"
            )
    where = WHERE if count else "folds.train.observed"
    if (
        (count or train.observed)
        and len(known) == len(detectors)
        and all(each.labels == "ignored" for _, each in known.values())
    ):
        yield (
            f"{where}: nothing learns from them: {', '.join(sorted({name for name, _ in known.values()}))} "
            f"{'ignores' if len(known) == 1 else 'ignore'} labels. Leave them out, or take a detector that learns from "
            f"labelled attacks: {', '.join(takers()) or 'none is installed'}"
        )
    # How many attacks a file holds is seen when it is read, before anything is generated.
    if 0 < count < FEWEST_ATTACKS and observed is None:
        yield f"{WHERE}: found {count} in all, at least {FEWEST_ATTACKS} are needed; with fewer, nothing is learnt"


def takers() -> list[str]:
    """Installed detectors that learn from labelled attacks."""
    found = []
    for info in registry.installed("detectors"):
        with suppress(SriError):
            if registry.load("detectors", info.name).labels != "ignored":
                found.append(info.name)
    return found
