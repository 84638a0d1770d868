"""Times that an operator asks for: `90m`, `24h`, `7d`; and how pages of counts lay them on hours and days."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sri_sdk.dashboard import words
from sri_sdk.serve.http import Refusal

MINUTE_MS = 60_000
LONGEST_MS = 400 * words.DAY_MS
"""Counts are kept for so long, unless the store is told otherwise."""
_UNITS = {"m": MINUTE_MS, "h": words.HOUR_MS, "d": words.DAY_MS}
_SPAN = re.compile(r"([1-9][0-9]{0,5})([mhd])")
_WORDS = {"m": "minute", "h": "hour", "d": "day"}


@dataclass(frozen=True, slots=True)
class Window:
    """A time that pages of counts show."""

    name: str
    """As it was asked for."""
    span_ms: int
    together: int
    """Hours in one bucket of most charts."""
    alarms: int
    """And in one of alarms."""

    @property
    def said(self) -> str:
        """`last 7 days`."""
        number, unit = self.name[:-1], _WORDS[self.name[-1]]
        return f"last {unit}" if number == "1" else f"last {number} {unit}s"

    def begin(self, now_ms: int) -> int:
        """Where the first bucket begins, at or before the time that was asked for: half of one would look like less
        traffic."""
        since = max(now_ms - self.span_ms, 0)
        return since - since % (self.alarms * words.HOUR_MS)


def window_of(name: str) -> Window:
    """The window of a time. Raises as `span_ms`."""
    span = span_ms("since", name)
    if span <= 2 * words.DAY_MS:
        return Window(name, span, 1, 1)
    return Window(name, span, 6 if span <= 10 * words.DAY_MS else 24, 24)


def span_ms(what: str, name: str) -> int:
    """Milliseconds of a time such as `90m`.

    Args:
        what: name of the parameter, for the message.
        name: what was asked for.

    Raises:
        Refusal: 400, not such a time, or a longer one than `LONGEST_MS`.
    """
    found = _SPAN.fullmatch(name)
    span = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < span <= LONGEST_MS:
        raise Refusal(
            400, f"{what}: {words.asked(name)} is not a time that can be shown; allowed: minutes, hours and days such "
            f"as 90m, 24h, 7d, up to {LONGEST_MS // words.DAY_MS}d.",
        )  # fmt: skip
    return span


WINDOWS = tuple(map(window_of, ("24h", "7d", "30d")))
"""Those that pages offer."""
