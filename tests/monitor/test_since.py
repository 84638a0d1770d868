"""A pulse says since when each trouble has been there."""

from sri_sdk.monitor.since import Since
from sri_sdk.monitor.spool import lane as lanes
from sri_sdk.observation import LOSS_MS

from .conftest import Kept


def test_a_trouble_keeps_its_beginning_until_it_has_gone() -> None:
    since = Since()
    assert since.of({"drift": None, "scorer": "scorer_late"}, 5) == {"drift_since": None, "scorer_since": 5}
    assert since.of({"drift": "sri", "scorer": "scorer_unavailable"}, 7) == {"drift_since": 7, "scorer_since": 5}
    assert since.of({"drift": "sri", "scorer": None}, 8) == {"drift_since": 7, "scorer_since": None}
    assert since.of({"drift": "sri", "scorer": "scorer_late"}, 9)["scorer_since"] == 9


def test_the_pulse_of_a_monitor_says_it(open_monitor, write_monitor) -> None:
    monitor = open_monitor()
    assert monitor.pulse.reload_failed_since is None and monitor.pulse.scoring == "process"
    write_monitor(name="another")
    assert monitor.reload() is not None
    first = monitor.pulse
    assert first.reload_failed_since == first.at
    assert monitor.pulse.reload_failed_since == first.at
    write_monitor()
    assert monitor.reload() is None and monitor.pulse.reload_failed_since is None


def test_losses_begin_anew_once_nothing_was_lost_for_long(monkeypatch) -> None:
    now = [1_000.0]
    monkeypatch.setattr(lanes.time, "time", lambda: now[0])
    lane = lanes.Lane("kept", Kept(), 1)
    lane.drop(0, "nothing")
    assert lane.state(None).dropped_at is None
    lane.drop(2, "the disk is full")
    now[0] += LOSS_MS / 1000
    lane.drop(1, "the disk is full")
    state = lane.state(None)
    assert (state.dropped, state.dropped_since, state.dropped_at) == (3, 1_000_000, 1_000_000 + LOSS_MS)
    now[0] += LOSS_MS / 1000 + 1
    assert state.is_losing(state.dropped_at + LOSS_MS) and not state.is_losing(int(now[0] * 1000))
    lane.drop(1, "the disk is full")
    assert lane.state(None).dropped_since == int(now[0] * 1000) and lane.state(None).rejected_at is None
