"""Extension point `sri.sinks`: where verdicts go."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from sri_sdk.plugin import Plugin
from sri_sdk.records import RecoveryAction, Verdict


class Sink(Plugin):
    """Takes verdicts out of the process. It may be slow or down; it must never block or break a generation."""

    @abstractmethod
    def emit(self, verdict: Verdict) -> None:
        """Accepts one verdict; returns at once."""

    def emit_recovery(self, action: RecoveryAction) -> None:
        """Accepts one action that a recovery took on a flagged generation; returns at once. The default drops it."""

    def close(self) -> None:
        """Delivers what was accepted and lets go of everything; calling it twice is fine."""

    @classmethod
    def example(cls) -> Any:
        """A fresh sink for the conformance kit, or a `sri_sdk.testing.SinkCase` around one.

        The default is a sink with default options, of which nobody can tell what arrived. A case also says what has
        been delivered, and gives a sink whose endpoint is down.
        """
        return cls()
