"""The sink `prometheus`: every number is what it says, and no series grows with requests."""

import socket
import sys
import threading
import urllib.request
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sri_plugin_sinks import monitor_numbers
from sri_plugin_sinks.prometheus import PrometheusSink

import sri_sdk
from sri_sdk.errors import ConfigError, MissingExtra
from sri_sdk.options import parse as parse_options
from sri_sdk.testing import sink_checks

PULSE = sri_sdk.Pulse(
    "chat", 1_700_000_005_000, 1_700_000_000_000, 7, "observe", "lab", "b" * 64, 0.01, 10, 5, 2, 1, 2, 3,
    sinks=(sri_sdk.SinkState("sql", 9, 5, 1, 2, 1, failing="down"), sri_sdk.SinkState("jsonl", 9, 9, 0, 0, 0)),
)  # fmt: skip
FLAGGED = sri_sdk.Verdict("r1", "flagged", ("score_above_threshold",), 2.5, 1.5, 0.01, bundle="b" * 64)


@pytest.fixture
def sink(tmp_path):
    made = PrometheusSink(PrometheusSink.Config(file=tmp_path / "sri.prom"))
    yield made
    made.close()


def samples(text, name, **labels):
    """Samples of a metric that have these labels."""
    return [
        sample
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == f"sri_monitor_{name}" and labels.items() <= sample.labels.items()
    ]


def number(text, name, **labels):
    """The value of the one sample that has these labels."""
    (sample,) = samples(text, name, **labels)
    return sample.value


def observation(verdict=FLAGGED, **more):
    return sri_sdk.Observation(verdict, 1, deployment="chat", **more)


@pytest.mark.parametrize("check", sink_checks(PrometheusSink.example), ids=str)
def test_it_keeps_the_promises_of_a_sink(check):
    check()


def flagged(text, **labels):
    return number(text, "verdicts_total", bundle="b" * 12, kind="traffic", status="flagged", **labels)


def test_verdicts_are_counted_by_what_they_are(sink):
    sink.pulse(PULSE)
    sink.deliver([observation(consequence="would_withhold", audited=True, scoring_s=0.02, generation_s=400.0)])
    text = sink.text()
    assert flagged(text, deployment="chat") == 1
    assert number(text, "consequences_total", kind="traffic", consequence="would_withhold") == 1
    assert number(text, "reasons_total", kind="traffic", status="flagged", reason="score_above_threshold") == 1
    assert number(text, "audit_drawn_total", status="flagged") == 1
    assert number(text, "scoring_seconds_bucket", le="0.01") == 0
    assert number(text, "scoring_seconds_bucket", le="0.025") == 1
    assert number(text, "generation_seconds_bucket", le="300.0") == 0
    assert number(text, "generation_seconds_bucket", le="+Inf") == 1
    assert number(text, "generation_seconds_sum", deployment="chat") == 400


def test_a_series_begins_at_0_before_anything_happens(sink):
    sink.pulse(PULSE)
    begun = samples(sink.text(), "verdicts_total")
    assert len(begun) == 12 and {each.value for each in begun} == {0.0}
    sink.deliver([observation()])
    sink.pulse(PULSE)
    assert flagged(sink.text()) == 1


def test_a_pulse_says_how_the_monitor_is(sink):
    sink.pulse(replace(PULSE, canary_missed="tap_silent", drift="sri", reload_failed="line 3", scorer="scorer_late"))
    text = sink.text()
    outcomes = {each.labels["outcome"]: each.value for each in samples(text, "generations_total", deployment="chat")}
    assert outcomes == {"clear": 5, "flagged": 2, "unmonitored": 1, "not_sampled": 2}
    assert number(text, "canaries_total", deployment="chat") == 3
    assert number(text, "info", mode="observe", model="lab", bundle="b" * 12) == 1
    assert number(text, "last_pulse_timestamp_seconds") == 1_700_000_005
    assert number(text, "start_timestamp_seconds") == 1_700_000_000
    assert number(text, "promised_false_alarm_rate") == 0.01
    assert number(text, "canary_missed", reason="tap_silent") == number(text, "drifted", part="sri") == 1
    assert number(text, "reload_failed") == number(text, "scorer_failing", reason="scorer_late") == 1
    for name, value in (("accepted", 9), ("delivered", 5), ("rejected", 1), ("dropped", 2)):
        assert number(text, f"sink_{name}_total", sink="sql") == value
    assert number(text, "sink_waiting", sink="sql") == number(text, "sink_failing", sink="sql") == 1
    assert number(text, "sink_failing", sink="jsonl") == 0


def test_a_pulse_says_when_a_canary_was_flagged_last_where_canaries_are_set(sink):
    sink.pulse(PULSE)
    assert not samples(sink.text(), "last_canary_timestamp_seconds"), "nobody asks"
    sink.pulse(replace(PULSE, canary_every_s=600.0))
    assert number(sink.text(), "last_canary_timestamp_seconds") == 0
    sink.pulse(replace(PULSE, canary_every_s=600.0, canary_at=1_700_000_001_000))
    assert number(sink.text(), "last_canary_timestamp_seconds") == 1_700_000_001
    assert number(sink.text(), "canary_interval_seconds") == 600


