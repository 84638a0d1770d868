"""The Open Inference Protocol, asked of the application directly."""

import json

import numpy as np
import pytest

from tests.serve.asgi import call
from tests.serve.oip_bodies import HEADER, outputs_of, request_of

INFER = "/v2/models/sri_signal/infer"
PREFIX = "/v2/models/sri_prefix/infer"
MIXES = [(False, False), (False, True), (True, False), (True, True)]


@pytest.fixture(scope="module")
def rows(make_signals):
    """Ten generations: some far off, one with NaN."""
    signals = make_signals(10, 7, dip=3.0).sigma.copy()
    signals[3, 5] = np.nan
    return signals


def ask(app, path, inputs, *args, **more):
    body, headers = request_of(inputs, *args, **more)
    return call(app, "POST", path, body, headers)


@pytest.mark.parametrize(("binary_in", "binary_out"), MIXES)
def test_scores_are_those_of_the_scorer_bit_for_bit(app, scorer, rows, binary_in, binary_out):
    found = outputs_of(ask(app, INFER, {"signals": rows}, binary_in=binary_in, binary_out=binary_out))
    score, valid = scorer.score_final(rows)
    assert np.array_equal(found["score"][:, 0], score) and np.array_equal(found["valid"][:, 0], valid)
    assert not valid[3] and valid.sum() == 9


@pytest.mark.parametrize("shape", [(10,), (10, 1)])
@pytest.mark.parametrize("binary", [False, True])
def test_running_generations_are_scored_at_their_length(app, scorer, rows, shape, binary):
    length = np.arange(10, dtype=np.int64)
    inputs = {"length": length.reshape(shape), "signals": rows}
    found = outputs_of(ask(app, PREFIX, inputs, binary_in=binary, binary_out=binary))
    score, valid = scorer.score_prefix(rows, length)
    assert np.array_equal(found["score"][:, 0], score) and np.array_equal(found["valid"][:, 0], valid)


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize(("path", "rule"), [(INFER, "final"), (PREFIX, "online")])
def test_verdicts_are_those_of_the_scorer(app, scorer, make_signals, rows, path, rule, binary):
    from sri_sdk.records import Signals

    print_of = scorer.manifest.fingerprint_digest
    inputs = {"signals": rows} | ({"length": np.full(10, 32)} if rule == "online" else {})
    wanted = ("status", "p_value", "flagged", "score")
    found = outputs_of(
        ask(app, path, inputs, wanted, binary_in=binary, binary_out=binary, parameters={"sri_fingerprint": print_of})
    )
    ids = tuple(map(str, range(10)))
    verdicts = scorer.score(Signals(ids, rows, rows, make_signals(1, 1).fingerprint), rule=rule)
    assert found["status"] == [v.status for v in verdicts]
    assert {"flagged", "unmonitored"} <= set(found["status"])
    assert found["flagged"][:, 0].tolist() == [v.status == "flagged" for v in verdicts]
    p_values = np.array([np.nan if v.p_value is None else v.p_value for v in verdicts], np.float32)
    assert np.array_equal(found["p_value"][:, 0], p_values, equal_nan=True)


def test_ids_are_echoed_and_every_answer_names_its_bundle(app, fitted, rows):
    parameters = {"sri_request_id": "r-1", "sri_tenant": "acme"}
    found = ask(app, INFER, {"signals": rows}, id="call-7", parameters=parameters).json
    assert found["id"] == "call-7" and found["model_name"] == "sri_signal" and found["model_version"] == "1"
    assert found["parameters"] == {"sri_bundle": fitted.digest, "sri_unverified": True, **parameters}


def test_a_request_heard_before_is_answered_alike(app, rows):
    first, second = (ask(app, INFER, {"signals": rows}, binary_in=True, binary_out=True) for _ in range(2))
    assert first == second
    shorter = ask(app, INFER, {"signals": rows[:4]}, binary_in=True, binary_out=True)
    assert outputs_of(shorter)["score"].shape == (4, 1)


def test_a_verdict_needs_to_know_what_made_the_signals(app, rows):
    refused = ask(app, INFER, {"signals": rows}, ["status"])
    assert refused.status == 400 and "sri_fingerprint" in refused.json["error"]
    taken = ask(app, INFER, {"signals": rows}, ["status"], parameters={"sri_unverified": True})
    assert taken.status == 200 and taken.json["parameters"]["sri_unverified"] is True


def test_signals_of_another_model_are_refused_by_the_field_that_differs(app, make_signals, rows):
    sent = make_signals(1, 1).fingerprint
    other = json.dumps({**sent, "hard": {**sent["hard"], "hidden_size": 65}})
    found = ask(app, INFER, {"signals": rows}, parameters={"sri_fingerprint": other})
    assert found.status == 409 and "hidden_size" in found.json["error"]
    assert ask(app, INFER, {"signals": rows}, parameters={"sri_fingerprint": "0" * 64}).status == 409


def test_a_soft_field_that_differs_is_accepted_by_name(app, make_signals, rows):
    sent = make_signals(1, 1).fingerprint
    other = json.dumps({**sent, "soft": {**sent["soft"], "torch": "3"}})
    assert ask(app, INFER, {"signals": rows}, parameters={"sri_fingerprint": other}).status == 409
    accepted = ask(app, INFER, {"signals": rows}, parameters={"sri_fingerprint": other, "sri_accept": "torch"})
    assert accepted.json["parameters"]["sri_accepted"] == "torch"


