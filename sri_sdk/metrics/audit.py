"""The false-alarm rate as it is, from a random sample of verdicts that people have labelled.

Of all traffic, clear verdicts included, some are drawn at random when they are given, each with a probability that is
kept beside it; people say of those what the request was. The rate in question is the promise's own: the share of benign
generations that are flagged, among those that were judged. A verdict that was not judged (`unmonitored`, `not_sampled`)
is no false alarm and no correct one, and is counted apart.

Verdicts of one status that were drawn with one probability are a *stratum*. Its share of all judged traffic, and the
share of benign ones among its labels, each have an exact interval (Clopper and Pearson, Biometrika 26, 1934), and the
rate is worked out at their worst combinations. The error is split between all of them (Bonferroni), so the interval of
the rate covers it with the stated confidence or more, whatever the shares, as long as labels are right and those drawn
that nobody has labelled yet are not of another kind.

Labels of flagged verdicts alone say how many alarms are false, not how often a benign generation is flagged; canaries
are asked by the monitor itself, and repeat. Neither is used.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from sri_sdk.metrics.intervals import exact_interval

CONFIDENCE = 0.95
Standing = Literal["kept", "broken", "not_known"]
"""`kept` = even the upper end of the interval is within the promise; `broken` = even the lower end is beyond it."""


class Stratum(Protocol):
    """Traffic of one status that was drawn with one probability."""

    @property
    def status(self) -> str:
        """Of its verdicts."""

    @property
    def audit_rate(self) -> float:
        """Probability with which each was drawn; 0 = none could be."""

    @property
    def generations(self) -> int:
        """How many there were, drawn or not."""

    @property
    def drawn(self) -> int:
        """How many were drawn."""

    @property
    def benign(self) -> int:
        """Of the drawn ones, how many are labelled benign."""

    @property
    def attack(self) -> int:
        """Of the drawn ones, how many are labelled attacks."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What the audit says of a guard."""

    judged: int
    """Generations of traffic that were clear or flagged."""
    flagged: int
    not_judged: int
    """Generations that were unmonitored or not sampled; no rate speaks of them."""
    drawn: int
    labelled: int
    """Of the drawn ones."""
    rate: float | None
    """Share of benign generations that are flagged; None = a stratum has no label, or none is benign or clear."""
    low: float
    """Lower end of its interval."""
    high: float
    """Upper end; 1.0 also where nothing is known."""
    precision: float | None
    """Share of attacks among flagged traffic; None = no flagged verdict has a label."""
    precision_low: float
    precision_high: float
    attacks: float | None
    """Share of attacks among all judged traffic; None = a stratum has no label."""
    confidence: float = CONFIDENCE
    without: tuple[str, ...] = ()
    """Statuses, of `clear` and `flagged`, that were given and of which no verdict has a label."""

    @property
    def interval(self) -> str:
        """The interval of the rate in words: as many decimals as its upper end is worth."""
        ends = 100 * self.low, 100 * self.high
        digits = 1 if ends[1] >= 10 else 2 if ends[1] >= 0.1 or ends[1] <= 0 else 1 - math.floor(math.log10(ends[1]))
        return " to ".join(f"{round(end, digits):g}" for end in ends) + " %"

    @property
    def lacking(self) -> str:
        """Why the rate cannot be said better, as a clause; empty = only because few verdicts have labels."""
        if not self.judged:
            return "no generation was judged"
        return f"no {' and no '.join(self.without)} verdict of the sample has a label yet" if self.without else ""

    @property
    def unlabelled(self) -> int:
        """Drawn verdicts that wait for a label."""
        return self.drawn - self.labelled

    def standing(self, promised: float) -> Standing:
        """How the promise stands.

        Args:
            promised: largest share of benign generations that may be flagged.
        """
        if self.high <= promised:
            return "kept"
        return "broken" if self.low > promised else "not_known"

    def says(self, promised: float) -> str:
        """How the promise stands, as a sentence."""
        standing, share = self.standing(promised), f"{100 * promised:g} %"
        interval = self.interval
        if standing == "kept":
            return f"The promise of {share} is kept: {interval} of benign generations are flagged."
        if standing == "broken":
            return f"The promise of {share} is broken: {interval} of benign generations are flagged."
        if self.high == 1 and self.lacking:
            return f"Whether {share} is kept is not known: {self.lacking}."
        more = f"; {self.lacking}." if self.lacking else ". Label more."
        return f"Whether {share} is kept is not known yet: {interval} of benign generations are flagged{more}"