def test_what_is_well_again_is_said_too(sink):
    sink.pulse(replace(PULSE, canary_missed="clear"))
    sink.pulse(PULSE)
    (found,) = samples(sink.text(), "canary_missed")
    assert (found.value, found.labels["reason"]) == (0, "")


def test_what_comes_twice_counts_once(sink):
    same = observation()
    for _ in range(3):
        sink.deliver([same])
    assert flagged(sink.text()) == 1


def test_what_is_remembered_is_bounded(sink, monkeypatch):
    monkeypatch.setattr(monitor_numbers, "REMEMBERED", 5)
    sink.deliver([observation() for _ in range(20)])
    assert len(sink._numbers._known) == 5


def test_nothing_grows_with_requests_and_nothing_typed_is_shown(sink, monkeypatch):
    monkeypatch.setattr(monitor_numbers, "MOST_REASONS", 3)
    for i in range(50):
        verdict = sri_sdk.Verdict(f"secret-{i}", "unmonitored", (f"code_{i}", "Secret code"))
        sink.deliver([observation(verdict, tenant="secret", prompt="secret")])
    text = sink.text()
    assert "ecret" not in text
    reasons = {each.labels["reason"]: each.value for each in samples(text, "reasons_total")}
    assert reasons == {"code_0": 1, "code_1": 1, "code_2": 1, "other": 97}


def test_prometheus_asks_on_a_port():
    sink = PrometheusSink(PrometheusSink.Config(port=0))
    try:
        sink.emit(FLAGGED)
        with urllib.request.urlopen(f"http://127.0.0.1:{sink.port}/metrics", timeout=20) as answer:
            text = answer.read().decode()
        assert flagged(text, deployment="") == 1
    finally:
        sink.close()
    with socket.socket() as again:
        assert again.connect_ex(("127.0.0.1", sink.port)) != 0


def test_a_file_is_whole_at_any_time_and_written_at_the_end(sink, tmp_path):
    sink.pulse(PULSE)
    sink.deliver([observation()])
    sink.close()
    text = (tmp_path / "sri.prom").read_text()
    assert flagged(text, deployment="chat") == 1
    assert [each.name for each in tmp_path.iterdir()] == ["sri.prom"]


def test_a_file_that_cannot_be_written_costs_nothing_but_itself(tmp_path, caplog):
    folder = tmp_path / "folder"
    folder.mkdir()
    sink = PrometheusSink(PrometheusSink.Config(file=folder / "sri.prom"))
    folder.rmdir()
    sink.deliver([observation()])
    sink.close()
    assert caplog.text.count("No such file") == 1
    assert flagged(sink.text()) == 1


def test_numbers_are_read_while_others_are_added(sink):
    threads = [threading.Thread(target=lambda: [sink.deliver([observation()]) for _ in range(200)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        sink.text()
    assert flagged(sink.text()) == 800


def test_a_port_that_is_taken_is_refused_before_anything_runs():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigError, match="Choose another port"):
        PrometheusSink(PrometheusSink.Config(port=taken.getsockname()[1]))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({}, "either port or file"),
        ({"port": 9, "file": "a.prom"}, "either port or file"),
        ({"file": "a.txt"}, "must end in .prom"),
        ({"file": "/nowhere/a.prom"}, "no such folder"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_what_cannot_work_is_refused(options, why):
    with pytest.raises(ConfigError, match=why):
        PrometheusSink(parse_options(PrometheusSink.Config, options, subject="sink prometheus"))


def test_a_missing_package_is_named_by_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(MissingExtra, match=r"sri-sdk\[prometheus\]"):
        PrometheusSink(PrometheusSink.Config(port=0))


@pytest.fixture
def asked():
    """A sink on a free port, what scrapes it once, and what closes it in a thread of its own."""
    made = PrometheusSink(PrometheusSink.Config(port=0, last_scrape_s=30.0))

    def scrape():
        with urllib.request.urlopen(f"http://127.0.0.1:{made.port}/metrics", timeout=20) as got:
            return got.read().decode()

    closing = threading.Thread(target=made.close)
    yield made, scrape, closing
    made.config = PrometheusSink.Config(port=0, last_scrape_s=0.0)
    made.close()


def test_the_end_waits_for_prometheus_to_read_that_it_was_on_purpose(asked, caplog):
    caplog.set_level("INFO")
    sink, scrape, closing = asked
    sink.pulse(PULSE)
    assert number(scrape(), "ended", deployment="chat") == 0
    sink.pulse(replace(PULSE, ended=True))
    closing.start()
    closing.join(0.3)
    assert closing.is_alive()
    assert "waiting for a last scrape, at most 30 s" in caplog.text, "not in silence"
    assert number(scrape(), "ended", deployment="chat") == 1
    closing.join(20)
    assert not closing.is_alive()


@pytest.mark.parametrize(("read", "ended"), [(False, True), (True, False)], ids=["nobody-reads", "not-on-purpose"])
def test_nothing_else_waits_for_prometheus(asked, read, ended, caplog):
    caplog.set_level("INFO")
    sink, scrape, closing = asked
    sink.pulse(replace(PULSE, ended=ended))
    if read and not ended:
        scrape()
    closing.start()
    closing.join(20)
    assert not closing.is_alive() and "last scrape" not in caplog.text
