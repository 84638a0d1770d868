"""Sinks that send away, behind the spool that tries again: everything arrives once by its id, or is counted."""

import time

import pytest
from sri_plugin_sinks.example_broker import Broker
from sri_plugin_sinks.example_receiver import Receiver, request_ids
from sri_plugin_sinks.kafka import KafkaSink
from sri_plugin_sinks.otlp import OtlpSink, received
from sri_plugin_sinks.webhook import WebhookSink

from sri_sdk.monitor.spool import courier
from sri_sdk.monitor.spool.spool import Spool
from sri_sdk.observation import Observation
from sri_sdk.records import Verdict


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(courier, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(courier, "LONGEST_PAUSE_S", 0.05)


@pytest.fixture
def receiver():
    found = Receiver()
    yield found
    found.close()


def some(count):
    return [Observation(Verdict(f"r{i}", "clear", (), 0.5), 1_000 + i) for i in range(count)]


def arrived(spool):
    """Waits until nothing waits, for at most a minute, which only a broken sink needs."""
    until = time.monotonic() + 60
    while any(state.waiting for state in spool.states()) and time.monotonic() < until:
        time.sleep(0.005)
    (state,) = spool.states()
    return state


def test_a_receiver_that_fails_in_every_way_has_everything_in_the_end(receiver, tmp_path):
    receiver.answers.extend(
        [503, None, 429, 401, (307, {"Location": "http://127.0.0.1:9"}), (503, {"Retry-After": "1"})]
    )
    sink = WebhookSink(WebhookSink.Config(url=receiver.url, batch=10))
    with Spool.open(tmp_path / "spool.db", {"webhook": sink}) as spool:
        spool.put(some(25)).result(60)
        state = arrived(spool)
    assert (state.delivered, state.rejected, state.dropped, state.failing) == (25, 0, 0, None)
    assert request_ids(receiver) == [f"r{i}" for i in range(25)]


def test_what_a_receiver_refuses_is_counted_and_holds_nobody_up(receiver, tmp_path):
    receiver.refuses = lambda body: b'"r7"' in body
    sink = WebhookSink(WebhookSink.Config(url=receiver.url))
    with Spool.open(tmp_path / "spool.db", {"webhook": sink}) as spool:
        spool.put(some(20)).result(60)
        state = arrived(spool)
    assert (state.delivered, state.rejected) == (19, 1)
    assert sorted(request_ids(receiver)) == sorted(f"r{i}" for i in range(20) if i != 7)


def test_what_an_endpoint_that_is_down_has_not_got_is_there_for_the_next_process(receiver, tmp_path):
    file, sent = tmp_path / "spool.db", some(5)
    down = OtlpSink(OtlpSink.Config(url="http://127.0.0.1:9", timeout_s=1))
    with Spool.open(file, {"otlp": down}) as spool:
        spool.put(sent).result(60)
        while spool.states()[0].failing is None:
            time.sleep(0.005)
        assert "Connection refused" in spool.states()[0].failing
        spool.close(1)
    with Spool.open(file, {"otlp": OtlpSink(OtlpSink.Config(url=receiver.url))}) as spool:
        assert arrived(spool).delivered == 5
    assert [found["sri.observation.id"] for _, found in received(receiver.posts)] == [each.id for each in sent]


def test_a_topic_has_everything_that_was_put(tmp_path):
    broker, sent = Broker(), some(250)
    with Spool.open(
        tmp_path / "spool.db", {"kafka": KafkaSink(KafkaSink.Config(brokers=broker.address, topic="t"))}
    ) as spool:
        spool.put(sent).result(60)
        assert arrived(spool).delivered == 250
    assert sorted(each["id"] for each in broker.observations("t")) == sorted(each.id for each in sent)
