"""Which passes of a canvas model are steps of what was answered: from what the engine's sampler says of each.

A pass over a canvas denoises it, or writes a finished one behind the text. Only the sampler knows which, and keeps it
on the device; it comes to the host beside the vectors of the pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sri_sdk.capture.settings import WatchSettings


@dataclass(frozen=True, slots=True)
class Place:
    """What one pass of a request is."""

    step: int | None
    """Number of the step, from 0; None = the pass is none."""
    gap: bool = False
    """Whether passes before it were never told: nothing from here on can be trusted."""


@dataclass(slots=True)
class CanvasBook:
    """The passes of one request, in order.

    Attributes:
        seen: steps so far, those of the canvas in work among them.
        closed: steps of canvases that are part of the answer.
        tokens: that those canvases gave.
    """

    seen: int = 0
    closed: int = 0
    tokens: int = 0
    _last: int = 0

    def take(self, mark: Sequence[int]) -> Place:
        """One pass.

        Args:
            mark: whether it denoises (0 or 1), the sampler's own count of steps on this canvas before it, and the
                tokens that it gave out.
        """
        denoises, step, tokens = mark
        found = Place(None, gap=not denoises and self.seen == self.closed)
        if denoises:
            if step == 0:
                # Preempted: the engine has thrown away the canvas in work, and begins another in its place.
                self.seen = self.closed
            found = Place(self.seen, gap=step != self.seen - self.closed)
            self.seen += 1
        if tokens:
            self.closed, self._last = self.seen, tokens
            self.tokens += tokens
        return found

    def fills(self, settings: WatchSettings) -> bool:
        """Whether the answer has all canvases of the guard's profile: it has then ended, whatever its last token is."""
        profile = None if settings.fingerprint is None else settings.fingerprint.hard.get("sampler")
        return profile is not None and self.tokens == profile.get("canvas")

    def accounts_for(self, tokens: int | None) -> bool:
        """Whether the canvases seen are those of an answer of so many tokens: its end may cut the last of them.

        None = nobody knows how many, so that nobody can say.
        """
        if tokens is None:
            return False
        return self.tokens - self._last < tokens <= self.tokens or tokens == self.tokens
