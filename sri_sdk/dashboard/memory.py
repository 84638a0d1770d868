"""Since when something has been wrong, where the store knows only that it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sri_sdk.dashboard.findings import Finding


@dataclass(frozen=True, slots=True)
class Since:
    """When a trouble began."""

    at_ms: int
    exact: bool
    """False = it was there already when this dashboard first looked: it began then or earlier."""


class Memory:
    """Remembers when each finding was first seen, for as long as the process runs."""

    def __init__(self) -> None:
        self._since: dict[str, Since] = {}
        self.looked = False
        """Whether anybody has looked yet."""
        self.act = self.look = 0
        """How much is wrong, at the last look."""
        self.lives = False
        """Whether anybody watched, at the last look: without, nothing is wrong, and nothing is well either."""

    def note(self, found: Sequence[Finding], now_ms: int, *, lives: bool = True) -> dict[str, Since]:
        """Takes what is wrong now, and whether anybody watches; forgets what is not wrong any more.

        Returns:
            Key of each finding -> since when.
        """
        noted = {}
        for each in found:
            if each.since_ms is not None:
                noted[each.key] = Since(each.since_ms, True)
            else:
                noted[each.key] = self._since.get(each.key) or Since(now_ms, self.looked)
        self._since, self.looked = noted, True
        self.act = sum(each.level == "act" for each in found)
        self.look = len(noted) - self.act
        self.lives = lives
        return noted
