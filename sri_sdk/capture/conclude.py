"""From a recorded run to traces and verdicts: a generation not watched from start to end is `unmonitored`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np

from sri_sdk.anchors import Anchors
from sri_sdk.capture.recorder import Recorder
from sri_sdk.capture.request_column import RequestColumn
from sri_sdk.capture.settings import WatchSettings
from sri_sdk.capture.stream import SignalStream
from sri_sdk.fingerprint import Fingerprint
from sri_sdk.records import WITH_PARTS, RequestStates, Signals, Trace, Verdict

SILENT = "tap_silent"
"""The tap did not fire at all, or not in a pass that was a step."""
INCOMPLETE = "incomplete_coverage"
"""Steps seen differ from steps expected."""
UNUSABLE = "unusable_state"
"""A pooled state held NaN or infinity, or had no length."""
OVER_BUDGET = "over_budget"
"""More steps than the guard's profile has."""
END_NOT_SEEN = "end_not_seen"
"""A request was still going when the passes stopped: it may have ended there, or the tap may have gone silent.
`Run.returned(tokens)` settles which."""
OTHER_WATCH = "another_watch"
"""Two watches of this model in one context: a pass belongs to the inner one."""
INTERRUPTED = "interrupted"
"""The generation raised, was aborted, or was left before its end."""
ROWS_DIFFER = "rows_differ"
"""The call returned another number of rows than it generated, as beam search does: rows are not requests there."""
TWICE = "tap_fired_twice"
"""A tapped module ran more often in one pass than the hook says: which of its outputs is the state cannot be told."""
UNEXPLAINED = "unexplained_pass"
"""A pass over finished text, which is no step, and nothing shows that the text was finished."""
OTHER_CODE = "other_code"
"""A forward hook or a replaced forward that was not there when the guard was fitted: nobody can read off it what it
does to the states. `accept: [adapter]` lets it pass."""
OTHER_SYSTEM_PROMPT = "other_system_prompt"
"""The tokens do not hold the system prompt that the caller stated, or hold one although none was stated."""
OTHER_SAMPLER = "other_sampler"
"""The request asked for another sampler than the guard was fitted under: fewer steps, a shorter canvas, fewer words."""
OTHER_SHIFT = "shift_differs"
"""The committed tokens were predicted by other rows than the plan names: the wrong states were pooled."""
TOKENS_MOVED = "tokens_moved"
"""The number of tokens in work changed: positions are not the same from step to step."""
NO_SIGNAL = "no_signal"
HOOK_FAILED = "hook_failed"
SCORER_FAILED = "scorer_failed"


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of one request's generation the tap saw."""

    seen: int
    """Steps."""
    expected: int | None
    """Steps it should have had; None = the family stops when it likes, and nobody said when."""
    budget: int | None
    """Most steps of the guard's profile; None = no guard."""
    ended: bool
    """Whether its end was seen."""
    cut: bool = False
    """Whether the call stopped it where the model would have gone on."""
    strays: bool = False
    """Whether passes of this model ran meanwhile that no watch owns: they may be its own, run in another context."""
    horizon: bool = False
    """Whether the guard judges the first `budget` steps only, and more may follow."""

    def reasons(self) -> list[str]:
        """Why the coverage is not whole; empty = it is."""
        if not self.seen:
            return [SILENT]
        if self.expected is not None and self.seen != self.expected:
            return [INCOMPLETE]
        enough = self.budget is not None and self.seen >= self.budget
        if self.budget is not None and self.seen > self.budget and not self.horizon:
            return [OVER_BUDGET]
        # Cut short of the profile, a generation has no signal for the cells that are left, whatever its last state was.
        # Without a guard there are no such cells, and no number of steps: what is left are passes that went astray.
        if self.budget is None:
            return [END_NOT_SEEN] if self.strays and self.expected is None and not self.ended else []
        whole = (self.expected is not None and not self.cut) or self.ended or enough
        return [] if whole else [END_NOT_SEEN]


def conclude_trace(recorder: Recorder, row: int, request_id: str, coverage: Coverage, failures: Sequence[str]) -> Trace:
    """One request's trace, with every reason not to trust it."""
    reasons = [*failures, *coverage.reasons()]
    if recorder.stream is not None and recorder.stream.broken[row]:
        reasons.append(UNUSABLE)
    unique = tuple(dict.fromkeys(reasons))
    return Trace(request_id, recorder.phi(row), recorder.clock(row), coverage.seen, coverage.expected, unique)


def unseen_trace(request_id: str, failures: Sequence[str]) -> Trace:
    """The trace of a request whose generation was never seen."""
    nothing = np.empty((0, 0, 0), dtype=np.float32)
    return Trace(request_id, nothing, np.zeros(1, dtype=np.int64), 0, None, tuple(failures))


