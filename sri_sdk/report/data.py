"""All that a report shows. T cells of the step grid, N scores of one group, n calibration scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sri_sdk.metrics.auroc import Auroc
from sri_sdk.metrics.rates import Rate
from sri_sdk.records import Outcome, Verdict

Tone = Literal["harmless", "refusal", "attack", "other"]
"""What a line, band or group of scores is about. One tone has one colour in all figures."""
TONES: tuple[Tone, ...] = ("harmless", "refusal", "attack", "other")

Floats = NDArray[np.float32]


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
    """As a label beside the line, a few words: "Harmless request"."""
    prompt: str
    """Untrusted text."""
    response: str
    """Untrusted text."""
    outcome: Outcome
    """What the judge says of the response."""
    verdict: Verdict
    sigma: Floats
    """[T] in [0, 1]: 1 = internally compliant, 0 = refusal-aligned; NaN where nothing was seen."""
    online_score: Floats | None = None
    """[T] z: entry t is the score once cells 0 to t are known; None = not computed."""
    drafts: tuple[Draft, ...] = ()
    """In the order of the steps; empty = the hook gives none."""
    budget: int | None = None
    """Steps of a whole generation, where a step is not a cell; None = T."""
    tone: Tone | None = None
    """None = by its place among the trajectories: harmless, refusal, attack, other."""

    def cell(self, step: int) -> int:
        """The cell of the grid that a sampler step falls in, both counted from 0."""
        cells = len(self.sigma)
        return max(0, min(step * cells // (self.budget or max(cells, 1)), cells - 1))


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """Where the signals of one class lie: the background against which one generation is read."""

    name: str
    """As a person would say it: "answered harmless"."""
    mean: Floats
    """[T] mean sigma per cell."""
    low: Floats
    """[T] 10 % quantile per cell."""
    high: Floats
    """[T] 90 % quantile per cell."""
    n: int
    """Generations behind it."""
    tone: Tone | None = None
    """None = by its place among the bands."""


@dataclass(frozen=True, slots=True, eq=False)
class ScoreGroup:
    """Scores of the test generations of one class."""

    name: str
    scores: NDArray[np.floating]
    """[N] in the detector's unit, higher = more suspicious; values that are not finite were not monitored."""
    tone: Tone | None = None
    """None = by its place among the groups."""


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """Everything a report shows."""

    title: str
    subtitle: str
    """What was watched, in one line: model, sampler, guard."""
    trajectories: tuple[Trajectory, ...]
    bands: tuple[Band, ...]
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
    online_threshold: float | None = None
    """Where the online rule alarms, in the unit of `online_score`; None = not shown."""
    finding: str | None = None
    """The one sentence to remember; None = written from the trajectories and the AUROC."""


def tone_of(item: Trajectory | Band | ScoreGroup, place: int) -> Tone:
    """Its own tone, or the one of its place."""
    return item.tone or TONES[min(place, len(TONES) - 1)]
