"""Sinks with all the faults that a spool must bear, and what a test needs to look on."""

import threading
import time

import pytest

from sri_sdk.monitor.spool import courier, writer
from sri_sdk.observation import Observation
from sri_sdk.records import Verdict
from sri_sdk.sink import Sink
from tests.serve.store.conftest import postgres  # noqa: F401  # A fixture.


class Keeps(Sink):
    """Keeps the request ids of what it takes, batch by batch; `fails` is what its next calls raise, one each."""

    def __init__(self, *fails):
        super().__init__()
        self.fails, self.handed, self.batches, self.closed = list(fails), [], [], 0

    def emit(self, verdict):
        raise AssertionError("a spool calls deliver()")

    def deliver(self, observations):
        self.handed.append([each.request_id for each in observations])
        if self.fails:
            raise self.fails.pop(0)
        self.batches.append(self.handed[-1])

    def close(self):
        self.closed += 1

    @property
    def ids(self):
        return [each for batch in self.batches for each in batch]


class Hangs(Keeps):
    """Takes nothing until it is let go."""

    def __init__(self):
        super().__init__()
        self.called, self.go = threading.Event(), threading.Event()

    def deliver(self, observations):
        self.called.set()
        self.go.wait()
        super().deliver(observations)


class Down(Keeps):
    """Takes nothing."""

    def deliver(self, observations):
        raise ConnectionRefusedError(111, "Connection refused")


def some(*ids, at=1, **more):
    return [Observation(Verdict(each, "clear"), at, **more) for each in ids]


def counts(spool):
    """Per sink: accepted, delivered, rejected, dropped, waiting."""
    states = spool.states()
    assert all(s.accepted == s.delivered + s.rejected + s.dropped + s.waiting for s in states)
    return {s.sink: (s.accepted, s.delivered, s.rejected, s.dropped, s.waiting) for s in states}


def until(holds):
    """Waits until it does, for at most a minute, which only a broken spool needs."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.002)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "monitor" / "spool.db"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Failures are tried again soon."""
    monkeypatch.setattr(courier, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(writer, "REMOVE_S", 0.01)
    monkeypatch.setattr(writer, "RETRY_S", 0.05)
