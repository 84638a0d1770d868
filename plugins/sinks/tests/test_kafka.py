"""The sink `kafka`, against librdkafka's mock broker: it imitates the protocol, and is no cluster."""

import os
import sys

import pytest
from sri_plugin_sinks.example_broker import Broker
from sri_plugin_sinks.kafka import KafkaSink

import sri_sdk
from sri_sdk.errors import ConfigError, MissingExtra, SinkRejected, SriError
from sri_sdk.options import parse as parse_options
from sri_sdk.strict_json import parse
from sri_sdk.testing import sink_checks


@pytest.fixture(scope="module")
def broker():
    return Broker()


def sink_of(broker, topic, **options):
    return KafkaSink(KafkaSink.Config(**{"brokers": broker.address, "topic": topic, **options}))


def observations(count, **more):
    return [sri_sdk.Observation(sri_sdk.Verdict(f"r{i}", "clear", (), 0.5), 1_000 + i, **more) for i in range(count)]


@pytest.mark.parametrize("check", sink_checks(KafkaSink.example), ids=str)
def test_it_keeps_the_promises_of_a_sink(check):
    check()


def test_a_message_is_an_observation_by_its_request(broker):
    sent = observations(20)
    sink_of(broker, "whole").deliver(sent)
    found = {dict(each.headers())["id"].decode(): each for each in broker.messages("whole")}
    assert found.keys() == {each.id for each in sent}
    for each in sent:
        message = found[each.id]
        assert message.key().decode() == each.request_id and parse(message.value()) == each.to_dict()
        assert dict(message.headers())["content-type"] == b"application/json"


def test_all_about_one_request_is_in_one_partition_and_in_order(broker):
    sink = sink_of(broker, "ordered")
    sent = [sri_sdk.Observation(sri_sdk.Verdict("same", "clear"), i) for i in range(10)]
    for each in sent:
        sink.deliver([each, *observations(3)])
    found = [each for each in broker.messages("ordered") if each.key() == b"same"]
    assert len({each.partition() for each in found}) == 1
    assert [dict(each.headers())["id"].decode() for each in found] == [each.id for each in sent]


def test_texts_stay_here_unless_they_are_asked_for(broker):
    told = observations(1, prompt="secret", drafts=("secret",))
    sink_of(broker, "quiet").deliver(told)
    sink_of(broker, "told", texts=True).deliver(told)
    assert b"secret" not in broker.messages("quiet")[0].value() and b"secret" in broker.messages("told")[0].value()


def test_one_that_is_too_large_costs_no_other(broker):
    large = sri_sdk.Observation(sri_sdk.Verdict("large", "clear"), 1, prompt="x" * 2_000_000)
    with pytest.raises(SinkRejected) as caught:
        sink_of(broker, "large", texts=True).deliver([*observations(2), large])
    assert caught.value.ids == {large.id} and "too large" in caught.value.why
    assert sorted(each["verdict"]["request_id"] for each in broker.observations("large")) == ["r0", "r1"]


def test_one_that_is_no_json_costs_no_other(broker):
    broken = sri_sdk.Observation(sri_sdk.Verdict("half \ud800", "clear"), 1)
    with pytest.raises(SinkRejected) as caught:
        sink_of(broker, "broken").deliver([broken, *observations(1)])
    assert caught.value.ids == {broken.id} and len(broker.messages("broken")) == 1


def test_a_cluster_that_is_down_is_told_with_its_cause():
    sink = KafkaSink(KafkaSink.Config(brokers="127.0.0.1:9", topic="down", timeout_s=1))
    with pytest.raises(SriError, match=r"3 of 3 not acknowledged: _MSG_TIMED_OUT, .*Connection refused"):
        sink.deliver(observations(3))


def test_a_cluster_that_goes_away_leaves_nothing_unsaid():
    lost = Broker()
    # Long enough for the first message of an idempotent producer, which asks the cluster for an id before.
    sink = sink_of(lost, "away", timeout_s=3)
    sink.deliver(observations(1))
    del lost
    with pytest.raises(SriError, match=r"2 of 2 not acknowledged: .+"):
        sink.deliver(observations(2))


def test_no_setting_weakens_the_promise():
    sink = KafkaSink(KafkaSink.Config(brokers="127.0.0.1:9", topic="t", properties={"client.id": "eu"}))
    assert sink._settings["acks"] == "all" and sink._settings["enable.idempotence"] == "true"
    assert sink._settings["client.id"] == "eu"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"properties": {"acks": "0"}}, "'acks' is not allowed; allowed:"),
        ({"properties": {"plugin.library.paths": "x.so"}}, "not allowed"),
        ({"properties": {"sasl.kerberos.kinit.cmd": "sh"}}, "not allowed"),
        ({"properties": {"sasl.password": "hunter2"}}, "is a secret; write it into properties_file"),
        ({"properties": {"security.protocol": "hunter2"}}, "security.protocol cannot be used"),
        ({"topic": "a b"}, "topic"),
        ({"properties_file": "/nowhere/file"}, "No such file"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_what_cannot_work_is_refused_before_anything_runs(options, why):
    with pytest.raises(ConfigError, match=why) as caught:
        KafkaSink(parse_options(KafkaSink.Config, {"brokers": "h:1", "topic": "t", **options}, subject="sink kafka"))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("line", ["hunter2", "=hunter2", "acks=hunter2", "security.protocol=hunter2"])
def test_a_file_of_properties_is_read_as_strictly_and_not_shown(tmp_path, line):
    file = tmp_path / "kafka.properties"
    file.write_text(f"# of the cluster\nsasl.username = sri\n{line}\n")
    with pytest.raises(ConfigError) as caught:
        KafkaSink(KafkaSink.Config(brokers="h:1", topic="t", properties_file=file))
    assert "hunter2" not in str(caught.value)


def test_a_password_comes_from_a_file(tmp_path):
    file = tmp_path / "kafka.properties"
    file.write_text(
        "security.protocol = SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\nsasl.username=sri\nsasl.password=a=b c\n"
    )
    sink = KafkaSink(KafkaSink.Config(brokers="127.0.0.1:9", topic="t", properties_file=file))
    assert sink._settings["sasl.password"] == "a=b c"


def test_a_producer_is_not_carried_into_a_fork():
    sink = KafkaSink(KafkaSink.Config(brokers="127.0.0.1:9", topic="t"))
    sink._made_in = os.getpid() + 1
    with pytest.raises(SriError, match="before this process was forked"):
        sink.deliver(observations(1))


def test_a_missing_package_is_named_by_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(MissingExtra, match=r"sri-sdk\[kafka\]"):
        KafkaSink(KafkaSink.Config(brokers="h:1", topic="t"))


def test_a_check_asks_for_the_topic_and_does_not_make_it(broker):
    def check(topic):
        return KafkaSink.check(KafkaSink.Config(brokers=broker.address, topic=topic), 10.0)

    sink_of(broker, "there").deliver(observations(1))
    assert check("there") == "the cluster answers, and has the topic there"
    for _ in range(2):
        assert "has no topic missing: make it" in check("missing")
    with pytest.raises(SriError, match=r"kafka 127\.0\.0\.1:9: no broker answers"):
        KafkaSink.check(KafkaSink.Config(brokers="127.0.0.1:9", topic="there"), 1.0)
