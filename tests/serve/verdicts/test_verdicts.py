"""Verdicts over HTTP: posted, looked up, followed, erased; and what is refused."""

from dataclasses import replace
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as some

from sri_sdk.records import PartVerdict, Verdict
from sri_sdk.serve.store.store import VerdictStore
from tests.serve.store.conftest import FOREVER, verdict
from tests.serve.verdicts.conftest import Service, posted


def test_a_posted_verdict_is_looked_up_as_it_was(service):
    part = PartVerdict("map", "flagged", 1.5, 1.0, 0.01, "request_harmful")
    sent = verdict("a", "flagged", reasons=("score_above_threshold",), schema=2, parts=(part,), ended="complying")
    assert service("POST", "/v1/verdicts", posted(sent, source="gpu-1")).json == {"stored": 1, "known": 0}
    found = service("GET", "/v1/verdicts/a")
    assert found.status == 200 and found.json["verdict"] == sent.to_dict()
    assert (found.json["id"], found.json["verdicts"], found.json["source"]) == ("a", 1, "gpu-1")


def test_a_verdict_that_is_posted_again_is_known(service):
    service("POST", "/v1/verdicts", posted(verdict("a")))
    assert service("POST", "/v1/verdicts", posted(verdict("a"), verdict("b"))).json == {"stored": 1, "known": 1}
    assert service("POST", "/v1/verdicts", posted()).json == {"stored": 0, "known": 0}


def test_an_unknown_id_reads_as_unmonitored(service):
    found = service("GET", "/v1/verdicts/nobody?wait_ms=1")
    assert found.status == 404
    assert found.json["verdict"] == {"request_id": "nobody", "status": "unmonitored", "reasons": ["no_verdict"]}


def test_the_most_severe_verdict_is_answered_with_how_many_there_are(service):
    service("POST", "/v1/verdicts", posted(verdict("a"), verdict("a", "flagged"), verdict("a", "unmonitored")))
    found = service("GET", "/v1/verdicts/a").json
    assert (found["verdict"]["status"], found["verdicts"]) == ("flagged", 3)


@pytest.mark.parametrize("name", ["a/b", "é 𝄞", "..", "%", "'; DROP TABLE sri_verdicts; --", "x" * 512])
def test_hostile_ids_are_only_ids(service, name):
    service("POST", "/v1/verdicts", posted(verdict(name), verdict("other")))
    path = f"/v1/verdicts/{quote(name, safe='')}"
    assert service("GET", path).json["verdict"]["request_id"] == name
    assert service("DELETE", path).json == {"erased": 1} and service("GET", path).status == 404
    assert service("GET", "/v1/verdicts/other").status == 200


WRONG = [
    b"", b"{", b"[]", b"\xff", b'{"verdicts": {}}', b'{"verdicts": [1]}', b'{"verdicts": [{}]}', b'{"verdict": []}',
    b'{"verdicts": [], "verdicts": []}',
    *(
        {"verdicts": [{**verdict("a").to_dict(), **wrong}]}
        for wrong in (
            {"request_id": ""}, {"request_id": "x" * 513}, {"request_id": "a\nb"}, {"request_id": 7},
            {"status": "fine"}, {"score": "0.5"}, {"score": True}, {"schema": 3}, {"schema": "1"}, {"more": 1},
            {"reasons": "none"}, {"reasons": ["x"] * 65}, {"reasons": [""]}, {"parts": [{"name": "a"}], "schema": 2},
            {"first_alarm_step": 1.0}, {"first_alarm_step": -1}, {"rule": "none"}, {"ended": "refusing"},
        )
    ),
    {"verdicts": [], "source": "x" * 129},
    {"verdicts": [], "source": "a\x07"},
]  # fmt: skip


@pytest.mark.parametrize("body", WRONG)
def test_a_post_that_is_wrong_is_refused_and_stores_nothing(service, body):
    if isinstance(body, dict):
        body = {**body, "verdicts": [verdict("first").to_dict(), *body["verdicts"]]}
    found = service("POST", "/v1/verdicts", body)
    assert found.status == 400 and found.json["error"] and service.store.totals()[0] == 0


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"1e999"])
def test_a_score_that_is_no_number_is_refused(service, number):
    body = b'{"verdicts": [{"request_id": "a", "status": "clear", "score": %s}]}' % number
    assert service("POST", "/v1/verdicts", body).status == 400


def test_a_refusal_quotes_nothing_and_nothing_is_logged(service, caplog):
    secret = "my-own-words"
    for field in ("status", "rule", "score", secret):
        found = service("POST", "/v1/verdicts", {"verdicts": [{**verdict("a").to_dict(), field: secret}]})
        assert found.status == 400 and (field == secret or secret not in found.body.decode())
    assert secret not in caplog.text


