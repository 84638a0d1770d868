"""The parts of a guard as a config asks for them, and what they learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sri_sdk import registry
from sri_sdk.config.columns import reads, reason_of
from sri_sdk.config.fit import FitConfig
from sri_sdk.detector import Detector
from sri_sdk.fitting.labelled import LabelledAttacks
from sri_sdk.records import Signals


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One part of a guard, before it is calibrated."""

    name: str
    detector: Detector
    detector_name: str
    """Name of its entry point, as users type it."""
    columns: tuple[str, ...]
    """What it reads, in the order of the guard's columns."""
    reason: str
    """Code of its alarms."""
    share: float
    """Of alpha, in (0, 1]; those of all parts sum to at most 1."""

    def of(self, signals: Signals, names: Sequence[str]) -> NDArray[np.float32]:
        """What its detector is given of signals whose columns have these names: [N, T, K] float32, K of them, in its
        domain."""
        values = signals.domain(self.detector.domain)
        if self.columns == tuple(names):
            return values
        return np.ascontiguousarray(values[:, :, [list(names).index(name) for name in self.columns]])


def parts_of(config: FitConfig) -> tuple[Part, ...]:
    """The parts of a checked config, none of them fitted.

    Raises:
        ConfigError: a plugin refuses its options, or columns.
    """
    sections, shares = config.named_parts(), config.shares()
    detectors: dict[str, Detector] = {
        name: registry.build("detectors", section.detector, section.options) for name, section in sections.items()
    }
    columns = reads(config, detectors)
    return tuple(
        Part(
            name, detectors[name].bind(columns[name]), section.detector, columns[name],
            reason_of(section.reason, columns[name]), shares[name],
        )
        for name, section in sections.items()
    )  # fmt: skip


def fit_parts(
    parts: Sequence[Part], train: Signals, names: Sequence[str], attacks: LabelledAttacks | None = None
) -> None:
    """Fits every detector on its columns of harmless signals, and those that take labels on attacks as well.

    Raises:
        ScoringError: a detector refuses them.
    """
    for part in parts:
        harmless = part.of(train, names)
        if attacks is None or part.detector.labels == "ignored":
            part.detector.fit(harmless)
            continue
        taught = part.of(attacks.signals, names)[attacks.counted]
        labels = np.repeat(np.array([0, 1], dtype=np.int64), [len(harmless), len(taught)])
        part.detector.fit(np.concatenate([harmless, taught]), labels)
