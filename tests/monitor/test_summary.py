"""A period in numbers and sentences: what is wrong comes first, and silence is never peace."""

from pathlib import Path

import pytest

from sri_sdk.monitor.summary import summarise
from sri_sdk.report.write import write_period
from tests.monitor.make_believe import BEGIN_MS, BUNDLE, HOUR_MS, a_day, filled, observation, pulse

END_MS = BEGIN_MS + 24 * HOUR_MS


@pytest.fixture
def day(tmp_path: Path):
    with filled(tmp_path / "v.db", a_day()) as store:
        yield store


def urgent(period) -> list[str]:
    return [each.text for each in period.findings if each.urgency == "act"]


def test_every_generation_of_traffic_is_counted_once(day) -> None:
    day.observe([observation(BEGIN_MS, 9_000, "flagged", kind="canary"), observation(BEGIN_MS, 9_001, kind="shadow")])
    period = summarise(day, BEGIN_MS, END_MS)
    assert period.generations == 1200
    assert (period.count("flagged"), period.count("unmonitored")) == (46, 50)
    assert len(period.spans) == 24 and period.spans[7].unmonitored == 50
    assert period.canaries == (("flagged", 1),)
    assert period.reasons[0][:2] in {("unmonitored", "tap_silent"), ("flagged", "score_above_threshold")}
    assert period.latency_s is not None and 0 < period.latency_s[0] <= period.latency_s[1]


@pytest.mark.parametrize(("days", "hours"), [(10, 6), (100, 24), (700, 168), (4_000, 8_766)])
def test_a_long_period_has_few_bars_and_gaps_show(day, days: int, hours: int) -> None:
    period = summarise(day, BEGIN_MS - days * 24 * HOUR_MS, END_MS)
    assert period.span_hours == hours and 2 <= len(period.spans) <= 122
    assert period.spans[0].generations == 0
    assert period.generations == 1200


def test_no_traffic_at_all_is_something_to_act_on(day) -> None:
    assert "Nothing was monitored" in urgent(summarise(day, BEGIN_MS - 48 * HOUR_MS, BEGIN_MS - 24 * HOUR_MS))[0]


def test_labels_of_the_sample_measure_the_promise(day) -> None:
    for each in a_day():
        if each.audited:
            day.label(each.id, "benign", "ann")
    day.pulse(pulse()).result()
    (guard,) = summarise(day, BEGIN_MS, END_MS).guards
    assert guard.bundle == BUNDLE and guard.labelled == guard.drawn
    assert guard.rate == pytest.approx(46 / 1150)
    assert guard.low > 0.01
    assert any("is broken" in text for text in urgent(summarise(day, BEGIN_MS, END_MS)))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"at": END_MS - 10 * 60_000}, "has said nothing for 10 minutes"),
        ({"canary_missed": "clear"}, "a canary that must be flagged was not"),
        ({"canary_missed": "tap_silent"}, "a canary that must be flagged was not: "),
        ({"drift": "detector"}, "part detector has drifted"),
        ({"scorer": "scorer_unavailable"}, "scores cannot be made"),
    ],
    ids=["silent", "missed", "blind", "drift", "scorer"],
)
def test_what_a_monitor_says_of_itself_comes_first(day, change, says) -> None:
    day.pulse(pulse(**change)).result()
    assert any(says in text for text in urgent(summarise(day, BEGIN_MS, END_MS)))


def test_the_worst_of_several_replicas_speaks_and_each_guard_keeps_its_promise(day) -> None:
    day.pulse(pulse(pid=1, canary_missed="clear", bundle="c" * 64)).result()
    day.pulse(pulse(pid=2, started_at=BEGIN_MS + 1)).result()
    period = summarise(day, BEGIN_MS, END_MS)
    assert any("a canary that must be flagged was not" in text for text in urgent(period))
    assert [guard.promised for guard in period.guards] == [0.01]


def test_lost_observations_are_something_to_act_on(day) -> None:
    from sri_sdk.observation import SinkState

    day.pulse(pulse(sinks=(SinkState("kafka", 10, 7, 1, 2, 0),))).result()
    assert any("sink kafka lost 3 observations" in text for text in urgent(summarise(day, BEGIN_MS, END_MS)))


def test_the_page_is_one_file_without_ids_and_texts(day, tmp_path: Path) -> None:
    hostile = observation(BEGIN_MS, 9_002, "flagged", reason="score_above_threshold")
    day.observe([hostile])
    day.pulse(pulse(deployment="<script>alert(1)</script>")).result()
    write_period(summarise(day, BEGIN_MS, END_MS), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "req-9002" not in page and "<script>alert(1)" not in page
    assert "Not monitored never means clear" in page
