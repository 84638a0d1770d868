"""The sink `otlp`: events as OpenTelemetry's conventions have them, and what a collector says of them."""

import sys

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from sri_plugin_sinks.example_receiver import Receiver
from sri_plugin_sinks.http_post import NotTaken
from sri_plugin_sinks.otlp import OtlpSink, received, said_of

import sri_sdk
from sri_sdk.errors import MissingExtra, SinkRejected
from sri_sdk.testing import sink_checks


@pytest.fixture
def collector():
    found = Receiver()
    yield found
    found.close()


@pytest.fixture
def sink_of(collector):
    made = []

    def make(**options):
        made.append(OtlpSink(OtlpSink.Config(**{"url": collector.url, **options})))
        return made[-1]

    yield make
    for sink in made:
        sink.close()


FLAGGED = sri_sdk.Verdict("r1", "flagged", ("score_above_threshold",), 2.5, 1.5, 0.01, bundle="b" * 64)
UNSEEN = sri_sdk.Verdict("r2", "unmonitored", ("tap_silent", "over_budget"))


def observation(verdict, **more):
    return sri_sdk.Observation(verdict, 1_700_000_000_123, id="a" * 32, **more)


@pytest.mark.parametrize("check", sink_checks(OtlpSink.example), ids=str)
def test_it_keeps_the_promises_of_a_sink(check):
    check()


def test_a_verdict_is_an_event_with_the_names_of_the_convention(collector, sink_of):
    sink_of(service="chat").deliver(
        [observation(FLAGGED, model="lab", deployment="eu", consequence="would_withhold", scoring_s=0.25)]
    )
    ((record, found),) = received(collector.posts)
    ((path, headers, body),) = collector.posts
    assert path == "/v1/logs" and headers["content-type"] == "application/x-protobuf"
    assert (record.event_name, record.severity_text, record.time_unix_nano) == (
        "gen_ai.evaluation.result", "WARN", 1_700_000_000_123_000_000,
    )  # fmt: skip
    assert found == {
        "gen_ai.evaluation.name": "sri.jailbreak", "gen_ai.evaluation.score.value": 2.5,
        "gen_ai.evaluation.score.label": "flagged", "gen_ai.evaluation.explanation": "score_above_threshold",
        "gen_ai.response.id": "r1", "gen_ai.request.model": "lab", "sri.observation.id": "a" * 32,
        "sri.kind": "traffic", "sri.consequence": "would_withhold", "sri.deployment": "eu", "sri.rule": "final",
        "sri.bundle": "b" * 64, "sri.threshold": 1.5, "sri.p_value": 0.01, "sri.scoring_seconds": 0.25,
    }  # fmt: skip
    (resource,) = ExportLogsServiceRequest.FromString(body).resource_logs
    assert [(each.key, each.value.string_value) for each in resource.resource.attributes] == [("service.name", "chat")]


def test_the_names_are_those_of_the_published_convention():
    known = {
        value
        for name, value in vars(gen_ai_attributes).items()
        if name.startswith("GEN_AI_") and isinstance(value, str)
    }
    used = {name for name in said_of(observation(FLAGGED)) if name.startswith("gen_ai.")}
    assert used and used <= known


def test_what_nobody_judged_is_an_error_and_no_allowance(collector, sink_of):
    sink_of(guardrail_names=True).deliver([observation(UNSEEN)])
    ((record, found),) = received(collector.posts)
    assert found["error.type"] == "tap_silent" and record.severity_text == "WARN"
    assert "gen_ai.evaluation.score.value" not in found and "gen_ai.security.verdict.type" not in found


@pytest.mark.parametrize(
    ("verdict", "consequence", "said", "done"),
    [
        (FLAGGED, "withheld", "block", "block"),
        (FLAGGED, "would_withhold", "block", "allow"),
        (FLAGGED, "recovered", "block", "modify"),
        (sri_sdk.Verdict("r3", "clear"), "released", "allow", "allow"),
    ],
    ids=lambda each: each if isinstance(each, str) else each.status,
)
def test_names_for_guardrails_tell_verdict_and_deed_apart(verdict, consequence, said, done):
    found = said_of(observation(verdict, consequence=consequence), guardrail_names=True)
    assert (found["gen_ai.security.verdict.type"], found["gen_ai.security.action.type"]) == (said, done)


def test_names_that_are_not_settled_are_left_out_unless_asked_for():
    assert not [name for name in said_of(observation(FLAGGED)) if "security" in name]


def test_no_text_and_no_tenant_leaves_the_machine(collector, sink_of):
    sink_of(guardrail_names=True).deliver(
        [observation(FLAGGED, prompt="secret", response="secret", drafts=("secret",), tenant="secret")]
    )
    assert b"secret" not in collector.posts[0][2]


@pytest.mark.parametrize(("status", "again"), [(503, True), (429, True), (401, True), (400, False)])
def test_only_what_another_try_may_mend_is_kept(collector, sink_of, status, again):
    collector.answers.append(status)
    sent = observation(FLAGGED)
    with pytest.raises(NotTaken if again else SinkRejected) as caught:
        sink_of().deliver([sent])
    assert again or caught.value.ids == {sent.id}


def test_as_many_count_as_rejected_as_the_collector_says(collector, sink_of):
    answer = ExportLogsServiceResponse()
    answer.partial_success.rejected_log_records = 2
    collector.content = answer.SerializeToString()
    sent = [sri_sdk.Observation(FLAGGED, 1) for _ in range(5)]
    with pytest.raises(SinkRejected) as caught:
        sink_of().deliver(sent)
    assert len(caught.value.ids) == 2 and caught.value.ids < {each.id for each in sent}


def test_one_that_the_collector_refuses_and_a_batch_that_is_too_large_cost_no_other(collector, sink_of):
    collector.refuses = lambda body: b"odd" in body or len(body) > 3_000
    sent = [sri_sdk.Observation(sri_sdk.Verdict("odd" if i == 37 else f"r{i}", "clear"), 1) for i in range(100)]
    with pytest.raises(SinkRejected, match="answered 400") as caught:
        sink_of().deliver(sent)
    assert caught.value.ids == {sent[37].id}
    taken = [post for post in collector.posts if not collector.refuses(post[2])]
    assert [found["gen_ai.response.id"] for _, found in received(taken)] == [f"r{i}" for i in range(100) if i != 37]


def test_an_answer_that_cannot_be_read_is_no_refusal(collector, sink_of):
    collector.content = b"<html>fine</html>"
    sink_of().deliver([observation(FLAGGED)])


def test_an_id_that_is_not_text_costs_no_other(collector, sink_of):
    broken = sri_sdk.Observation(sri_sdk.Verdict("half \ud800", "clear"), 1)
    with pytest.raises(SinkRejected) as caught:
        sink_of().deliver([broken, observation(FLAGGED)])
    assert caught.value.ids == {broken.id}
    assert [found["gen_ai.response.id"] for _, found in received(collector.posts)] == ["r1"]


def test_an_address_with_a_path_stays_as_it_is(collector, sink_of):
    sink_of(url=f"{collector.url}/otlp/v1/logs").deliver([observation(FLAGGED)])
    assert collector.posts[0][0] == "/otlp/v1/logs"


def test_a_missing_package_is_named_by_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.proto.collector.logs.v1.logs_service_pb2", None)
    with pytest.raises(MissingExtra, match=r"sri-sdk\[otlp\]"):
        OtlpSink(OtlpSink.Config(url="http://127.0.0.1:9"))
