"""The checks of a sink: a good one passes, and each broken one is caught by exactly its check."""

import re
import time

import pytest

from sri_sdk.sink import Sink
from sri_sdk.testing import SinkCase, run_checks, sink_checks


class ListSink(Sink):
    """Delivers to a list when it is closed; with no list, its endpoint is down."""

    def __init__(self, arrived):
        super().__init__()
        self.arrived, self.queue = arrived, []

    def emit(self, verdict):
        self.queue.append(verdict.request_id)

    def close(self):
        if self.arrived is not None:
            self.arrived += self.queue
        self.queue = []


def case_of(sink_class):
    def make():
        arrived = []
        return SinkCase(sink_class(arrived), delivered=lambda: arrived, dead=lambda: sink_class(None))

    return make


@pytest.mark.parametrize("check", sink_checks(case_of(ListSink)), ids=str)
def test_a_sink_that_queues(check):
    check()


class NeedsAScore(ListSink):
    def emit(self, verdict):
        super().emit(verdict)
        if verdict.status == "not_sampled":
            raise TypeError("float() argument must not be None")


class Waits(ListSink):
    def emit(self, verdict):
        super().emit(verdict)
        if self.arrived is not None:
            time.sleep(0.012)


class ClosesOnce(ListSink):
    def close(self):
        super().close()
        del self.queue


class LosesTheLast(ListSink):
    def close(self):
        self.queue = self.queue[:-1]
        super().close()


class DeliversTwice(ListSink):
    def close(self):
        self.queue += self.queue[:1]
        super().close()


class RaisesWhenDead(ListSink):
    def emit(self, verdict):
        super().emit(verdict)
        if self.arrived is None:
            raise ConnectionRefusedError("port 9")


class WaitsWhenDead(ListSink):
    def emit(self, verdict):
        super().emit(verdict)
        if self.arrived is None:
            time.sleep(0.012)


EVERY = {
    "accepts-verdicts", "returns-at-once", "close-is-idempotent", "keeps-what-it-acknowledged",
    "a-dead-endpoint-does-not-raise",
}  # fmt: skip


@pytest.mark.parametrize(
    ("sink", "check", "message", "also"),
    [
        # What cannot take every verdict fails wherever all are emitted.
        (NeedsAScore, "accepts-verdicts", "a verdict 'not_sampled' of 'skipped/3' raises TypeError", EVERY),
        (Waits, "returns-at-once", r"takes 1.* ms in the middle, .* allowed are 10 and 500", set()),
        (ClosesOnce, "close-is-idempotent", r"called twice, after 1 verdict: AttributeError", set()),
        (LosesTheLast, "keeps-what-it-acknowledged", "of 50 verdicts 1 have not arrived and 0 .*'flagged-49'", set()),
        (DeliversTwice, "keeps-what-it-acknowledged", "0 have not arrived and 1 arrived beyond them", set()),
        (RaisesWhenDead, "a-dead-endpoint-does-not-raise", "raises ConnectionRefusedError: port 9", set()),
        (WaitsWhenDead, "a-dead-endpoint-does-not-raise", "ms in the middle", set()),
    ],
)
def test_a_broken_sink_is_caught_by_its_check_and_no_other(sink, check, message, also):
    wrong = {x.name: x for x in run_checks(sink_checks(case_of(sink))) if x.state != "passed"}
    assert wrong[check].state == "failed" and re.search(message, wrong[check].message), wrong[check].message
    assert wrong.keys() <= {check, *also}


def test_what_a_case_does_not_offer_is_not_listed():
    assert {check.name for check in sink_checks(case_of(ListSink))} == EVERY
    plain = {check.name for check in sink_checks(lambda: ListSink([]))}
    assert plain == {"accepts-verdicts", "returns-at-once", "close-is-idempotent"}
