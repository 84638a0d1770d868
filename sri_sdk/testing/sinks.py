"""The promises of a sink, as checks: the name of a method is the name of its check, its docstring the promise."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sri_sdk.records import Verdict
from sri_sdk.sink import Sink
from sri_sdk.testing._promises import Promises, listed
from sri_sdk.testing.check import Check, exits_are_failures

COUNT = 50
"""Verdicts per check."""
MEDIAN_S, SLOWEST_S = 0.01, 0.5
"""Seconds emit() may take: in the middle, and at worst, which on a busy machine says more of the machine."""


@dataclass(frozen=True, slots=True)
class SinkCase:
    """A sink under check, with what can be known about where its verdicts go."""

    sink: Sink
    delivered: Callable[[], Sequence[str]] | None = None
    """Request ids that have arrived, asked once the sink is closed; None = nobody can tell."""
    dead: Callable[[], Sink] | None = None
    """Another sink whose endpoint is down; None = there is no such thing."""


@exits_are_failures()
def sink_checks(make: Callable[[], SinkCase | Sink], known: Mapping[str, str] | None = None) -> list[Check]:
    """Every promise of a sink; what the case does not offer is not checked, and its check not listed.

    Args:
        make: gives a fresh sink, or a case around one.
        known: strict known failures: name of a check -> why it fails.

    Raises:
        ConformanceError: `known` names no check.
    """
    case = _Checks(make, lambda made: made if isinstance(made, SinkCase) else SinkCase(made))
    with case.opened() as offered:
        promises = [case.accepts_verdicts, case.returns_at_once, case.close_is_idempotent]
        promises += [case.keeps_what_it_acknowledged] if offered.delivered else []
        promises += [case.a_dead_endpoint_does_not_raise] if offered.dead else []
    return listed(promises, known)


def planted_verdicts(count: int = COUNT) -> list[Verdict]:
    """Verdicts of every status, with and without numbers, and with ids no one expects."""
    verdicts = []
    for i in range(count):
        match i % 4:
            case 0:
                verdict = Verdict(f"clear-{i}", "clear", (), 0.1, 0.5, 0.7)
            case 1:
                above = ("score_above_threshold",)
                verdict = Verdict(f"flagged-{i}", "flagged", above, 3e38, 0.5, 0.01, 7, 16, 16, "online", "0" * 64)
            case 2:
                verdict = Verdict(f"ungesehen «{i}» \u2028\n", "unmonitored", ("non_finite_signal", "tap_silent"))
            case _:
                verdict = Verdict(f"skipped/{i}", "not_sampled")
        verdicts.append(verdict)
    return verdicts


class _Checks(Promises[SinkCase]):
    def accepts_verdicts(self) -> None:
        """emit() takes verdicts of every status, with and without numbers, and ids in any script. The one it chokes on
        would be the one that matters."""  # fmt: skip
        with self.opened() as case:
            for verdict in planted_verdicts():
                self.emit(case.sink, verdict)

    def returns_at_once(self) -> None:
        """emit() does not wait for delivery: it is called between two steps of a generation."""
        with self.opened() as case:
            self.quick(case.sink)

    def close_is_idempotent(self) -> None:
        """close() may be called twice, and on a sink that was never used: `with` and a signal handler both call it."""
        for used in (True, False):
            case = self.fresh()
            if used:
                self.emit(case.sink, planted_verdicts(1)[0])
            for time_called in ("once", "twice"):
                state = "after 1 verdict" if used else "unused"
                self.attempt(f"close(): called {time_called}, {state}:", case.sink.close, case)

    def keeps_what_it_acknowledged(self) -> None:
        """Every verdict that emit() took has arrived exactly once when close() returns. A lost verdict looks like one
        that was never flagged."""  # fmt: skip
        with self.opened() as case:
            for verdict in planted_verdicts():
                self.emit(case.sink, verdict)
        assert case.delivered is not None  # Listed only then.
        sent = Counter(verdict.request_id for verdict in planted_verdicts())
        found = Counter(case.delivered())
        if found != sent:
            lost, extra = sent - found, found - sent
            first = next(iter(lost or extra))
            self.fail(
                f"close(): of {COUNT} verdicts {lost.total()} have not arrived and {extra.total()} arrived beyond "
                f"them, first {first!r}",
                case=case,
            )

    def a_dead_endpoint_does_not_raise(self) -> None:
        """With its endpoint down, emit() still returns at once, and neither it nor close() raises. The generation must
        not notice."""  # fmt: skip
        with self.opened() as case:
            assert case.dead is not None  # Listed only then.
        sink: Sink = self.attempt("__init__(): with a dead endpoint:", case.dead, case)
        self.quick(sink)
        self.attempt("close(): with a dead endpoint:", sink.close, SinkCase(sink))

    # -- material and words ----------------------------------------------------------------------------------

    def subject(self, case: SinkCase) -> Sink:
        return case.sink

    @contextmanager
    def opened(self) -> Iterator[SinkCase]:
        """A fresh case, its sink closed once at the end."""
        case = self.fresh()
        try:
            yield case
        finally:
            case.sink.close()

    def quick(self, sink: Sink) -> None:
        """Emits, and fails where that takes too long."""
        seconds = []
        for verdict in planted_verdicts():
            start = time.perf_counter()
            self.emit(sink, verdict)
            seconds.append(time.perf_counter() - start)
        middle, worst = sorted(seconds)[COUNT // 2], max(seconds)
        if middle > MEDIAN_S or worst > SLOWEST_S:
            self.fail(
                f"emit(): takes {1e3 * middle:.3g} ms in the middle, {1e3 * worst:.3g} ms at worst of {COUNT} calls, "
                f"allowed are {1e3 * MEDIAN_S:g} and {1e3 * SLOWEST_S:g}; queue the verdict and deliver it elsewhere",
                case=SinkCase(sink),
            )

    def emit(self, sink: Sink, verdict: Verdict) -> None:
        """Emits, and fails where that raises."""
        what = f"a verdict {verdict.status!r} of {verdict.request_id!r}"
        self.attempt(f"emit(): {what} raises", lambda: sink.emit(verdict), SinkCase(sink))
