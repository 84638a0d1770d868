"""Verdicts, numbers and the finding, as people read them. Steps count from 1 here, in records from 0."""

from __future__ import annotations

import math
import re

import numpy as np

from sri_sdk.metrics.cells import DASH as DASH
from sri_sdk.metrics.cells import share as share
from sri_sdk.metrics.rates import Rate
from sri_sdk.metrics.results import CLASS_WORDS
from sri_sdk.reason_words import WHY
from sri_sdk.records import Outcome, PartVerdict, RecoveryName, Status, Verdict
from sri_sdk.report.data import Report, Trajectory

STATUS: dict[Status, str] = {
    "clear": "clear",
    "flagged": "flagged",
    "unmonitored": "not monitored",
    "not_sampled": "not sampled",
}
OUTCOME: dict[Outcome, str] = {
    "refusal": "refused",
    "harmful": "harmful answer",
    "harmless": "harmless answer",
    "other": "neither refusal nor answer",
}
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_SMALL = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def printable(text: str) -> str:
    """Text that every file and browser takes: control characters and lone surrogates become U+FFFD."""
    return _UNPRINTABLE.sub("�", text.replace("\r\n", "\n").replace("\r", "\n"))


def number(value: float | None, digits: int = 3) -> str:
    """Three significant digits, a dash for what is not a number."""
    if value is None or not math.isfinite(value):
        return DASH
    if 1000 <= abs(value) < 1e6:
        return f"{value:,.0f}"
    mantissa, _, exponent = f"{value:.{digits}g}".partition("e")
    return f"{mantissa} × 10{str(int(exponent)).translate(_SUPERSCRIPT)}" if exponent else mantissa


def interval(rate: Rate) -> str:
    """The 95 % interval of a rate, in percent."""
    return f"{100 * rate.low:.1f} to {100 * rate.high:.1f} %" if rate.n else DASH


def seconds(value: float) -> str:
    """A duration: 0.4 s, 12 s, 3 min 20 s."""
    if not math.isfinite(value):
        return DASH
    if value < 60:
        return f"{value:.2g} s" if value < 10 else f"{value:.0f} s"
    return f"{round(value) // 60} min {round(value) % 60} s"


def title(item: Trajectory) -> str:
    """What to call a generation, also one without a title."""
    return item.title.strip() or item.verdict.request_id or "untitled"


def reason(code: str) -> str:
    """A reason code as words."""
    return WHY[code] if code in WHY else code.replace("_", " ").replace("-", " ")


def span(ms: float) -> str:
    """A length of time in its largest unit."""
    seconds = ms / 1000
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86400:.0f} days"


def count(number: float) -> str:
    """A count: 12,345; in short from a million on."""
    if number < 1_000_000:
        return f"{number:,.0f}"
    return f"{number / 1e6:.1f} million" if number < 1e9 else f"{number / 1e9:.1f} billion"


def when(verdict: Verdict) -> str:
    """When the guard alarmed, or an empty string."""
    if verdict.status != "flagged":
        return ""
    if verdict.first_alarm_step is None:
        return "at the end"
    of = f" of {verdict.steps_expected}" if verdict.steps_expected else ""
    return f"after step {verdict.first_alarm_step + 1}{of}"


def why(verdict: Verdict) -> str:
    """Why it is flagged, or was not monitored, as one sentence; empty = nothing to say."""
    said = "; ".join(reason(code) for code in verdict.reasons)
    return f"{said[0].upper()}{said[1:]}." if said else ""


def ended(verdict: Verdict) -> str:
    """How the generation ended, by its signal; a dash where nobody knows."""
    return DASH if verdict.ended is None else verdict.ended


def part(part: PartVerdict) -> str:
    """What one part of a guard found: `flagged, 6.64 above -4.09`."""
    if part.score is None:
        return f"{STATUS[part.status]}: {reason(part.reason or '')}"
    side = "above" if part.score > part.threshold else "not above"
    return f"{STATUS[part.status]}, {number(part.score)} {side} {number(part.threshold)}"


def verdict(verdict: Verdict) -> str:
    """The verdict in a few words: `flagged after step 9 of 32`, `not monitored: tap silent`."""
    word = STATUS[verdict.status]
    if verdict.status == "unmonitored" and verdict.reasons:
        return f"{word}: {reason(verdict.reasons[0])}"
    return f"{word} {when(verdict)}".strip()


RECOVERED: dict[RecoveryName, str] = {
    "remask": "parts of it opened and filled again",
    "steer": "generated again, steered towards refusal",
    "judge": "released by the judge",
    "refuse": "answered with a refusal text",
}


def concluded(item: Trajectory) -> str:
    """The verdict in a few words; of what answers in place of a flagged response, what that is."""
    if item.recovered is None:
        return verdict(item.verdict)
    return f"{RECOVERED[item.recovered]}: {OUTCOME[item.outcome]}"


def of_class(kind: str) -> str:
    """A class as a person says it; one that nobody knows by its own name."""
    return CLASS_WORDS.get(kind, kind)


def last_sigma(item: Trajectory) -> str:
    """Sigma of the last cell with a signal, or a dash."""
    seen = item.sigma[np.isfinite(item.sigma)]
    return f"{seen[-1]:.2f}" if len(seen) else DASH


def noticed(item: Trajectory) -> bool:
    """Whether the model refused a harmful request and the guard flagged it: neither a miss nor a false alarm."""
    return item.kind == "refused_harmful" and item.verdict.status == "flagged"


def finding(report: Report) -> str:
    """The one sentence to remember. Says what was missed as plainly as what was caught."""
    first = [t for t in report.trajectories if t.recovered is None]
    watched = [t for t in first if t.verdict.status in ("clear", "flagged")]
    unseen = len(first) - len(watched)
    refused = [t for t in watched if noticed(t)]
    harmful = [t for t in watched if t.outcome == "harmful"]
    others = [t for t in watched if t.outcome != "harmful" and not noticed(t)]
    parts = [part for part in (_harmful(harmful), _others(others)) if part]
    sentences = [f"The guard {' and '.join(parts)}."] if parts else []
    if refused:
        requests = "the harmful request" if len(refused) == 1 else f"{_word(len(refused))} harmful requests"
        sentences.append(f"The model refused {requests}, and the guard noticed.")
    sentences += [f"{title(t)}: {concluded(t)}." for t in report.trajectories if t.recovered is not None]
    if unseen:
        sentences.append(f"{_word(unseen).capitalize()} {'was' if unseen == 1 else 'were'} not monitored.")
    return " ".join(sentences) if watched else f"The guard judged no generation. {' '.join(sentences)}".rstrip()


def _harmful(items: list[Trajectory]) -> str:
    flagged = [t for t in items if t.verdict.status == "flagged"]
    if len(items) > 1:
        return f"flagged {len(flagged)} of {len(items)} harmful generations"
    if not items:
        return ""
    return f"flagged the harmful generation {when(items[0].verdict)}" if flagged else "missed the harmful generation"


def _others(items: list[Trajectory]) -> str:
    if not items:
        return ""
    flagged = sum(t.verdict.status == "flagged" for t in items)
    if not flagged:
        return f"passed the {_word(len(items))} that did no harm"
    of = f"{_word(flagged)} of the {_word(len(items))}" if len(items) > 1 else "the one"
    return f"flagged {of} that did no harm"


def _word(number: int) -> str:
    return _SMALL[number] if number < len(_SMALL) else f"{number:,}"
