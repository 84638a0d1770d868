"""Extension point `sri.sinks`: where verdicts go."""

from __future__ import annotations

from abc import abstractmethod

from sri_sdk.plugin import Plugin
from sri_sdk.records import Verdict


class Sink(Plugin):
    """Takes verdicts out of the process. It may be slow or down; it must never block or break a generation."""

    @abstractmethod
    def emit(self, verdict: Verdict) -> None:
        """Accepts one verdict; returns at once."""

    def close(self) -> None:
        """Delivers what was accepted and lets go of everything; calling it twice is fine."""
