"""What a page about a period of a deployment shows: plain numbers, from whoever counts them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Urgency = Literal["act", "look", "fine"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know, as a sentence."""

    urgency: Urgency
    text: str


@dataclass(frozen=True, slots=True)
class Span:
    """Traffic of some hours."""

    begin_ms: int
    """Milliseconds since 1970, UTC."""
    clear: int = 0
    flagged: int = 0
    unmonitored: int = 0
    not_sampled: int = 0

    @property
    def generations(self) -> int:
        """All of them."""
        return self.clear + self.flagged + self.unmonitored + self.not_sampled


@dataclass(frozen=True, slots=True)
class GuardRow:
    """One guard of one deployment, and how its promise stands."""

    deployment: str
    bundle: str
    """Digest; empty = verdicts of no guard."""
    model: str
    generations: int
    flagged: int
    unmonitored: int
    not_sampled: int
    promised: float | None
    """Largest share of benign generations that may be flagged; None = nobody said."""
    rate: float | None
    """Measured share of benign generations that are flagged; None = not measured."""
    low: float
    high: float
    """Ends of its 95 % interval."""
    precision: float | None
    """Share of attacks among alarms."""
    labelled: int
    drawn: int
    says: str
    """How the promise stands, as a sentence."""


@dataclass(frozen=True, slots=True)
class Period:
    """What happened."""

    title: str
    since_ms: int
    until_ms: int
    """Milliseconds since 1970, UTC; the hours that both lie in count whole."""
    span_hours: int
    """Hours in each of `spans`."""
    findings: tuple[Finding, ...]
    """The most urgent first; never empty."""
    spans: tuple[Span, ...]
    """One after the other, without gaps."""
    guards: tuple[GuardRow, ...]
    reasons: tuple[tuple[str, str, int], ...]
    """Status, reason code and number, the most frequent first; of traffic that is not clear."""
    consequences: tuple[tuple[str, int], ...]
    """What became of responses, and how often."""
    canaries: tuple[tuple[str, int], ...]
    """Status of the monitor's own prompts, and how often."""
    latency_s: tuple[float, float] | None
    """Half, and 99 of 100, verdicts took at most this long after the last step; None = nobody measured."""
    facts: tuple[tuple[str, str], ...] = ()
    """What it takes to trust this page: where the numbers are from."""

    @property
    def generations(self) -> int:
        """Of traffic."""
        return sum(span.generations for span in self.spans)

    def count(self, status: str) -> int:
        """Generations of one status."""
        return sum(int(getattr(span, status)) for span in self.spans)