def conclude_signals(
    settings: WatchSettings, ids: tuple[str, ...], stream: SignalStream | None, stated: Sequence[str] = (), *,
    request: RequestStates | None = None, request_failed: bool = False,
    groups: tuple[str | None, ...] | None = None,
) -> Signals | None:  # fmt: skip
    """The signals of all requests, with what made them; None without anchors.

    Args:
        settings: with the anchors.
        ids: of the requests.
        stream: the signals.
        stated: what was stated and not checked; the signals name it.
        request: what was read of the requests; None = nothing.
        request_failed: whether reading them raised.
        groups: of the requests; None = the guard has none, or none was named.
    """
    if stream is None:
        return None
    printed = None
    if settings.fingerprint is not None and settings.anchors is not None:
        made_by = made_with(settings.anchors, settings.tau, settings.eps)
        printed = {
            **_true_to(settings.fingerprint, settings.foreign_code),
            **made_by,
            **({"stated": list(stated)} if stated else {}),
        }
    signals = Signals(ids, stream.sigma, stream.logit, printed, stream.lengths, groups=groups)
    anchors = settings.anchors
    if anchors is None or anchors.request is None:
        return signals
    return RequestColumn.of(anchors, request, len(ids), failed=request_failed).beside(signals, anchors)


def made_with(anchors: Anchors, tau: float, eps: float) -> dict[str, Any]:
    """What signals name beside the fingerprint of the model: their anchors, map and constants."""
    request = {} if anchors.request is None else {"request_map": anchors.request.digest}
    return {"anchors": anchors.digest, "tau": tau, "eps": eps, **request}


def _true_to(fingerprint: Fingerprint, foreign: str) -> dict[str, Any]:
    """The fingerprint with code of others in it, so that nobody scores the signals elsewhere as if there were none."""
    printed = fingerprint.to_dict()
    if foreign:
        base = printed["soft"]["adapter"]
        printed["soft"] = {**printed["soft"], "adapter": foreign if base == "none" else f"{base}, {foreign}"}
    return printed


def conclude_verdicts(
    settings: WatchSettings, recorder: Recorder | None, signals: Signals | None, traces: Sequence[Trace]
) -> tuple[Verdict, ...]:
    """One verdict per trace; none without a scorer."""
    scorer = settings.scorer
    if scorer is None:
        return ()
    scored: Sequence[Verdict]
    if signals is None or recorder is None:
        scored = [Verdict(t.request_id, "unmonitored", (NO_SIGNAL,), bundle=scorer.bundle.digest) for t in traces]
    else:
        # Code of others costs the verdict by a reason of its own; here the rest of the fingerprint is compared.
        admitted = signals
        if settings.foreign_code and settings.fingerprint is not None:
            admitted = replace(signals, fingerprint={**(signals.fingerprint or {}), **settings.fingerprint.to_dict()})
        policy = settings.policy
        scored = scorer.score(admitted, rule=policy.rule, accept=settings.accepted, debounce=policy.debounce)
    # Under the rule `request` no step alarms, and the scorer says the same of the same numbers.
    alarms = recorder.alarms if recorder is not None and settings.policy.rule == "online" else {}
    return tuple(
        _cover(v, t, alarms.get(row), settings.horizon) for row, (v, t) in enumerate(zip(scored, traces, strict=True))
    )


def _cover(verdict: Verdict, trace: Trace, alarm: int | None, horizon: int | None) -> Verdict:
    """Adds coverage. It turns `clear` into `unmonitored`, and never silences an alarm."""
    flagged = alarm is not None or verdict.status == "flagged"
    first = verdict.first_alarm_step if alarm is None else alarm
    covered = replace(
        verdict, steps_seen=trace.steps, steps_expected=trace.expected, first_alarm_step=first,
        reasons=_once(verdict.reasons, trace.reasons) if flagged else _once(trace.reasons, verdict.reasons),
        judged_steps=None if horizon is None else min(trace.steps, horizon),
        # Nobody knows the end of what was not seen whole.
        ended=None if trace.reasons else verdict.ended,
        # Schema 1 has no place for how much was judged, and a part of an answer must not look like all of it.
        schema=verdict.schema if horizon is None else WITH_PARTS,
    )  # fmt: skip
    if flagged:
        return replace(covered, status="flagged")
    if not trace.reasons and covered.status != "unmonitored":
        return covered
    return replace(covered, status="unmonitored", score=None, p_value=None, judged_steps=None)


def _once(*codes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(chain(*codes)))
