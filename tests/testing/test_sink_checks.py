"""The checks of a sink: a good one passes, and each broken one is caught by exactly its check."""

import re
import time
from typing import ClassVar

import pytest

import sri_sdk
from sri_sdk.errors import SinkRejected
from sri_sdk.observation import Observation
from sri_sdk.records import Verdict
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
    "a-dead-endpoint-does-not-raise", "takes-observations", "shows-at-once",
}  # fmt: skip


@pytest.mark.parametrize(
    ("sink", "check", "message", "also"),
    [
        # What cannot take every verdict fails wherever all are emitted.
        (NeedsAScore, "accepts-verdicts", "a verdict 'not_sampled' of 'skipped/3' raises TypeError", EVERY),
        (Waits, "returns-at-once", r"takes [0-9.]+ ms in the middle, .* allowed are 10 and 500", set()),
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
    assert plain == {
        "accepts-verdicts", "returns-at-once", "close-is-idempotent", "takes-observations", "shows-at-once",
    }  # fmt: skip
    assert {check.name for check in sink_checks(store_of(StoreSink))} == EVERY | OF_OBSERVATIONS


REFUSED = Observation(Verdict("never", "clear"), 1)


class StoreSink(ListSink):
    """Stores observations by id as they come; with no list, its endpoint is down."""

    def __init__(self, arrived):
        super().__init__(arrived)
        self.ids, self.said = [], []

    def deliver(self, observations):
        if self.arrived is None:
            raise ConnectionRefusedError("port 9")
        self.keep([each.id for each in observations if each != REFUSED])
        if REFUSED in observations:
            raise SinkRejected([REFUSED.id], "it is refused")

    def keep(self, ids):
        self.ids += [each for each in ids if each not in self.ids]

    def show(self, running):
        self.said = running


def store_of(sink_class):
    def make():
        sink, arrived = sink_class([]), []
        sink.arrived = arrived
        return SinkCase(
            sink, delivered=lambda: arrived, dead=lambda: sink_class(None), observed=lambda: sink.ids, refused=REFUSED
        )

    return make


@pytest.mark.parametrize("check", sink_checks(store_of(StoreSink)), ids=str)
def test_a_sink_that_stores(check):
    check()


class ChokesOnShadows(StoreSink):
    def deliver(self, observations):
        if any(each.kind == "shadow" for each in observations):
            raise KeyError("shadow")
        super().deliver(observations)


class TakesNone(StoreSink):
    batch = 0


class WaitsToShow(StoreSink):
    def show(self, running):
        time.sleep(0.012)


class ShowsNothing(StoreSink):
    def show(self, running):
        self.said = running[0]


class PulsesWhileAlive(StoreSink):
    def pulse(self, pulse):
        if self.arrived is None:
            raise ConnectionRefusedError("port 9")


class StoresLater(StoreSink):
    def keep(self, ids):
        self.queue += ids


class StoresTwice(StoreSink):
    def keep(self, ids):
        self.ids += ids


class RejectsAll(StoreSink):
    def deliver(self, observations):
        super().deliver([each for each in observations if each != REFUSED])
        if REFUSED in observations:
            raise SinkRejected([each.id for each in observations], "one is refused")


class FailsOnOne(StoreSink):
    def deliver(self, observations):
        if REFUSED in observations:
            raise ValueError("never")
        super().deliver(observations)


class SaysNothing(StoreSink):
    def deliver(self, observations):
        super().deliver([each for each in observations if each != REFUSED])


class RejectsAndForgets(StoreSink):
    def deliver(self, observations):
        if REFUSED in observations:
            raise SinkRejected([REFUSED.id], "it is refused")
        super().deliver(observations)


class SwallowsWhenDead(StoreSink):
    def deliver(self, observations):
        if self.arrived is not None:
            super().deliver(observations)


class GivesUpWhenDead(StoreSink):
    def deliver(self, observations):
        if self.arrived is None:
            raise SinkRejected([each.id for each in observations], "the endpoint is down")
        super().deliver(observations)


OF_OBSERVATIONS = {
    "safe-when-deliver-returns", "counts-redelivery-once", "names-what-it-rejects",
    "a-dead-endpoint-acknowledges-nothing",
}  # fmt: skip


@pytest.mark.parametrize(
    ("sink", "check", "message", "also"),
    [
        (ChokesOnShadows, "takes-observations", "a shadow observation 'unmonitored' of .* raises KeyError", set()),
        (TakesNone, "takes-observations", "batch: is 0, at least 1", {"names-what-it-rejects"}),
        (WaitsToShow, "shows-at-once", r"show\(\): takes [0-9.]+ ms in the middle, .* allowed are 10 and 500", set()),
        (ShowsNothing, "shows-at-once", r"show\(\): no generations: IndexError", set()),
        (PulsesWhileAlive, "shows-at-once", r"pulse\(\): Pulse\(.*ConnectionRefusedError: port 9", set()),
        (StoresLater, "safe-when-deliver-returns", "of 50 observations 50 have not arrived", OF_OBSERVATIONS),
        (StoresTwice, "counts-redelivery-once", "of 50 observations 0 have not arrived and 25 arrived beyond", set()),
        (RejectsAll, "names-what-it-rejects", r"rejected \[.*\] of a batch of 5, of which exactly", set()),
        (FailsOnOne, "names-what-it-rejects", "ValueError where one of 5 can never be taken", set()),
        (SaysNothing, "names-what-it-rejects", "returned although one observation can never be taken", set()),
        (RejectsAndForgets, "names-what-it-rejects", "rejected one, but of 4 observations 4 have not arrived", set()),
        (SwallowsWhenDead, "a-dead-endpoint-acknowledges-nothing", "returned, as if the observations were", set()),
        (GivesUpWhenDead, "a-dead-endpoint-acknowledges-nothing", "gives observations up instead of failing", set()),
    ],
)
def test_a_sink_that_breaks_a_promise_to_monitors_is_caught_by_its_check(sink, check, message, also):
    wrong = {x.name: x for x in run_checks(sink_checks(store_of(sink))) if x.state != "passed"}
    assert wrong[check].state == "failed" and re.search(message, wrong[check].message), wrong[check].message
    assert wrong.keys() <= {check, *also}


class Checked(StoreSink):
    """Says whether it could deliver without being opened."""

    class Config(sri_sdk.Config):
        alive: bool = True

    opened: ClassVar[list[str]] = []

    def __init__(self, arrived):
        super().__init__(arrived)
        self.config = self.Config(alive=arrived is not None)
        type(self).opened = self.ids

    @classmethod
    def check(cls, config, timeout_s):
        if not config.alive:
            raise ConnectionRefusedError("port 9")
        return cls.found()

    @classmethod
    def found(cls):
        return "it answers"


OF_CHECKS = {"checks-without-opening", "check-finds-a-dead-endpoint"}


@pytest.mark.parametrize("check", sink_checks(store_of(Checked)), ids=str)
def test_a_sink_that_can_be_checked(check):
    check()


def test_only_a_sink_that_can_be_checked_is_checked():
    assert {check.name for check in sink_checks(store_of(Checked))} == EVERY | OF_OBSERVATIONS | OF_CHECKS


class SaysTrue(Checked):
    @classmethod
    def found(cls):
        return True


class SendsOne(Checked):
    @classmethod
    def found(cls):
        cls.opened.append("one to try it")
        return "it answers"


class OnlyWhereNobodyElseIs(Checked):
    @classmethod
    def found(cls):
        raise OSError("the port is in use")


class AlwaysWell(Checked):
    @classmethod
    def check(cls, config, timeout_s):
        return cls.found()


@pytest.mark.parametrize(
    ("sink", "check", "message"),
    [
        (SaysTrue, "checks-without-opening", "returned True, must be None or a few words"),
        (
            SendsOne,
            "checks-without-opening",
            r"check\(\): was called, and then of 1 observations 0 have not arrived and 1",
        ),
        (OnlyWhereNobodyElseIs, "checks-without-opening", "of a sink that is open and works: OSError"),
        (AlwaysWell, "check-finds-a-dead-endpoint", "returned 'it answers', as if it could deliver"),
    ],
)
def test_a_sink_whose_check_is_of_no_use_is_caught(sink, check, message):
    wrong = {x.name: x for x in run_checks(sink_checks(store_of(sink))) if x.state != "passed"}
    assert wrong.keys() == {check} and re.search(message, wrong[check].message), wrong
