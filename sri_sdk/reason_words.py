"""Reason codes that people read as words, and those that a policy tells from the others."""

from __future__ import annotations

from collections.abc import Iterable

WHY = {
    "score_above_threshold": "the signal left the harmless range",
    "request_harmful": "the request reads as harmful",
    "canvas_primed": "somebody wrote into the response before the first step",
    "canvas_rewritten": "somebody rewrote what the model had committed",
    "tokens_moved": "tokens were inserted or deleted while the model generated",
    "no_verdict": "nobody has judged the request so far",
    "scorer_unavailable": "the scorer gave no answer",
    "scorer_late": "the scorer gave no answer in time",
    "scorer_other_guard": "the scorer answered with another guard",
}
"""Codes in words: of alarms, where a part may have a code of its own, of tampering, of positions that move, and of
scorers on a network.
docs/errors-and-cures.md has the others."""

CANVAS_PRIMED, CANVAS_REWRITTEN = "canvas_primed", "canvas_rewritten"
TAMPERING = frozenset({CANVAS_PRIMED, CANVAS_REWRITTEN})
"""Somebody interfered with the generation. Such a verdict is `unmonitored` at least."""

NO_VERDICT = "no_verdict"
"""The store knows of no verdict on the request, or none came in time. Such a verdict is `unmonitored`."""
SCORER_UNAVAILABLE, SCORER_LATE = "scorer_unavailable", "scorer_late"
"""A scorer on the network did not answer, or not within the budget. Such verdicts are `unmonitored`."""
SCORER_OTHER_GUARD = "scorer_other_guard"
"""A monitor's scorer judged with another guard than the monitor's own. Such verdicts are `unmonitored`."""


def in_words(codes: Iterable[str]) -> list[str]:
    """Codes as a person says them, in order; one without words stays as it is."""
    return [WHY.get(code, code) for code in codes]
