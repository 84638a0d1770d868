"""Extension point `sri.sinks`: where verdicts go."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from sri_sdk.observation import Observation, Pulse, Running
from sri_sdk.plugin import Plugin
from sri_sdk.records import RecoveryAction, Verdict


class Sink(Plugin):
    """Takes verdicts out of the process. It may be slow or down; it must never block or break a generation."""

    batch: int = 100
    """Most observations in one `deliver`."""

    @classmethod
    def check(cls, config: Any, timeout_s: float) -> str | None:
        """Looks whether a sink with these options could deliver now, and neither opens nor sends nor changes anything.

        `sri monitor --check` calls it, also beside the monitor that runs: a port that this one listens on, or a file
        that it writes, is no fault. The default cannot tell.

        Args:
            config: options of the sink, checked.
            timeout_s: seconds that it may take; whoever asks waits no longer.

        Returns:
            What was found, in a few words without secrets; None = it cannot tell without being opened.

        Raises:
            Exception: it could not deliver now; an `SriError` says why, and what to do.
        """
        return None

    @abstractmethod
    def emit(self, verdict: Verdict) -> None:
        """Accepts one verdict; returns at once."""

    def emit_recovery(self, action: RecoveryAction) -> None:
        """Accepts one action that a recovery took on a flagged generation; returns at once. The default drops it."""

    def deliver(self, observations: Sequence[Observation]) -> None:
        """Takes observations of a monitor, and returns once they are safe where they belong.

        The monitor keeps them on disk until then, in order, and calls again after a failure, with the same ids: what
        arrives twice must count once. It calls from a thread of the sink's own, one call at a time, which may wait.
        The default hands the verdicts to `emit`.

        Args:
            observations: at most `batch` of them, of all kinds; a sink may leave out kinds that it has no use for.

        Raises:
            SinkRejected: some of them will never be taken; the others are safe. They are counted and given up.
            Exception: anything else = none of them may be safe, and all are tried again later.
        """
        for observation in observations:
            self.emit(observation.verdict)

    def show(self, running: Sequence[Running]) -> None:
        """Takes what a monitor is generating right now, about twice a second; returns at once. The default drops it.

        Args:
            running: all of it; what is not named has ended.
        """

    def pulse(self, pulse: Pulse) -> None:
        """Takes how a monitor is, every few seconds; returns at once. The default drops it."""

    def close(self) -> None:
        """Delivers what was accepted and lets go of everything; calling it twice is fine."""

    @classmethod
    def example(cls) -> Any:
        """A fresh sink for the conformance kit, or a `sri_sdk.testing.SinkCase` around one.

        The default is a sink with default options, of which nobody can tell what arrived. A case also says what has
        been delivered, and gives a sink whose endpoint is down.
        """
        return cls()
