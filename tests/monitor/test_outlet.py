"""What a monitor shows its sinks: what runs, that it has ended, and how the monitor is."""

import threading
from types import SimpleNamespace

import numpy as np

from sri_sdk.monitor import outlet
from sri_sdk.monitor.board import Board
from sri_sdk.observation import Running

from .conftest import Kept
from .test_scoring import wait_for


def test_a_sink_is_shown_what_runs_and_once_that_nothing_does(open_monitor, kept, monkeypatch) -> None:
    monkeypatch.setattr(outlet, "SHOW_S", 0.01)
    monitor = open_monitor()
    with monitor.board.shows(["a", "b"], "toy", steps=8, cells=8):
        wait_for(lambda: any(kept.shown))
    wait_for(lambda: kept.shown[-1] == ())
    shown = len(kept.shown)
    assert {each.request_id for each in kept.shown[0]} == {"a", "b"} and isinstance(kept.shown[0][0], Running)
    threading.Event().wait(0.2)
    assert len(kept.shown) == shown, "nothing runs, and the sink knows"


def test_a_sink_that_shows_nothing_gets_no_thread_and_asks_for_no_signal_at_every_step(open_monitor) -> None:
    class Plain(Kept):
        show = outlet.Sink.show
        pulse = outlet.Sink.pulse

    monitor = open_monitor(sinks={"plain": Plain()})
    assert not monitor.shows
    assert not any(thread.name == "sri-onlooker-plain" for thread in threading.enumerate())


def test_pulses_come_by_themselves_and_the_last_one_after_the_last_delivery(open_monitor, kept, monkeypatch) -> None:
    monkeypatch.setattr(outlet, "SHOW_S", 0.01)
    monkeypatch.setattr(outlet, "PULSE_S", 0.05)
    monitor = open_monitor()
    wait_for(lambda: len(kept.pulses) >= 3)
    assert kept.pulses[0].deployment == "toy" and kept.pulses[0].generated == 0
    monitor.close()
    ended = len(kept.pulses)
    threading.Event().wait(0.2)
    assert len(kept.pulses) == ended


def test_what_cannot_be_told_once_is_told_the_next_time(kept, monkeypatch, caplog) -> None:
    monkeypatch.setattr(outlet, "SHOW_S", 0.01)
    monkeypatch.setattr(outlet, "PULSE_S", 0.01)
    looks = iter(range(10**6))

    def breaks_at_first():
        if next(looks) < 4:
            raise IndexError
        return ()

    onlooker = outlet._Onlooker("kept", kept, breaks_at_first, breaks_at_first)
    wait_for(lambda: len(kept.pulses) >= 2)
    onlooker.end()
    onlooker.join(10)
    assert "sink kept: what the monitor says of itself failed 1 times, last IndexError" in caplog.text


def test_rows_that_the_model_was_not_given_and_names_that_are_no_text_cost_the_others_nothing() -> None:
    live = SimpleNamespace(sigma=np.full((1, 4, 1), 0.5, np.float32), lengths=np.array([2]))
    board = Board()
    with board.shows(["a", "b\ud800", "c"], "toy", steps=4, cells=4) as entry:
        entry.watches(SimpleNamespace(live=live))
        entry.step(1, ["\udfff", "x", "y"])
        first, last = board.running()
    assert (first.request_id, first.sigma, first.draft) == ("a", (0.5, 0.5), None)
    assert (last.request_id, last.sigma, last.draft) == ("c", (), "y")
