"""From the vectors of ended requests to verdicts, by the very code that concludes a watched generation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sri_sdk.capture.conclude import (
    INTERRUPTED,
    SCORER_FAILED,
    SILENT,
    Coverage,
    conclude_signals,
    conclude_trace,
    conclude_verdicts,
    unseen_trace,
)
from sri_sdk.capture.faults import Faults
from sri_sdk.capture.pool import Pooled, Pooler
from sri_sdk.capture.pool_tokens import RunningPooler
from sri_sdk.capture.poolers import make_pooler
from sri_sdk.capture.recorder import Recorder
from sri_sdk.capture.request_column import RequestColumn
from sri_sdk.capture.settings import WatchSettings
from sri_sdk.records import RequestStates, Signals, StepPlan, Trace, Verdict

TOGETHER = 64
"""Requests that are concluded in one call."""
TOGETHER_BYTES = 2**26
"""Vectors that are concluded in one call, padded to the longest of the requests. One request alone may have more."""


@dataclass(frozen=True, slots=True, eq=False)
class Ended:
    """A request whose generation is over, as far as it was seen."""

    request_id: str
    vectors: torch.Tensor | None
    """[S, C, D] float32 tensor on the host, the state that predicted each token, the first ones of them; None = none
    was seen."""
    seen: int
    """Steps that were seen, also those beyond the vectors."""
    tokens: int | None
    """Steps that it had: tokens that the engine generated, or passes over canvases that it gave out; None = it did not
    say."""
    ended: bool
    """Whether the model ended it, by an end token or what the caller made one; or by filling all its canvases."""
    interrupted: bool = False
    """Whether somebody stopped it."""
    located: bool = False
    """Whether somebody knew where the request is in its prompt."""
    request: NDArray[np.float32] | None = None
    """[C, D] mean state of its tokens; None = not all of them were seen."""
    reasons: tuple[str, ...] = ()
    """Why nothing that was seen can be trusted."""
    stated: tuple[str, ...] = ()
    """What the operator states of it and nothing has checked."""
    canvas: bool = False
    """Whether its model works on canvases: each vector is then the mean over one."""


@dataclass(frozen=True, slots=True)
class Concluded:
    """What came of some requests, in their order."""

    traces: tuple[Trace, ...]
    signals: Signals | None
    """None without anchors, or where no step was seen."""
    verdicts: tuple[Verdict, ...]
    """Empty without a guard."""


def batches(ended: Sequence[Ended]) -> list[list[Ended]]:
    """Requests that are concluded together: not too much to hold, and no id twice, since signals have a row per id."""
    found: list[list[Ended]] = []
    ids, longest = set[str](), 0
    for each in ended:
        size = 0 if each.vectors is None else 4 * each.vectors.numel()
        longest = max(longest, size)
        together = len(found[-1]) + 1 if found else 0
        if not 0 < together <= TOGETHER or together * longest > TOGETHER_BYTES or each.request_id in ids:
            found.append([])
            ids.clear()
            longest = size
        found[-1].append(each)
        ids.add(each.request_id)
    return found


def most_vectors(settings: WatchSettings) -> int | None:
    """Vectors of a request that are ever looked at: what comes later is beyond the guard; None = all of them."""
    return settings.budget


def conclude(settings: WatchSettings, requests: Sequence[Ended]) -> Concluded:
    """Traces, signals and verdicts of ended requests.

    Args:
        settings: what they are measured against.
        requests: at least one, all of one model.
    """
    faults = Faults("engine")
    with faults.isolated(SCORER_FAILED):
        return _conclude(settings, requests)
    if len(requests) > 1:
        # One of them may be at fault; its neighbours are not.
        return _joined([conclude(settings, [each]) for each in requests])
    return unjudged(settings, requests, faults.reasons)


def unjudged(settings: WatchSettings, requests: Sequence[Ended], reasons: Sequence[str]) -> Concluded:
    """What is said of requests that nobody could conclude: `unmonitored`.

    Args:
        settings: what they were to be measured against.
        requests: at least one.
        reasons: codes of why.
    """
    traces = tuple(unseen_trace(each.request_id, reasons) for each in requests)
    verdicts = tuple(Verdict(each.request_id, "unmonitored", tuple(reasons)) for each in requests)
    return Concluded(traces, None, verdicts if settings.scorer is not None else ())


def _joined(found: Sequence[Concluded]) -> Concluded:
    """What was concluded one by one; the signals of each stay apart, and are left out."""
    return Concluded(
        tuple(trace for each in found for trace in each.traces), None,
        tuple(verdict for each in found for verdict in each.verdicts),
    )  # fmt: skip


def _conclude(settings: WatchSettings, requests: Sequence[Ended]) -> Concluded:
    states = _states_of(settings, requests)
    recorder = Recorder(settings, len(requests), lambda: _column(settings, states, len(requests)))
    pooler = make_pooler("canvas" if requests[0].canvas else "autoregressive", settings.pooling)
    _record(recorder, pooler, requests)
    coverage = [_coverage(settings, each) for each in requests]
    failures = [_failures(settings, each) for each in requests]
    grid = settings.grid
    missing = 0 if grid is None else int(max(grid.budget - recorder.steps.min(), 0))
    whole = np.array([not (c.reasons() or f) for c, f in zip(coverage, failures, strict=True)])
    recorder.finish(pooler.tail(missing), whole)
    ids = tuple(each.request_id for each in requests)
    traces = tuple(
        conclude_trace(recorder, row, i, coverage[row], failures[row]) if requests[row].seen
        else unseen_trace(i, failures[row] or (SILENT,))
        for row, i in enumerate(ids)
    )  # fmt: skip
    stated = tuple(dict.fromkeys(name for each in requests for name in each.stated))
    signals = conclude_signals(settings, ids, recorder.stream, stated, request=states)
    return Concluded(traces, signals, conclude_verdicts(settings, recorder, signals, traces))


def _record(recorder: Recorder, pooler: Pooler, requests: Sequence[Ended]) -> None:
    """Hands all vectors to the recorder, step by step, as passes of a batch of these requests would have."""
    counts = torch.tensor([0 if each.vectors is None else len(each.vectors) for each in requests])
    steps = int(counts.max())
    if not steps:
        return
    shape = next(each.vectors.shape[1:] for each in requests if each.vectors is not None)
    states = torch.zeros(steps, len(requests), *shape)
    for row, each in enumerate(requests):
        if each.vectors is not None:
            states[: len(each.vectors), row] = each.vectors
    active = torch.arange(steps)[:, None] < counts
    if requests[0].canvas:
        recorder.take_many([Pooled(*each, None) for each in zip(states.unbind(0), active.unbind(0), strict=True)])
        recorder.take_many(())
        return
    # The prompt's pass: its last row predicts the first token.
    first = StepPlan(torch.full((len(requests), 1), -1), shift=1, active=active[0], span=(0, 1))
    pooler.add([states[0, :, layer, None] for layer in range(shape[0])], first)
    opened = pooler.close_step(None)
    if opened is not None:
        recorder.take(opened)
    if steps > 1:
        assert isinstance(pooler, RunningPooler)
        recorder.take_many(pooler.take(states[1:], active[1:]))
    recorder.take_many(())


def _coverage(settings: WatchSettings, each: Ended) -> Coverage:
    """How much of one request was seen."""
    return Coverage(
        each.seen, each.tokens, settings.budget, ended=each.ended, cut=not each.ended,
        horizon=settings.horizon is not None,
    )  # fmt: skip


def _failures(settings: WatchSettings, each: Ended) -> list[str]:
    """Why nothing of it can be trusted, as a watched run has it: its end does not matter behind the horizon."""
    settled = settings.horizon is not None and each.seen >= settings.horizon
    stopped = [INTERRUPTED] if each.interrupted and not settled else []
    return [*each.reasons, *stopped]


def _states_of(settings: WatchSettings, requests: Sequence[Ended]) -> RequestStates | None:
    """The mean states of the requests' own tokens; None = the guard reads none, or none of them was located."""
    if not settings.request_layers or not any(each.located for each in requests):
        return None
    known = [each.request for each in requests]
    like = next((each for each in known if each is not None), None)
    shape = (0, 0) if like is None else like.shape
    states = np.zeros((len(requests), *shape), dtype=np.float32)
    for row, each in enumerate(known):
        if each is not None:
            states[row] = each
    complete = np.array([each is not None for each in known])
    return RequestStates(states, tuple(each.located for each in requests), complete)


def _column(settings: WatchSettings, states: RequestStates | None, requests: int) -> RequestColumn | None:
    if settings.anchors is None or settings.anchors.request is None:
        return None
    return RequestColumn.of(settings.anchors, states, requests, failed=False)
