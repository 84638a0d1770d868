"""What a tap sees of passes that nobody tells it of while they run."""

from __future__ import annotations

from abc import ABC, abstractmethod

from sri_sdk.capture.run import Run


class Tape(ABC):
    """Keeps passes until the run that watches them asks."""

    @abstractmethod
    def begin(self, run: Run) -> None:
        """From now on the passes are those of `run`.

        Raises:
            ConfigError: somebody else reads the tape, or it has not what the run needs.
        """

    @abstractmethod
    def tell(self, run: Run) -> None:
        """Goes through the passes since `begin` or the last time. Waits for the device, once."""

    @abstractmethod
    def listens(self) -> bool:
        """Whether a run reads it, so that every pass counts as that run's."""

    @abstractmethod
    def end(self, run: Run) -> None:
        """Tells what is left, and lets go of `run`."""
