"""Times, shares and codes as an operator reads them at night: how long ago, at what time in UTC, what to do."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sri_sdk.observation import Consequence, Kind, Observation
from sri_sdk.records import Status
from sri_sdk.report import words
from sri_sdk.report.words import count as count
from sri_sdk.report.words import span as span

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
THIN = "\N{NO-BREAK SPACE}"
"""Between a number and its unit."""
DIGEST = "sha256:"
"""How some digests begin."""
MOST_REPEATED = 40
"""Characters of what was asked for that a refusal repeats."""

STATUS = words.STATUS
CONSEQUENCE: dict[Consequence, str] = {
    "released": "released",
    "withheld": "withheld",
    "would_withhold": "would be withheld",
    "recovered": "answered in another way",
}
CONSEQUENCE_LONG: dict[Consequence, str] = {
    "released": "The response was released.",
    "withheld": "The response was withheld: whoever asked has not seen it.",
    "would_withhold": "The response was released. In mode enforce the policy would have withheld it.",
    "recovered": "The response was withheld, and something else answered in its place.",
}
KIND: dict[Kind, str] = {"traffic": "traffic", "canary": "canary", "shadow": "shadow"}
KIND_LONG: dict[Kind, str] = {
    "traffic": "Somebody asked for it.",
    "canary": "A canary: the monitor asked itself, to see whether the guard still works.",
    "shadow": "A shadow: what a second guard says of the same generation. Nothing follows from it.",
}


class Prose(str):
    """Text of people or models, shown as a paragraph of its own: marks of direction in it are part of its script."""

    __slots__ = ()


def ago(at_ms: int, now_ms: int) -> str:
    """How long ago: `8 s ago`, `17 min ago`, `3 h ago`, `5 days ago`. A clock ahead of ours says so."""
    if at_ms - now_ms > 60_000:
        return f"in {span(at_ms - now_ms)}, by its clock"
    return "just now" if now_ms - at_ms < 1_500 else f"{span(now_ms - at_ms)} ago"


def at(at_ms: int, now_ms: int) -> str:
    """A moment in UTC: `02:41:07 UTC` within a day, else with its date."""
    moment = _utc(at_ms)
    return f"{moment:%H:%M:%S} UTC" if abs(now_ms - at_ms) < DAY_MS // 2 else f"{moment:%d %b %H:%M} UTC"


def stamp(at_ms: int) -> str:
    """A moment as machines read it, and as a title."""
    return f"{_utc(at_ms):%Y-%m-%dT%H:%M:%SZ}"


def hour(at_ms: int) -> str:
    """An hour in UTC."""
    return f"{_utc(at_ms):%d %b %H:00} UTC"


def day(at_ms: int) -> str:
    """A day in UTC."""
    return f"{_utc(at_ms):%a %d %b}"


def percent(part: float, whole: float = 1.0) -> str:
    """A share in percent, with as many digits as it deserves; a dash where nothing is shared."""
    if not whole:
        return words.DASH
    share = 100 * part / whole
    if 0 < share < 0.01:
        return f"< 0.01{THIN}%"
    if 99.99 < share < 100:
        return f"> 99.99{THIN}%"
    written = f"{share:.2f}" if share < 1 or share > 99 else f"{share:.1f}"
    return f"{written.rstrip('0').rstrip('.') if '.' in written else written}{THIN}%"


def seconds(value: float) -> str:
    """A latency: 3.2 ms, 250 ms, 1.4 s."""
    if value < 1:
        return f"{value * 1000:.2g} ms" if value < 0.1 else f"{value * 1000:.0f} ms"
    return words.seconds(value)


def short(digest: str) -> str:
    """The beginning of a digest, by which people tell two apart."""
    return digest.removeprefix(DIGEST)[:12]


def asked(text: str) -> str:
    """What somebody asked for, in quotes, as a refusal repeats it."""
    return repr(text if len(text) <= MOST_REPEATED else f"{text[:MOST_REPEATED]}...")


def headline(found: Observation) -> str:
    """The verdict in a few words: `flagged after step 9 of 32`."""
    return words.verdict(found.verdict)


def reasons(codes: Sequence[str]) -> str:
    """Reason codes in words, the most important first."""
    return "; ".join(words.reason(code) for code in codes)


def what(status: Status, reason: str) -> str:
    """A status with its reason, as the legend of coverage has it."""
    return STATUS[status] if status == "clear" or not reason else f"{STATUS[status]}: {words.reason(reason)}"


def _utc(at_ms: int) -> datetime:
    # A clock that was never set, or one far ahead, is shown at the edge of what a date can be.
    return datetime.fromtimestamp(min(max(at_ms / 1000, 0), 253_402_300_799), UTC)
