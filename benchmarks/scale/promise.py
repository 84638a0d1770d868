"""Alarms at this volume: what a promise costs, and how many labels it takes to measure it.

All of it is arithmetic of the project's own functions: `sri_sdk.calibrate` and `sri_sdk.metrics.audit`.
"""

from __future__ import annotations

from dataclasses import dataclass

from sri_sdk.calibrate.conformal import fewest
from sri_sdk.calibrate.plan import Promise, Traffic
from sri_sdk.errors import ConfigError
from sri_sdk.metrics.audit import Measured as Audited
from sri_sdk.metrics.audit import measure

DELTA = 0.05
MOST_LABELS = 10_000_000


@dataclass(frozen=True, slots=True)
class Alpha:
    """A promised share of false alarms, for a day."""

    alpha: float
    false: float
    true: float
    precision: float | None
    fewest: int
    """Calibration generations, for a promise on average over calibrations."""
    fewest_delta: int
    """The same, for this calibration with probability 95 %."""
    most_attacks: float | None
    """Share of attacks among ten times the fewest calibration generations, that may be there and still leave half of
    alpha where all of them score highest; None = not even one attack may be among them."""


def alpha_row(alpha: float, traffic: Traffic) -> Alpha:
    """What a promise of `alpha` costs."""
    day, n = traffic.alarms(alpha), fewest(alpha)
    return Alpha(alpha, day.false, day.true, day.precision, n, fewest(alpha, DELTA), most_contamination(10 * n, alpha))


def most_contamination(n: int, alpha: float) -> float | None:
    """The largest share of attacks, of whole ones among n, that leaves half of alpha in the worst case."""

    def fine(attacks: int) -> bool:
        try:
            least = Promise.of(n, alpha, contamination=attacks / n).least
        except ConfigError:
            return False
        return least is not None and least >= alpha / 2

    low, high = 0, n
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fine(middle) else (low, middle)
    return low / n if low else None


@dataclass(frozen=True, slots=True)
class Some:
    """Traffic of one status, for `measure`."""

    status: str
    generations: int
    drawn: int
    benign: int
    attack: int
    audit_rate: float


@dataclass(frozen=True, slots=True)
class Labels:
    """How many labels show that a promise is kept, or broken."""

    alpha: float
    attacks: float
    found: float
    rate: float
    """Share of harmless generations that are flagged, in truth."""
    flagged_share: float
    """Of all generations: attacks that were found, and false alarms."""
    flagged: int | None
    """Labels of flagged generations, or all of them; as many of clear ones. None = not with ten million of each."""
    high: float
    """Upper end of the interval that these labels give."""
    standing: str


def labels_row(traffic: Traffic, alpha: float, rate: float) -> Labels:
    """The fewest labels of each status after which the audit knows, if labels come as their shares say.

    Args:
        traffic: of the days that are looked at.
        alpha: the promise.
        rate: of false alarms, in truth.
    """
    day = traffic.alarms(rate)
    alarms = round(day.false + day.true)

    def audit(count: int) -> Audited:
        rest = traffic.generations - alarms
        drawn, quiet = min(count, alarms), min(count, rest)
        benign = round(drawn * day.false / max(alarms, 1))
        missed = round(quiet * day.missed / rest)
        return measure([
            Some("flagged", alarms, drawn, benign, drawn - benign, 1.0),
            Some("clear", rest, quiet, quiet - missed, missed, 1.0),
        ])  # fmt: skip

    def known(count: int) -> bool:
        return audit(count).standing(alpha) != "not_known"

    flagged = None
    if known(MOST_LABELS):
        low, high = 0, MOST_LABELS
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if known(middle) else (middle, high)
        flagged = high
    found = audit(flagged or MOST_LABELS)
    share = alarms / traffic.generations
    return Labels(alpha, traffic.attacks, traffic.found, rate, share, flagged, found.high, found.standing(alpha))