def test_more_verdicts_than_allowed_at_once_are_refused(store):
    service = Service(store, most_rows=2)
    assert service("POST", "/v1/verdicts", posted(*map(verdict, "abc"))).status == 413


@given(some.recursive(some.none() | some.booleans() | some.integers(-9, 9) | some.text(max_size=4),
                      lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=9), inner,
                                                                                       max_size=3), max_leaves=8),
       some.sampled_from(["/v1/verdicts", "/v1/heartbeats", "/beta/litellm_basic_guardrail_api"]),
       some.sampled_from(["", "verdicts", "source", "canary", "litellm_call_id"]))  # fmt: skip
def test_no_body_breaks_a_handler(fuzzed_service, value, path, field):
    found = fuzzed_service("POST", path, {field: value} if field else value)
    assert found.status in (200, 400) and found.json is not None


@pytest.fixture(scope="module")
def fuzzed_service(tmp_path_factory):
    with VerdictStore.open(f"sqlite:///{tmp_path_factory.mktemp('fuzz')}/v.db", kept=FOREVER) as opened:
        yield Service(opened, unmonitored="block", wait_s=0.0)


@pytest.mark.parametrize(
    "path",
    ["/v1/verdicts/%00", "/v1/verdicts/a%0Ab", f"/v1/verdicts/{'x' * 513}", "/v1/verdicts/a?wait_ms=-1",
     "/v1/verdicts/a?wait_ms=1e3", "/v1/verdicts/a?wait_ms=%D9%A1", "/v1/verdicts?after=x", "/v1/verdicts?limit=0",
     "/v1/verdicts?status=fine", "/v1/verdicts/a?rule=none"],
)  # fmt: skip
def test_a_question_that_is_wrong_is_refused(service, path):
    assert service("GET", path).status == 400


def test_what_is_counted_is_what_happened(service):
    service("POST", "/v1/verdicts", posted(verdict("a"), verdict("b", "flagged")))
    service("POST", "/v1/verdicts", posted(verdict("a")))
    service("GET", "/v1/verdicts/b"), service("GET", "/v1/verdicts/z")
    found = {(s.name, *s.labels.values()): s.value for family in service.counts.collect() for s in family.samples}
    assert found == {
        ("sri_verdicts_received_total", "clear"): 2, ("sri_verdicts_received_total", "flagged"): 1,
        ("sri_verdicts_stored_total", "stored"): 2, ("sri_verdicts_stored_total", "known"): 1,
        ("sri_lookups_total", "flagged"): 1, ("sri_lookups_total", "unknown"): 1, ("sri_store_writable",): 1,
    }  # fmt: skip


@pytest.mark.parametrize("rule", ["final", "online", "request"])
def test_every_verdict_that_the_sdk_makes_can_be_posted(service, rule):
    made = Verdict("a", "clear", ("x",), 1, 2, 0.5, 0, 3, 4, rule, "b" * 64, ("dtype",), 5, "refusing", "de", (), 2)
    for each in (
        made,
        Verdict("b", "not_sampled"),
        replace(made, score=None, parts=(PartVerdict("p", "clear", 1, 2, 0.1, None),)),
    ):
        assert service("POST", "/v1/verdicts", posted(each)).status == 200


@pytest.mark.parametrize("path", ["/v1/verdicts/a?wait=5", "/v1/verdicts?stauts=flagged", "/v1/verdicts/a?tenant=x"])
def test_a_parameter_that_nobody_knows_is_refused(service, path):
    got = service("GET", path)
    assert got.status == 400 and "unknown" in got.json["error"]


@pytest.mark.parametrize("wrong", [{"bundle": "\0"}, {"reasons": ["a\nb"]}, {"accepted": ["\x1b[2J"]}])
def test_codes_with_control_characters_are_refused(service, wrong):
    value = verdict("a").to_dict() | wrong
    assert service("POST", "/v1/verdicts", {"verdicts": [value]}).status == 400


def test_ids_that_look_alike_are_different_ids(service):
    service("POST", "/v1/verdicts", posted(verdict("é"), verdict("a/b"), verdict("A")))
    for other in ("e%CC%81", "a%252Fb", "a", "A%20", "%EF%BC%A1", "a%2Fb%2F"):
        got = service("GET", f"/v1/verdicts/{other}")
        assert (got.status, got.json["verdict"]["status"]) == (404, "unmonitored")
    assert service("GET", "/v1/verdicts/%C3%A9").status == service("GET", "/v1/verdicts/a%2fb").status == 200
    assert service("GET", "/v1/verdicts/A%00").status == service("GET", "/v1/verdicts/%FF").status == 400