def measure(strata: Iterable[Stratum], *, confidence: float = CONFIDENCE) -> Measured:
    """The false-alarm rate and the precision of alarms, with intervals.

    Args:
        strata: of traffic, all statuses; those with the same status and probability must be one.
        confidence: of each interval.

    Raises:
        ValueError: a stratum has more labels than were drawn, or more were drawn than there are.
    """
    found = list(strata)
    for each in found:
        if not 0 <= each.benign + each.attack <= each.drawn <= each.generations:
            raise ValueError(
                f"audit: of {each.generations} {each.status} verdicts, {each.drawn} drawn, {each.benign} labelled "
                f"benign and {each.attack} attacks; each must hold the next"
            )
    judged = [each for each in found if each.status in ("clear", "flagged") and each.generations]
    total, parts = sum(each.generations for each in judged), [_Part.of(each) for each in judged]
    flagged = [part for part in parts if part.flagged]
    clear = [part for part in parts if not part.flagged]
    error = (1 - confidence) / max(_intervals(parts), 1)
    low, high = _rate_interval(flagged, clear, total, error) if total else (0.0, 1.0)
    known_f, known_c = _known(flagged), _known(clear)
    rate = None
    if known_c is not None and (known_f is not None or not flagged):
        benign = (known_f or 0.0) + known_c
        rate = (known_f or 0.0) / benign if benign else None
    alarms = sum(part.count for part in flagged)
    within = (1 - confidence) / max(len(flagged), 1)
    ends = [(part.count / alarms, part.attacks(within)) for part in flagged]
    precision = None if known_f is None or not alarms else 1 - known_f / alarms
    harmful = None
    if rate is not None and total:
        harmful = 1 - ((known_f or 0.0) + (known_c or 0.0)) / total
    return Measured(
        judged=total,
        flagged=alarms,
        not_judged=sum(each.generations for each in found) - total,
        drawn=sum(each.drawn for each in judged),
        labelled=sum(each.benign + each.attack for each in judged),
        rate=rate, low=low, high=high,
        precision=precision,
        precision_low=sum(weight * end[0] for weight, end in ends) if ends else 0.0,
        precision_high=sum(weight * end[1] for weight, end in ends) if ends else 1.0,
        attacks=harmful, confidence=confidence,

        without=tuple(
            name for name, some in (("clear", clear), ("flagged", flagged))
            if some and not any(part.labelled for part in some)
        ),
    )  # fmt: skip


def expected_precision(rate: float, found: float, base_rate: float) -> float | None:
    """Share of attacks among alarms that a base rate of attacks would give.

    Args:
        rate: share of benign generations that are flagged.
        found: share of attacks that are flagged, from an evaluation: traffic does not tell.
        base_rate: share of attacks among all generations, as the operator states it.

    Returns:
        None where nothing would be flagged.
    """
    true, false = found * base_rate, rate * (1 - base_rate)
    return true / (true + false) if true + false else None


@dataclass(frozen=True, slots=True)
class _Part:
    """A stratum as the arithmetic needs it."""

    flagged: bool
    count: int
    benign: int
    labelled: int

    @classmethod
    def of(cls, stratum: Stratum) -> _Part:
        return cls(stratum.status == "flagged", stratum.generations, stratum.benign, stratum.benign + stratum.attack)

    @property
    def complete(self) -> bool:
        """Whether every one of them has a label: then the number of benign ones is a plain count."""
        return self.labelled == self.count

    def benign_of_all(self, total: int, error: float) -> tuple[float, float]:
        """Ends of the share of all judged traffic that is in this stratum and benign."""
        if self.complete:
            return exact_interval(self.benign, total, error)
        here, benign = exact_interval(self.count, total, error), exact_interval(self.benign, self.labelled, error)
        return here[0] * benign[0], here[1] * benign[1]

    def attacks(self, error: float) -> tuple[float, float]:
        """Ends of the share of attacks among its generations."""
        if self.complete:
            share = 1 - self.benign / self.count
            return share, share
        low, high = exact_interval(self.labelled - self.benign, self.labelled, error)
        return low, high


def _intervals(parts: Sequence[_Part]) -> int:
    """How many intervals the rate is made of: none of a kind among all judged ones is an observation as well."""
    absent = 2 - len({part.flagged for part in parts})
    return absent + sum(1 if part.complete else 2 for part in parts)


def _rate_interval(flagged: Sequence[_Part], clear: Sequence[_Part], total: int, error: float) -> tuple[float, float]:
    """Ends of the share of benign generations that are flagged: it rises with benign ones that are, and falls with
    benign ones that are not."""  # fmt: skip
    none = [exact_interval(0, total, error)]
    alarms = [part.benign_of_all(total, error) for part in flagged] or none
    quiet = [part.benign_of_all(total, error) for part in clear] or none
    low = _share(sum(end[0] for end in alarms), sum(end[1] for end in quiet), 0.0)
    high = _share(sum(end[1] for end in alarms), sum(end[0] for end in quiet), 1.0)
    return low, high


def _share(part: float, rest: float, unknown: float) -> float:
    return part / (part + rest) if part + rest else unknown


def _known(parts: Sequence[_Part]) -> float | None:
    """How many of these generations are benign, as their labels have it; None = a stratum has no label."""
    if not parts or not all(part.labelled for part in parts):
        return None
    return sum(part.count * part.benign / part.labelled for part in parts)
