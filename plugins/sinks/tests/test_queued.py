"""What sinks with a slow other side share: nobody waits for them, and what is given up is counted."""

import subprocess
import sys
import threading
from itertools import chain

from sri_plugin_sinks import queued
from sri_plugin_sinks.queued import QueuedSink

import sri_sdk
from sri_sdk.errors import SinkRejected


class Slow(QueuedSink):
    """Delivers once it may, and fails as often as told."""

    batch = 4

    def __init__(self):
        super().__init__()
        self.free, self.asked = threading.Event(), threading.Event()
        self.failures, self.batches, self.refused = 0, [], ()

    def deliver(self, observations):
        self.asked.set()
        self.free.wait(30)
        if self.failures:
            self.failures -= 1
            raise OSError("down")
        self.batches.append([each.request_id for each in observations])
        if found := {each.id for each in observations if each.request_id in self.refused}:
            raise SinkRejected(found, "not ours")


def emit(sink, *ids):
    for name in ids:
        sink.emit(sri_sdk.Verdict(name, "clear"))


def test_what_waits_goes_in_batches_and_in_order():
    sink = Slow()
    emit(sink, "a")
    assert sink.asked.wait(20)
    emit(sink, *"bcdefg")
    sink.free.set()
    sink.close()
    assert sink.batches == [["a"], list("bcde"), list("fg")] and sink.lost == 0


def test_a_batch_that_fails_is_tried_again(monkeypatch):
    monkeypatch.setattr(queued, "FIRST_REST_S", 0.001)
    sink = Slow()
    sink.failures = 3
    sink.free.set()
    emit(sink, "a")
    while not sink.batches:
        assert sink._thread is not None
        threading.Event().wait(0.005)
    sink.close()
    assert sink.batches == [["a"]] and sink.lost == 0


def test_what_is_refused_is_counted_and_not_tried_again(caplog):
    sink = Slow()
    sink.refused = ("b",)
    sink.free.set()
    emit(sink, "a", "b", "c")
    sink.close()
    assert sorted(chain(*sink.batches)) == ["a", "b", "c"] and sink.lost == 1
    assert "not ours" in caplog.text


def test_the_queue_is_bounded(monkeypatch, caplog):
    monkeypatch.setattr(queued, "MOST_WAITING", 2)
    sink = Slow()
    emit(sink, *"abcde")
    sink.free.set()
    sink.close()
    emit(sink, "f")
    assert list(chain(*sink.batches)) == ["a", "b"] and sink.lost == 4
    assert "2 are waiting" in caplog.text


def test_closing_waits_no_longer_than_it_says_and_counts_what_is_left(monkeypatch):
    monkeypatch.setattr(queued, "CLOSE_S", 0.05)
    sink = Slow()
    emit(sink, "a", "b")
    sink.close()
    sink.free.set()
    assert sink.lost == 2


def test_two_verdicts_of_one_moment_are_two(monkeypatch):
    monkeypatch.setattr(queued.time, "time_ns", lambda: 7_000_000)
    sink, found = Slow(), []
    sink.deliver = lambda observations: found.extend(observations)
    emit(sink, "a", "a")
    sink.close()
    assert len({each.id for each in found}) == 2 and {each.at for each in found} == {7}


FORK = """
import os, threading
import sri_sdk
from sri_plugin_sinks.queued import QueuedSink

class Slow(QueuedSink):
    asked, free, got = threading.Event(), threading.Event(), []
    def deliver(self, observations):
        self.asked.set()
        self.free.wait(30)
        self.got += [each.request_id for each in observations]

sink = Slow()
sink.emit(sri_sdk.Verdict("a", "clear"))
sink.asked.wait(30)
with sink._changed:  # As if another thread had it.
    child = os.fork()
    if child == 0:
        sink.free.set()
        sink.emit(sri_sdk.Verdict("b", "clear"))
        sink.close()
        os._exit(0 if sink.got == ["b"] else 1)
assert os.waitpid(child, 0)[1] == 0
sink.free.set()
sink.close()
assert sink.got == ["a"]
"""


def test_a_forked_child_begins_anew():
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
