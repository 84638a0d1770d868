"""From a recorded run to traces and verdicts: what was not watched whole is `unmonitored`, whatever it scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sri_sdk.capture.recorder import Recorder, Watching
from sri_sdk.records import Signals, Trace, Verdict

SILENT = "tap_silent"
"""The tap did not fire at all, or not in a pass that was a step."""
INCOMPLETE = "incomplete_coverage"
"""Steps seen differ from steps expected."""
UNUSABLE = "unusable_state"
"""A pooled state held NaN or infinity, or had no length."""
NO_SIGNAL = "no_signal"
HOOK_FAILED = "hook_failed"


def conclude_trace(
    recorder: Recorder, row: int, request_id: str, seen: int, expected: int | None, failures: Sequence[str]
) -> Trace:
    """One request's trace, with every reason not to trust it."""
    reasons = list(failures)
    if not seen:
        reasons.append(SILENT)
    elif expected is not None and seen != expected:
        reasons.append(INCOMPLETE)
    if recorder.stream is not None and recorder.stream.broken[row]:
        reasons.append(UNUSABLE)
    unique = tuple(dict.fromkeys(reasons))
    return Trace(request_id, recorder.phi(row), recorder.clock(row), seen, expected, unique)


def conclude_verdicts(
    watching: Watching, recorder: Recorder | None, signals: Signals | None, traces: Sequence[Trace]
) -> tuple[Verdict, ...]:
    """One verdict per trace; none without a scorer."""
    scorer = watching.scorer
    if scorer is None:
        return ()
    if signals is None or recorder is None:
        scored = [Verdict(t.request_id, "unmonitored", (NO_SIGNAL,), bundle=scorer.bundle.digest) for t in traces]
    else:
        scored = scorer.score(signals, rule=watching.rule, accept=watching.accepted)
    alarms = {} if recorder is None else recorder.alarms
    return tuple(_cover(v, t, alarms.get(row)) for row, (v, t) in enumerate(zip(scored, traces, strict=True)))


def _cover(verdict: Verdict, trace: Trace, alarm: int | None) -> Verdict:
    """Adds coverage. It turns `clear` into `unmonitored`, and never silences an alarm: what rang, rang."""
    covered = replace(verdict, steps_seen=trace.steps, steps_expected=trace.expected, first_alarm_step=alarm)
    if not trace.reasons:
        return covered
    if verdict.status == "flagged" and alarm is not None:
        return replace(covered, reasons=_once(verdict.reasons, trace.reasons))
    return replace(covered, status="unmonitored", reasons=_once(trace.reasons, verdict.reasons))


def _once(*codes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(code for part in codes for code in part))
