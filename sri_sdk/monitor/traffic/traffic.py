"""A source of requests, and what it is told of each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from sri_sdk.observation import Observation
from sri_sdk.policy import Decision
from sri_sdk.records import Prompt


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of one request."""

    decision: Decision
    response: str | None
    """What may be passed on; None = it is withheld, or there is none."""
    observation: Observation
    recorded: Future[None]
    """Done once the observation is on disk."""
    failed: str | None = None
    """Class of the exception that ended its generation; None = it was generated."""


def _nobody(answered: Answered) -> None:
    """Nobody waits for this answer."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request."""

    prompt: Prompt
    """With the request's own id."""
    tenant: str = ""
    answer: Callable[[Answered], None] = field(default=_nobody)
    """Called once, in the thread that generates; returns at once."""


class Traffic(ABC):
    """Gives requests, as they come."""

    def claim(self) -> None:
        """Takes what nobody else may have, such as an address, before the model is loaded; nothing is given yet. The
        default has nothing to take.

        Raises:
            ConfigError: somebody else has it.
        """

    @abstractmethod
    def start(self) -> str:
        """Begins to take requests; says in a few words where they come from.

        Raises:
            ConfigError: they cannot come from there.
        """

    @abstractmethod
    def take(self, most: int, timeout: float) -> list[Asked] | None:
        """Requests that wait, at most `most`, no two of one id; empty after `timeout` seconds without any.

        Returns:
            None once no more will ever come.
        """

    def stop(self) -> None:
        """Takes no more requests; those that wait are still given. The default has nothing to do."""

    def close(self) -> None:
        """Lets go of everything; what still waits is refused."""
