"""Clear traffic against the calibration: found as seldom as stated, soon where it changes, and bounded work."""

import numpy as np
import pytest

from sri_sdk.monitor import drift
from sri_sdk.monitor.drift import TrafficWatch
from sri_sdk.observation import Observation
from sri_sdk.records import PartVerdict, Verdict


class Clock:
    """A second between two looks at it, so that no score is left out for want of time."""

    def __init__(self, tick=1.0):
        self.now, self.tick = 0.0, tick

    def __call__(self):
        self.now += self.tick
        return self.now


def seen(score, status="clear", kind="traffic", parts=()):
    return Observation(Verdict("r", status, score=score, parts=parts), 1, kind=kind)


def watch(scores, *, threshold=np.inf, rate=0.05, look=1, tick=1.0):
    clear = scores[scores <= threshold]
    return TrafficWatch({"detector": clear}, rate=rate, window=20, look=look, clock=Clock(tick))


def test_traffic_that_is_as_the_calibration_is_seldom_called_changed_though_what_is_flagged_is_left_out():
    """The threshold cuts both sides alike: without that, every stream would be found."""
    found = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        made = watch(rng.normal(size=50), threshold=0.5, rate=0.1)
        for score in rng.normal(size=45):
            made.add(seen(float(score), "clear" if score <= 0.5 else "flagged"))
        found += made.changed is not None
    assert found <= 8


def test_traffic_that_scores_otherwise_is_found_and_named():
    rng = np.random.default_rng(1)
    made = watch(rng.normal(size=199))
    for score in rng.normal(1.5, size=100):
        made.add(seen(float(score)))
    assert made.changed == "detector" and made.findings[0].higher > 0.7


def test_only_clear_traffic_counts():
    made = watch(np.arange(50.0))
    for observation in (
        seen(1.0, kind="canary"), seen(1.0, kind="shadow"), seen(99.0, "flagged"), seen(None, "unmonitored"),
        seen(None, "not_sampled"),
    ):  # fmt: skip
        made.add(observation)
    assert made.compared == 0
    made.add(seen(1.0))
    assert made.compared == 1


def test_a_part_that_is_clear_counts_where_another_one_alarms():
    made = TrafficWatch({"a": np.arange(50.0), "b": np.arange(50.0)}, rate=0.05, window=20, clock=Clock())
    parts = (PartVerdict("a", "flagged", 70.0, 60.0, 0.01, "x"), PartVerdict("b", "clear", 3.0, 60.0, 0.5, None))
    made.add(seen(70.0, "flagged", parts=parts))
    a, b = made.findings
    assert a.higher is None and b.higher == 0.0


def test_a_later_look_needs_more_evidence_and_begins_with_the_calibration_alone(monkeypatch):
    monkeypatch.setattr(drift, "LOOK", 30)
    rng = np.random.default_rng(2)
    made = watch(rng.normal(size=99))
    enough = made.findings[0].enough
    for score in rng.normal(size=35):
        made.add(seen(float(score)))
    assert (made.look, made.compared) == (2, 5)
    assert np.isclose(made.findings[0].enough - enough, np.log(2 * 3 / (1 * 2)))
    assert sum(1 / (j * (j + 1)) for j in range(1, 10**5)) < 1, "all looks together spend the rate"


def test_no_more_is_compared_than_there_is_time_for():
    made = watch(np.arange(99.0), tick=0.001)
    for score in np.tile(np.arange(99.0), 10):
        made.add(seen(float(score)))
    assert made.compared <= drift.BURST + 990 * 0.001 * drift.PER_SECOND


@pytest.mark.parametrize("score", [float("nan"), None])
def test_a_score_that_is_none_is_left_out(score):
    made = watch(np.arange(50.0))
    made.add(seen(score))
    assert made.compared == 0
