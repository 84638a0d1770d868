"""Why nothing that a run says can be trusted. What goes wrong in a watch never reaches the generation."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from sri_sdk.capture.conclude import HOOK_FAILED, TOKENS_MOVED
from sri_sdk.errors import TokensMoved

log = logging.getLogger("sri_sdk.capture")


class Faults:
    """Of one run.

    Attributes:
        reasons: codes, the first one first; empty = nothing is wrong with the run as a whole.
        failure: what went wrong first, in words; None = nothing that the reasons do not say.
    """

    def __init__(self, subject: str) -> None:
        """`subject` leads what the log says."""
        self._subject = subject
        self.reasons: list[str] = []
        self.failure: str | None = None

    def add(self, reason: str) -> None:
        """Notes why nothing this run says can be trusted."""
        if reason not in self.reasons:
            self.reasons.append(reason)

    def explain(self, causes: list[str]) -> None:
        """Adds what may lie behind the reasons, in words."""
        self.failure = "; ".join(([self.failure] if self.failure else []) + causes)
        log.warning("%s: %s", self._subject, "; ".join(causes))

    def isolate(self, err: BaseException, reason: str = HOOK_FAILED) -> None:
        """The run becomes unmonitored, and the log says why, once."""
        if isinstance(err, TokensMoved):
            reason = TOKENS_MOVED
        if reason not in self.reasons:
            self.failure = f"{type(err).__name__}: {err}"
            log.warning("%s: %s: the run is unmonitored: %s", self._subject, reason, self.failure)
        self.add(reason)

    @contextmanager
    def isolated(self, reason: str = HOOK_FAILED, *, but: tuple[type[Exception], ...] = ()) -> Iterator[None]:
        """What the block raises ends there, whatever it is: a plugin may even call `sys.exit`. `but` goes on."""
        try:
            yield
        except BaseException as err:
            if isinstance(err, (KeyboardInterrupt, *but)):
                raise
            self.isolate(err, reason)
