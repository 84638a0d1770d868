"""One model of an evaluation once everything was generated and scored on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sri_sdk.evaluation.generations import Generations
from sri_sdk.evaluation.guards import GuardScores
from sri_sdk.metrics.results import ModelResult


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One model with all that was generated and scored on it."""

    result: ModelResult
    found: Mapping[str, Generations]
    """Group -> generations."""
    guards: tuple[GuardScores, ...]
