"""From verdicts to sinks: nothing waits for a sink, and no sink costs another its verdicts."""

import logging
import subprocess
import sys
import threading
import time

import pytest

from sri_sdk.emitter import Emitter
from sri_sdk.errors import ConfigError
from sri_sdk.records import Verdict
from sri_sdk.sink import Sink


def verdicts(count):
    return [Verdict(f"r{i}", "clear") for i in range(count)]


class Keeps(Sink):
    def __init__(self):
        super().__init__()
        self.ids, self.closed = [], 0

    def emit(self, verdict):
        self.ids.append(verdict.request_id)

    def close(self):
        self.closed += 1


class Stuck(Keeps):
    """Takes nothing until it is let go."""

    def __init__(self):
        super().__init__()
        self.let_go = threading.Event()

    def emit(self, verdict):
        self.let_go.wait(30)
        super().emit(verdict)


class Breaks(Keeps):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def emit(self, verdict):
        raise self.error


def test_closing_delivers_everything_in_order_and_closes_each_sink_once():
    one, other = Keeps(), Keeps()
    with Emitter([one, other]) as emitter:
        emitter.emit(verdicts(500))
    assert one.ids == other.ids == [f"r{i}" for i in range(500)]
    emitter.close()
    assert (one.closed, other.closed) == (1, 1)


def test_a_sink_that_hangs_delays_neither_the_caller_nor_another_sink():
    stuck, good = Stuck(), Keeps()
    emitter = Emitter([stuck, good], capacity=10)
    start = time.monotonic()
    emitter.emit(verdicts(5))
    assert not emitter.flush(0.2)
    assert time.monotonic() - start < 5
    assert good.ids == [f"r{i}" for i in range(5)] and stuck.ids == []
    stuck.let_go.set()
    assert emitter.flush(10) and stuck.ids == good.ids


def test_what_a_full_queue_cannot_take_is_dropped_and_counted(caplog):
    stuck = Stuck()
    emitter = Emitter([stuck], capacity=3)
    with caplog.at_level(logging.WARNING, "sri_sdk.sinks"):
        emitter.emit(verdicts(9))
    (state,) = emitter.deliveries
    assert state.accepted == 9 and state.dropped >= 5
    assert state.accepted == state.delivered + state.failed + state.dropped + state.waiting
    assert sum("dropped" in r.message for r in caplog.records) == 1
    stuck.let_go.set()
    assert emitter.flush(10)
    (state,) = emitter.deliveries
    assert len(stuck.ids) == state.delivered == 9 - state.dropped


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_a_sink_that_raises_is_counted_and_its_neighbours_go_on(error):
    bad, good = Breaks(error), Keeps()
    emitter = Emitter([bad, good])
    emitter.emit(verdicts(3))
    assert emitter.flush(10)
    assert [state.failed for state in emitter.deliveries] == [3, 0] and len(good.ids) == 3


def test_where_no_thread_can_be_started_the_next_verdict_tries_again(monkeypatch, caplog):
    sink = Keeps()
    emitter = Emitter([sink])

    def refused(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refused)
        emitter.emit(verdicts(1))
    assert "no thread to deliver in" in caplog.text
    emitter.emit(verdicts(2)[1:])
    emitter.close()
    assert sink.ids == ["r0", "r1"]


def test_closing_does_not_wait_for_ever_and_says_what_was_not_delivered(caplog):
    stuck = Stuck()
    emitter = Emitter([stuck])
    emitter.emit(verdicts(4))
    start = time.monotonic()
    with caplog.at_level(logging.WARNING, "sri_sdk.sinks"):
        assert not emitter.close(0.2)
    assert time.monotonic() - start < 5
    assert "4 verdicts not delivered" in caplog.text and stuck.closed == 0
    stuck.let_go.set()


def test_a_verdict_after_the_end_is_counted_as_dropped():
    sink = Keeps()
    emitter = Emitter([sink])
    emitter.close()
    emitter.emit(verdicts(1))
    assert sink.ids == [] and emitter.deliveries[0].dropped == 1


def test_two_emitters_share_the_queue_of_a_sink():
    sink = Keeps()
    Emitter([sink]).emit(verdicts(200))
    assert Emitter([sink]).flush(10)
    assert len(sink.ids) == 200


def test_the_end_of_the_process_waits_for_verdicts_on_their_way(tmp_path):
    code = """
import sys, time
from pathlib import Path
from sri_sdk.emitter import Emitter
from sri_sdk.records import Verdict
from sri_sdk.sink import Sink

class Slow(Sink):
    def emit(self, verdict):
        time.sleep(0.05)
        Path(sys.argv[1], verdict.request_id).touch()

Emitter([Slow()]).emit([Verdict(f"r{i}", "clear") for i in range(10)])
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=60)
    assert len(list(tmp_path.iterdir())) == 10


@pytest.mark.parametrize("sinks", ["jsonl", [object()], Keeps()], ids=["name", "no sink", "not in a list"])
def test_what_is_no_list_of_sinks_is_refused(sinks):
    with pytest.raises(ConfigError, match=r"sinks: .*pass a list of sri_sdk\.Sink objects"):
        Emitter(sinks)


def test_the_same_sink_twice_is_refused():
    sink = Keeps()
    with pytest.raises(ConfigError, match="the same sink twice"):
        Emitter([sink, sink])
