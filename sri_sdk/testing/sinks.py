"""The promises of a sink, as checks: the name of a method is the name of its check, its docstring the promise."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from sri_sdk.errors import SinkRejected
from sri_sdk.observation import Observation
from sri_sdk.records import Verdict
from sri_sdk.sink import Sink
from sri_sdk.testing._promises import Promises, listed
from sri_sdk.testing._sink_planted import COUNT, planted_observations, planted_pulses, planted_running, planted_verdicts
from sri_sdk.testing.check import Check, exits_are_failures

MEDIAN_S, SLOWEST_S = 0.01, 0.5
"""Seconds emit(), show() and pulse() may take: in the middle, and at worst, which on a busy machine says more of the
machine."""


CHECK_S = 5.0
"""Seconds that check() is given."""


@dataclass(frozen=True, slots=True)
class SinkCase:
    """A sink under check, with what can be known about where its verdicts go."""

    sink: Sink
    delivered: Callable[[], Sequence[str]] | None = None
    """Request ids that have arrived, asked once the sink is closed; None = nobody can tell."""
    dead: Callable[[], Sink] | None = None
    """Another sink whose endpoint is down; None = there is no such thing."""
    observed: Callable[[], Sequence[str]] | None = None
    """Ids of the observations that have arrived, as those who read them count: once, however often they were delivered.
    Asked while the sink is open; None = nobody can tell."""
    refused: Observation | None = None
    """One that the sink will never take; None = there is no such thing."""


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
        promises += [case.takes_observations, case.shows_at_once]
        promises += [case.checks_without_opening] if _says(offered.sink) else []
        promises += [case.check_finds_a_dead_endpoint] if offered.dead and _says(offered.sink) else []
        promises += [case.safe_when_deliver_returns, case.counts_redelivery_once] if offered.observed else []
        promises += [case.names_what_it_rejects] if offered.refused else []
        # Where nobody can tell what has arrived, such as a number that only rises, nothing is promised.
        promises += [case.a_dead_endpoint_acknowledges_nothing] if offered.dead and offered.observed else []
    return listed(promises, known)


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

    def checks_without_opening(self) -> None:
        """check() says of options that work what it found, or None, within its time; it sends nothing, and a sink that
        is open meanwhile goes on: `sri monitor --check` is called beside the monitor that runs."""  # fmt: skip
        with self.opened() as case:
            sent = planted_observations(2, traffic=True)
            self.deliver_all(case, sent[:1])
            began = time.perf_counter()
            said = self.attempt(
                "check(): of a sink that is open and works:", partial(case.sink.check, case.sink.config, CHECK_S), case
            )
            if (took := time.perf_counter() - began) > CHECK_S:
                self.fail(f"check(): took {took:.3g} s, and was given {CHECK_S:g}", case=case)
            if said is not None and (not isinstance(said, str) or not said.strip()):
                self.fail(f"check(): returned {said!r}, must be None or a few words", case=case)
            if case.observed is not None:
                self.arrived(case, sent[:1], "check(): was called, and then")
                self.deliver_all(case, sent[1:])
                self.arrived(case, sent, "deliver(): after check()")

    def check_finds_a_dead_endpoint(self) -> None:
        """check() raises where the endpoint is down, within its time: the operator asks before the model is loaded."""
        with self.opened() as case:
            assert case.dead is not None  # Listed only then.
        sink: Sink = self.attempt("__init__(): with a dead endpoint:", case.dead, case)
        began = time.perf_counter()
        try:
            said = sink.check(sink.config, CHECK_S)
        except Exception:
            if (took := time.perf_counter() - began) > CHECK_S + SLOWEST_S:
                self.fail(f"check(): took {took:.3g} s, and was given {CHECK_S:g}", case=SinkCase(sink))
            return
        finally:
            self.attempt("close(): with a dead endpoint:", sink.close, SinkCase(sink))
        self.fail(f"check(): with a dead endpoint: returned {said!r}, as if it could deliver", case=SinkCase(sink))

    def takes_observations(self) -> None:
        """deliver() takes observations of every status, kind and consequence, bare and with everything they may carry,
        as many as `batch` at once. The one it chokes on would hold up all behind it."""  # fmt: skip
        with self.opened() as case:
            if case.sink.batch < 1:
                self.fail(f"batch: is {case.sink.batch}, at least 1 observation is delivered at once", case=case)
            for observation in planted_observations():
                self.deliver(case, [observation])
            self.deliver(case, planted_observations(case.sink.batch, first=COUNT))

    def shows_at_once(self) -> None:
        """show() and pulse() take what a monitor says, also nothing, and do not wait: they are called between two
        steps of a generation. So they do where the endpoint is down."""  # fmt: skip
        with self.opened() as case:
            self.show_quickly(case.sink)
            if case.dead is not None:
                dead: Sink = self.attempt("__init__(): with a dead endpoint:", case.dead, case)
                self.show_quickly(dead)
                self.attempt("close(): with a dead endpoint:", dead.close, SinkCase(dead))

    def safe_when_deliver_returns(self) -> None:
        """Every observation that deliver() took has arrived when it returns, not only when the sink is closed: the
        monitor forgets it then."""  # fmt: skip
        with self.opened() as case:
            sent = planted_observations(traffic=True)
            self.deliver_all(case, sent)
            self.arrived(case, sent, "deliver(): returned, but")

    def counts_redelivery_once(self) -> None:
        """Observations that are delivered again, together with new ones, count once: a monitor that was killed delivers
        again what it does not know to be safe."""  # fmt: skip
        with self.opened() as case:
            sent = planted_observations(traffic=True)
            self.deliver_all(case, sent[: COUNT // 2])
            self.deliver_all(case, sent)
            self.arrived(case, sent, "deliver(): after a second delivery")

    def names_what_it_rejects(self) -> None:
        """deliver() raises SinkRejected for what it will never take, names exactly that by id, and the others of the
        batch are safe. What it names is given up."""  # fmt: skip
        with self.opened() as case:
            assert case.refused is not None  # Listed only then.
            sent = planted_observations(min(4, case.sink.batch - 1), traffic=True)
            batch = [*sent[:2], case.refused, *sent[2:]]
            try:
                case.sink.deliver(batch)
            except SinkRejected as err:
                if err.ids != {case.refused.id}:
                    self.fail(
                        f"deliver(): rejected {sorted(err.ids)} of a batch of {len(batch)}, of which exactly "
                        f"{case.refused.id} can never be taken",
                        case=case,
                    )
            except Exception as err:
                self.fail(
                    f"deliver(): {type(err).__name__} where one of {len(batch)} can never be taken; raise "
                    "SinkRejected, or it is tried again for ever",
                    err, case,
                )  # fmt: skip
            else:
                self.fail(
                    "deliver(): returned although one observation can never be taken; raise SinkRejected", case=case
                )
            if case.observed is not None:
                self.arrived(case, sent, "deliver(): rejected one, but")

    def a_dead_endpoint_acknowledges_nothing(self) -> None:
        """With its endpoint down, deliver() raises, and not SinkRejected: the observations wait on disk and are tried
        again. Where it returned they would be lost."""  # fmt: skip
        with self.opened() as case:
            assert case.dead is not None  # Listed only then.
        sink: Sink = self.attempt("__init__(): with a dead endpoint:", case.dead, case)
        try:
            sink.deliver(planted_observations(1))
        except SinkRejected as err:
            self.fail("deliver(): with a dead endpoint: gives observations up instead of failing", err, SinkCase(sink))
        except Exception:
            return
        finally:
            self.attempt("close(): with a dead endpoint:", sink.close, SinkCase(sink))
        self.fail("deliver(): with a dead endpoint: returned, as if the observations were safe", case=SinkCase(sink))

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
        seconds = [self.timed(partial(self.emit, sink, verdict)) for verdict in planted_verdicts()]
        self.quick_enough("emit()", "queue the verdict and deliver it elsewhere", seconds, sink)

    def show_quickly(self, sink: Sink) -> None:
        """Shows and pulses, and fails where that raises or takes too long."""
        calls: list[tuple[str, str, Callable[[], None]]] = [
            ("show()", "2 generations", lambda: sink.show(planted_running())),
            ("show()", "no generations", lambda: sink.show([])),
        ]
        calls += [("pulse()", f"{pulse}", partial(sink.pulse, pulse)) for pulse in planted_pulses()]
        for name, what, call in calls:
            once = partial(self.attempt, f"{name}: {what}:", call, SinkCase(sink))
            self.quick_enough(name, "keep it and send it elsewhere", [self.timed(once) for _ in range(COUNT)], sink)

    def timed(self, call: Callable[[], object]) -> float:
        """Seconds that a call takes."""
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    def quick_enough(self, name: str, cure: str, seconds: Sequence[float], sink: Sink) -> None:
        """Fails where calls took too long."""
        middle, worst = sorted(seconds)[len(seconds) // 2], max(seconds)
        if middle > MEDIAN_S or worst > SLOWEST_S:
            self.fail(
                f"{name}: takes {1e3 * middle:.3g} ms in the middle, {1e3 * worst:.3g} ms at worst of {COUNT} calls, "
                f"allowed are {1e3 * MEDIAN_S:g} and {1e3 * SLOWEST_S:g}; {cure}",
                case=SinkCase(sink),
            )

    def emit(self, sink: Sink, verdict: Verdict) -> None:
        """Emits, and fails where that raises."""
        what = f"a verdict {verdict.status!r} of {verdict.request_id!r}"
        self.attempt(f"emit(): {what} raises", lambda: sink.emit(verdict), SinkCase(sink))

    def deliver(self, case: SinkCase, observations: Sequence[Observation]) -> None:
        """Delivers at once, and fails where that raises."""
        what = f"{len(observations)} observations"
        if len(observations) == 1:
            (one,) = observations
            what = f"a {one.kind} observation {one.verdict.status!r} of {one.request_id!r}"
        self.attempt(f"deliver(): {what} raises", lambda: case.sink.deliver(observations), case)

    def deliver_all(self, case: SinkCase, observations: Sequence[Observation]) -> None:
        """Delivers in batches of the sink's own size."""
        size = max(1, case.sink.batch)
        for start in range(0, len(observations), size):
            self.deliver(case, observations[start : start + size])

    def arrived(self, case: SinkCase, sent: Sequence[Observation], when: str) -> None:
        """Fails where something else has arrived than was sent, once each."""
        assert case.observed is not None  # Listed only then.
        wanted, found = Counter(each.id for each in sent), Counter(case.observed())
        if found != wanted:
            lost, extra = wanted - found, found - wanted
            self.fail(
                f"{when} of {len(sent)} observations {lost.total()} have not arrived and {extra.total()} arrived "
                f"beyond them, first {next(iter(lost or extra))}",
                case=case,
            )


def _says(sink: Sink) -> bool:
    """Whether the sink has a `check` of its own."""
    own = getattr(type(sink).check, "__func__", type(sink).check)
    return own is not Sink.check.__func__  # type: ignore[attr-defined]
