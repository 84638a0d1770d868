"""The two questions to `sri serve`, and what no answer is: `unmonitored`, never `clear`."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Literal
from urllib.parse import quote, urlencode

from sri_sdk.client.answers import WrongAnswer, found_verdict, knows_none, scored_verdicts, status_words
from sri_sdk.client.calls import NoAnswer, Question
from sri_sdk.client.rarely import warn_rarely
from sri_sdk.client.settings import is_id
from sri_sdk.client.work import Work
from sri_sdk.errors import ConfigError
from sri_sdk.reason_words import NO_VERDICT, SCORER_LATE, SCORER_UNAVAILABLE
from sri_sdk.records import Rule, Signals, Verdict
from sri_sdk.strict_json import JsonError

Kind = Literal["unavailable", "late"]
_REASONS: dict[Kind, str] = {"unavailable": SCORER_UNAVAILABLE, "late": SCORER_LATE}


def score(
    work: Work, signals: Signals, until: float, headers: Mapping[str, str], *, bundle: str, rule: Rule,
    accept: Collection[str], unverified: bool,
) -> tuple[list[Verdict], bool]:  # fmt: skip
    """Verdicts on N generations, in order, and whether the store has them; `until` is in monotonic seconds."""
    from sri_sdk.scoring.signal_text import signal_lines  # numpy waits until there are signals.

    asked = {"bundle": bundle, "rule": rule, "source": work.source}
    if accept:
        asked["accept"] = ",".join(accept)
    if unverified:
        asked["unverified"] = "true"
    try:
        body = signal_lines(signals)
    except JsonError as err:
        raise ConfigError(
            f"score: the signals cannot be written: {err}. Change the ids or the fingerprint that this names."
        ) from err
    sent = {**headers, "Content-Type": "application/jsonl"}
    question = Question("POST", f"/v1/signals?{urlencode(asked)}", body, sent)
    work.asked_once(None)
    found = work.calls.ask(question, until - time.monotonic())
    if isinstance(found, NoAnswer):
        kind = _unanswered(work, found.kind, found.why)
    elif found.status != 200:
        kind = _unanswered(work, "unavailable", f"a score was answered with {status_words(found.status, 'write')}")
    else:
        try:
            return scored_verdicts(found.content, signals.ids), True
        except WrongAnswer as err:
            kind = _unanswered(work, "unavailable", f"a score was answered with {err}")
    return [Verdict(each, "unmonitored", (_REASONS[kind],), rule=rule) for each in signals.ids], False


def lookup(
    work: Work, request_id: str, wait_s: float, until: float, headers: Mapping[str, str], rule: Rule | None = None
) -> Verdict:
    """The verdict on one request, of a rule; None = of any. `until` is in monotonic seconds."""
    if not is_id(request_id):
        return Verdict(request_id, "unmonitored", (NO_VERDICT,), rule=rule or "final")
    asked = {"wait_ms": max(int(1000 * wait_s), 0)} | ({} if rule is None else {"rule": rule})
    path = f"/v1/verdicts/{quote(request_id, safe='')}?{urlencode(asked)}"
    work.asked_once(None)
    found = work.calls.ask(Question("GET", path, None, headers), until - time.monotonic())
    if isinstance(found, NoAnswer):
        reason = _REASONS[_unanswered(work, found.kind, found.why)]
    elif found.status == 404 and knows_none(found.content):
        reason = NO_VERDICT
    elif found.status != 200:
        said = f"a look-up was answered with {status_words(found.status, 'read')}"
        reason = _REASONS[_unanswered(work, "unavailable", said)]
    else:
        try:
            return found_verdict(found.content, request_id)
        except WrongAnswer as err:
            reason = _REASONS[_unanswered(work, "unavailable", f"a look-up was answered with {err}")]
    return Verdict(request_id, "unmonitored", (reason,), rule=rule or "final")


def _unanswered(work: Work, kind: Kind, why: str) -> Kind:
    warn_rarely(work.asked_once(kind), "%s: %s", work.address, why)
    return kind
