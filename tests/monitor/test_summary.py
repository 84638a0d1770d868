"""A period in numbers and sentences: what is wrong comes first, and silence is never peace."""

from pathlib import Path

import pytest

from sri_sdk.dashboard.findings import Known, findings
from sri_sdk.monitor.summary import summarise
from sri_sdk.observation import SinkState
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
    period = summarise(day, BEGIN_MS, END_MS, now_ms=END_MS)
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
    (guard,) = summarise(day, BEGIN_MS, END_MS, now_ms=END_MS).guards
    assert guard.bundle == BUNDLE and guard.labelled == guard.drawn
    assert guard.rate == pytest.approx(46 / 1150)
    assert guard.low > 0.01
    assert any("is broken" in text for text in urgent(summarise(day, BEGIN_MS, END_MS, now_ms=END_MS)))


@pytest.mark.parametrize(
    "change",
    [{"canary_missed": "clear"}, {"canary_missed": "tap_silent"}, {"drift": "detector"}, {"drift": "traffic:detector"},
     {"scorer": "scorer_unavailable"}, {"canary_every_s": 600.0}, {"sinks": (SinkState("kafka", 10, 7, 1, 2, 0),)}],
    ids=["missed", "blind", "drift", "traffic", "scorer", "stopped", "sink"],
)  # fmt: skip
def test_a_report_says_of_a_monitor_what_the_dashboard_says(day, change) -> None:
    day.pulse(pulse(**change)).result()
    (told,) = findings(Known(END_MS, day.pulses()))
    assert (told.level, f"{told.what} {told.means}") in {
        (each.urgency, each.text) for each in summarise(day, BEGIN_MS, END_MS, now_ms=END_MS).findings
    }


def test_the_worst_of_several_replicas_speaks_and_each_guard_keeps_its_promise(day) -> None:
    day.pulse(pulse(pid=1, canary_missed="clear", bundle="c" * 64)).result()
    day.pulse(pulse(pid=2, started_at=BEGIN_MS + 1)).result()
    period = summarise(day, BEGIN_MS, END_MS, now_ms=END_MS)
    assert any("missed its canary" in text for text in urgent(period))
    assert [guard.promised for guard in period.guards] == [0.01]


@pytest.mark.parametrize("later_s, silent", [(60, False), (61, True), (299, True)])
def test_silence_is_judged_by_when_the_store_heard_last(day, later_s: int, silent: bool) -> None:
    day.pulse(pulse(at=END_MS + 24 * HOUR_MS)).result()
    period = summarise(day, BEGIN_MS, END_MS, now_ms=END_MS + later_s * 1000)
    assert any("Monitor chat is silent" in text for text in urgent(period)) is silent


def test_a_report_of_the_past_says_nothing_of_how_monitors_are_now(day) -> None:
    day.pulse(pulse(canary_missed="clear", drift="detector")).result()
    past = summarise(day, BEGIN_MS, END_MS, now_ms=END_MS + 10 * 60_000)
    assert not any("canary" in each.text or "differently" in each.text for each in past.findings)
    assert not any(name.startswith("Monitor") for name, _ in past.facts)
    assert past.guards[0].promised == 0.01, "what the guard promises is no matter of the time"


def test_the_page_is_one_file_without_ids_and_texts(day, tmp_path: Path) -> None:
    hostile = observation(BEGIN_MS, 9_002, "flagged", reason="score_above_threshold")
    day.observe([hostile])
    day.pulse(pulse(deployment="<script>alert(1)</script>")).result()
    write_period(summarise(day, BEGIN_MS, END_MS, now_ms=END_MS), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "req-9002" not in page and "<script>alert(1)" not in page
    assert "Not monitored never means clear" in page
