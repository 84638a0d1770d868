"""The books of a monitor: every generation that began ends as exactly one of four statuses."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sri_sdk.observation import Observation


@dataclass(frozen=True, slots=True)
class Balance:
    """Counts since the process began."""

    begun: int
    generated: int
    """Ended, whoever asked; the sum of the next four."""
    clear: int
    flagged: int
    unmonitored: int
    not_sampled: int
    canaries: int
    """Of these, the ones that the monitor asked for itself; the sum of the last three."""
    withheld: int
    would_withhold: int
    """What the mode observe released, and the policy would not have."""
    recovered: int
    canaries_clear: int = 0
    canaries_flagged: int = 0
    canaries_unmonitored: int = 0

    @property
    def even(self) -> bool:
        """Whether every generation that ended has a status."""
        return self.generated == self.clear + self.flagged + self.unmonitored + self.not_sampled

    @property
    def words(self) -> str:
        """For people: what came of what was asked, and apart from it of canaries."""
        said = (
            f"{self.generated - self.canaries} generated: {self.clear - self.canaries_clear} clear, "
            f"{self.flagged - self.canaries_flagged} flagged, {self.unmonitored - self.canaries_unmonitored} "
            f"unmonitored, {self.not_sampled} not sampled"
        )
        if not self.canaries:
            return said
        return (
            f"{said}; {self.canaries} canaries: {self.canaries_flagged} flagged, {self.canaries_clear} clear, "
            f"{self.canaries_unmonitored} unmonitored"
        )


class Accounts:
    """Counts generations where they begin and end, and verdicts where they are given. Any thread may call it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun = self._ended = 0
        self._statuses: Counter[str] = Counter()
        self._canaries: Counter[str] = Counter()
        self._consequences: Counter[str] = Counter()

    def begin(self, count: int) -> None:
        """Generations begin."""
        with self._lock:
            self._begun += count

    def end(self, count: int, observations: Sequence[Observation]) -> None:
        """Generations have ended, however they did.

        Args:
            count: how many.
            observations: what is said of them; those of shadows do not count.
        """
        with self._lock:
            self._ended += count
            for each in observations:
                if each.kind == "shadow":
                    continue
                self._statuses[each.verdict.status] += 1
                self._consequences[each.consequence] += 1
                self._canaries[each.verdict.status] += each.kind == "canary"

    def balance(self) -> Balance:
        """The counts so far."""
        with self._lock:
            found, what, asked = self._statuses, self._consequences, self._canaries
            return Balance(
                self._begun, self._ended, found["clear"], found["flagged"], found["unmonitored"], found["not_sampled"],
                asked.total(), what["withheld"], what["would_withhold"], what["recovered"], asked["clear"],
                asked["flagged"], asked["unmonitored"],
            )  # fmt: skip