def signals(**more):
    return {"name": "signals", "datatype": "FP32", "shape": [1, 32, 1], "data": [0.5] * 32} | more


@pytest.mark.parametrize(
    ("inputs", "status"),
    [
        ([], 400), ([signals(), signals()], 400), ([signals(name="other")], 400), ([signals(datatype="FP64")], 400),
        ([signals(datatype="INT64", data=[1] * 32)], 400), ([signals(shape=[1, 32])], 400),
        ([signals(shape=[1, 33, 1])], 400), ([signals(shape=[2, 32, 1])], 400), ([signals(shape=[-1, 32, 1])], 400),
        ([signals(shape=[True, 32, 1])], 400), ([signals(shape=[0, 32, 1], data=[])], 400),
        ([signals(data=["0.5"] * 32)], 400), ([signals(data=[True] * 32)], 400), ([signals(data=[0.5] * 31)], 400),
        ([signals(data={"0": 1})], 400), ([signals(data=[[0.5], 0.5])], 400), (["signals"], 400),
        ([signals(parameters={"binary_data_size": 128})], 400), ([signals(data=None)], 400), ("signals", 400),
        ([signals(shape=[5000, 32, 1], data=[0.5] * 160000)], 413), ([signals(name="x\ny")], 400),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_model_is_refused_with_a_reason(app, inputs, status):
    found = call(app, "POST", INFER, json.dumps({"inputs": inputs}).encode())
    assert found.status == status and found.json["error"]


@pytest.mark.parametrize(
    "more",
    [
        {"outputs": [{"name": "nothing"}]}, {"outputs": [{"name": "score"}, {"name": "score"}]}, {"outputs": ["score"]},
        {"parameters": []}, {"parameters": {"sri_fingerprnt": "x"}}, {"parameters": {"sri_unverified": 1}},
        {"parameters": {"sri_request_id": "a\nb"}}, {"parameters": {"sri_rule": "online"}}, {"id": 7},
        {"id": "x" * 513}, {"parameters": {"sri_fingerprint": "{"}}, {"parameters": {"sri_fingerprint": "{}"}},
        {"parameters": {"sri_accept": "weights"}, "_print": True},
    ],
)  # fmt: skip
def test_what_is_asked_wrongly_is_refused_with_a_reason(app, more, make_signals):
    if more.pop("_print", False):
        more = {"parameters": {**more["parameters"], "sri_fingerprint": json.dumps(make_signals(1, 1).fingerprint)}}
    found = call(app, "POST", INFER, json.dumps({"inputs": [signals()], **more}).encode())
    assert found.status in (400, 409) and found.json["error"]


def test_nested_data_null_and_nan_are_read(app, scorer):
    nested = [[[0.5]] * 31 + [[None]]]
    found = call(app, "POST", INFER, json.dumps({"inputs": [signals(data=nested)]}).encode())
    assert outputs_of(found)["valid"].tolist() == [[False]]
    body = json.dumps({"inputs": [signals(data=[float("nan")] * 32)]}).encode()
    assert b"NaN" in body and outputs_of(call(app, "POST", INFER, body))["valid"].tolist() == [[False]]


@pytest.mark.parametrize("cut", [1, 40, 127, 128])
def test_a_truncated_binary_body_is_refused(app, rows, cut):
    body, headers = request_of({"signals": rows[:1]}, binary_in=True)
    assert call(app, "POST", INFER, body[:-cut], headers).status == 400
    assert call(app, "POST", INFER, body + b"x" * cut, headers).status == 400


@pytest.mark.parametrize("header", [b"", b"-1", b"x", b"999999", b"1e3", b"0", "\u0661".encode()])
def test_a_wrong_length_of_the_json_is_refused(app, rows, header):
    body, _ = request_of({"signals": rows[:1]}, binary_in=True)
    assert call(app, "POST", INFER, body, [(HEADER, header)]).status == 400


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100, b'{"inputs":1,"inputs":2}'])
def test_what_is_no_request_is_refused(app, body):
    assert call(app, "POST", INFER, body).status == 400


def test_metadata_is_that_of_the_manifest(app, fitted):
    found = call(app, "GET", "/v2/models/sri_prefix").json
    assert found["versions"] == ["1"] and found["parameters"]["sri_digest"] == fitted.digest
    assert {x["name"]: x["shape"] for x in found["inputs"]} == {"signals": [-1, 32, 1], "length": [-1, 1]}
    assert {x["name"]: x["datatype"] for x in found["outputs"]} == {
        "score": "FP32", "valid": "BOOL", "flagged": "BOOL", "p_value": "FP32", "status": "BYTES",
    }  # fmt: skip


@pytest.mark.parametrize("path", ["", "/versions/1", "/versions/{digest}"])
def test_a_version_is_found_by_number_and_by_digest(app, fitted, path):
    assert call(app, "GET", f"/v2/models/sri_signal{path}/ready".format(digest=fitted.digest[:12])).status == 200
    assert call(app, "GET", "/v2/models/sri_signal/versions/2").status == 404


def test_health_is_json(app):
    assert call(app, "GET", "/v2/health/live").json == {"live": True}
    assert call(app, "GET", "/v2/health/ready").json == {"ready": True}
    assert "binary_tensor_data" in call(app, "GET", "/v2").json["extensions"]
    assert "Did you mean 'sri_signal'" in call(app, "GET", "/v2/models/sri_signl").json["error"]
