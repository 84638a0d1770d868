"""What goes wrong around a monitor costs what it must, is counted, and harms no generation.

The scorer that dies is in test_scoring.py, the reload that is wrong in test_monitor.py, and the spool's own faults in
spool/. SRI_KILLS=20 kills the whole monitor so often; a normal run once.
"""

import os
import sqlite3
import threading
import time

import pytest

from sri_sdk.errors import SriError
from sri_sdk.monitor.spool import disk

from .conftest import Kept, asked
from .kills import kill

KILLS = int(os.environ.get("SRI_KILLS", "1"))


@pytest.mark.timeout(180 + 60 * KILLS)
def test_a_killed_monitor_loses_nothing_acknowledged_and_stores_nothing_twice(write_monitor, tmp_path) -> None:
    store = f"sqlite:///{tmp_path}/verdicts.db"
    file = write_monitor(requests={"from": "stdin"}, sinks=[{"name": "sql", "options": {"url": store}}])
    found = kill(file, store, KILLS, longest=1.0, here=KILLS == 1)
    assert found.kills == KILLS and len(found.acknowledged) > KILLS
    assert not found.lost and not found.twice


def test_a_sink_that_hangs_costs_no_generation_and_no_neighbour(open_driver, kept) -> None:
    class Hangs(Kept):
        def deliver(self, observations):
            go.wait(60)
            super().deliver(observations)

        def show(self, running):
            go.wait(60)

        def pulse(self, pulse):
            go.wait(60)

    go, hanging = threading.Event(), Hangs()
    driver, monitor = open_driver(sinks={"kept": kept, "hangs": hanging})
    try:
        answers: list = []
        for start in range(0, 16, 4):
            driver.generate(asked(4, start, answers))
        assert [each.recorded.result(20) for each in answers] == [None] * 16, "on disk, whoever hangs"
        until = time.monotonic() + 30
        while len(kept.observations) < 16 and time.monotonic() < until:
            time.sleep(0.02)
        assert len(kept.observations) == 16 and not hanging.observations
        states = {each.sink: each for each in monitor.pulse.sinks}
        assert states["hangs"].waiting == 16 and states["kept"].delivered == 16
    finally:
        go.set()
    assert monitor.flush(30) and len(hanging.observations) == 16


def test_a_full_disk_costs_observations_and_no_generation_and_is_counted(open_driver, kept, monkeypatch) -> None:
    driver, monitor = open_driver()
    full, insert = [True], disk.insert

    def refuses(*given):
        if full[0]:
            err = sqlite3.OperationalError("database or disk is full")
            err.sqlite_errorcode = 13
            raise err
        insert(*given)

    monkeypatch.setattr(disk, "insert", refuses)
    answers: list = []
    driver.generate(asked(4, 0, answers))
    assert all(each.response for each in answers)
    for each in answers:
        with pytest.raises(SriError):
            each.recorded.result(20)
    (sink,) = monitor.pulse.sinks
    assert sink.dropped == 4 and sink.failing and "full" in sink.failing
    full[0] = False
    driver.generate(asked(4, 4, answers))
    assert answers[-1].recorded.result(20) is None and monitor.flush(20)
    (sink,) = monitor.pulse.sinks
    assert (sink.accepted, sink.delivered, sink.dropped, sink.failing) == (8, 4, 4, None)
    assert monitor.balance.generated == 8 and monitor.balance.even


def test_a_clock_that_is_set_back_loses_nothing(open_driver, kept, monkeypatch) -> None:
    driver, monitor = open_driver()
    real = time.time
    driver.generate(asked(2))
    monkeypatch.setattr(time, "time", lambda: real() - 86_400)
    driver.generate(asked(2, 2))
    assert monitor.flush(20) and len(kept.observations) == 4
    assert kept.observations[3].at < kept.observations[0].at, "the time is as the clock says, which may be wrong"
    assert monitor.balance.generated == 4 and monitor.pulse.at < monitor.pulse.started_at


def test_a_sink_that_cannot_be_shown_anything_gets_its_observations(open_driver) -> None:
    class Broken(Kept):
        def show(self, running):
            raise SystemExit

        def pulse(self, pulse):
            raise RuntimeError

    broken = Broken()
    driver, monitor = open_driver(sinks={"broken": broken})
    driver.generate(asked(2))
    assert monitor.flush(20) and len(broken.observations) == 2
