"""All that the report of a fit shows. T cells of the step grid, N scores of one group, n calibration scores.

Classes are the keys of `sri_sdk.metrics.results.CLASS_WORDS`; a class has one colour and one marker in all figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sri_sdk.metrics.auroc import Auroc
from sri_sdk.metrics.rates import Rate
from sri_sdk.metrics.results import ClassBand
from sri_sdk.records import Outcome, RecoveryName, Verdict


@dataclass(frozen=True, slots=True)
class Draft:
    """What the response would read as after one step."""

    step: int
    """Sampler step, counted from 0."""
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Trajectory:
    """One generation, with what the guard said of it."""

    title: str
    """A few words: "Harmless request"."""
    kind: str
    """Its class; any other word is drawn as `other`."""
    prompt: str
    """Untrusted text."""
    response: str
    """Untrusted text."""
    outcome: Outcome
    """What the judge says of the response."""
    verdict: Verdict
    sigma: NDArray[np.float32]
    """[T] in [0, 1]: 1 = internally compliant, 0 = refusal-aligned; NaN where nothing was seen."""
    drafts: tuple[Draft, ...] = ()
    """In the order of the steps; empty = the hook gives none."""
    budget: int | None = None
    """Steps of a whole generation, where a step is not a cell; None = T."""
    recovered: RecoveryName | None = None
    """What answers in place of a flagged response, as `Decision.recovered`; sigma and verdict are then of that. None =
    nothing was recovered."""

    def cell(self, step: int) -> int:
        """The cell of the grid that a sampler step falls in, both counted from 0."""
        cells = len(self.sigma)
        return max(0, min(step * cells // (self.budget or max(cells, 1)), cells - 1))


@dataclass(frozen=True, slots=True, eq=False)
class ScoreGroup:
    """Scores of the test generations of one class."""

    kind: str
    scores: NDArray[np.floating]
    """[N] in the detector's unit, higher = more suspicious; values that are not finite were not monitored."""


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """Everything a report shows."""

    title: str
    subtitle: str
    """What was watched, in one line: model, sampler, guard."""
    trajectories: tuple[Trajectory, ...]
    bands: tuple[ClassBand, ...]
    calibration: NDArray[np.floating]
    """[n] scores of the harmless generations that set the threshold, same rule as `threshold`."""
    threshold: float
    """Flagged when score > threshold."""
    score_groups: tuple[ScoreGroup, ...]
    rates: tuple[Rate, ...]
    auroc: Auroc | None
    """Successful attacks against harmless generations; None = one side is empty."""
    parity: float
    """Largest difference between the exported graph's scores and the detector's own, in the detector's unit."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Time per stage, in the order to show it."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What a reader needs to trust or repeat it: model, sampler, n of each fold, alpha, digests."""
    alpha: float | None = None
    """Bound on the false-alarm rate that `threshold` promises."""
