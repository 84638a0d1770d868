"""Bodies that nobody would send on purpose, against the application directly: a reason, never a failure.

SRI_SERVE_FUZZ=10000 tries that many of each kind, in parts with a time limit each. Nine tenths of the time are
hypothesis', which draws them.
"""

import json
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.serve.asgi import call
from tests.serve.oip_bodies import HEADER, request_of

EXAMPLES = int(os.environ.get("SRI_SERVE_FUZZ", "300"))
PER_PART = 500
REFUSED = {400, 409, 413, 415}
some = settings(max_examples=min(EXAMPLES, PER_PART), suppress_health_check=[HealthCheck.function_scoped_fixture])
if EXAMPLES > PER_PART:
    # Where draws are derandomised (CI), every part would draw the same.
    some = settings(some, derandomize=False)


def many(test):
    """Runs in parts of at most `PER_PART`, each with draws of its own."""
    return pytest.mark.parametrize("part", range(-(-EXAMPLES // PER_PART)))(some(test))


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
    st.sampled_from(["signals", "length", "FP32", "INT64", "BOOL", "BYTES", "score", "valid", "status", "0" * 64, 32]),
)  # fmt: skip
keys = st.one_of(
    st.text(max_size=8),
    st.sampled_from([
        "id", "name", "shape", "datatype", "data", "parameters", "inputs", "outputs", "binary_data", "binary_data_size",
        "binary_data_output", "sri_fingerprint", "sri_unverified", "sri_accept", "sri_tenant", "hard", "soft",
    ]),
)  # fmt: skip
values = st.recursive(scalars, lambda x: st.lists(x, max_size=5) | st.dictionaries(keys, x, max_size=5), max_leaves=12)
tensors = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["signals", "length"]) | values,
        "shape": st.sampled_from([[1, 32, 1], [2, 32, 1], [1], [1, 1]]) | values,
        "datatype": st.sampled_from(["FP32", "INT64"]) | values,
    },
    optional={
        "data": st.sampled_from([[0.5] * 32, [0.5] * 64, [5]]) | values,
        "parameters": st.just({"binary_data_size": 128}) | values,
    },
)
requests = st.fixed_dictionaries(
    {"inputs": st.lists(tensors, max_size=3) | values},
    optional={
        "id": st.just("x") | values, "parameters": values,
        "outputs": st.lists(st.fixed_dictionaries({"name": st.sampled_from(["score", "status"]) | values}), max_size=3),
    },
)  # fmt: skip
models = st.sampled_from(["sri_signal", "sri_prefix"])


def check(got):
    assert got.status == 200 or got.status in REFUSED, got
    if got.status != 200:
        assert got.json["error"]


@many
@given(models, requests, st.binary(max_size=200), st.booleans())
def test_requests_with_wrong_parts_get_a_reason(app, part, model, value, data, binary):
    words = json.dumps(value).encode()
    headers = [(HEADER, b"%d" % len(words))] if binary else []
    check(call(app, "POST", f"/v2/models/{model}/infer", words + (data if binary else b""), headers))


GOOD = [
    request_of({"signals": np.full((1, 32, 1), 0.5, np.float32)}, ["score", "status"], binary_in=binary, id="a",
               parameters={"sri_unverified": True})
    for binary in (False, True)
]  # fmt: skip


@many
@given(st.sampled_from(GOOD), st.data())
def test_a_good_request_with_bytes_changed_gets_a_reason_or_an_answer(app, part, good, data):
    body, headers = bytearray(good[0]), good[1]
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        what = data.draw(st.integers(0, 2))
        if what == 0:
            body[at] = data.draw(st.integers(0, 255))
        elif what == 1:
            del body[at : at + data.draw(st.integers(1, 9))]
        else:
            body[at:at] = data.draw(st.binary(max_size=9))
        if not body:
            break
    check(call(app, "POST", "/v2/models/sri_signal/infer", bytes(body), headers))


@many
@given(st.binary(max_size=300), st.one_of(st.none(), st.binary(max_size=12)))
def test_any_bytes_get_a_reason(app, part, body, header):
    check(call(app, "POST", "/v2/models/sri_signal/infer", body, [] if header is None else [(HEADER, header)]))


@many
@given(st.sampled_from(["GET", "POST", "DELETE"]), st.text(max_size=40), st.text(max_size=20))
def test_any_path_gets_an_answer(app, part, method, path, query):
    from urllib.parse import quote

    got = call(app, method, f"/{quote(path, safe='/%')}?{quote(query, safe='=&%')}")
    assert got.status in {400, 404, 405}


@pytest.mark.parametrize("size", [1, 1000, 2**20])
def test_deep_and_wide_bodies_are_refused_quickly(app, size):
    for body in (b"[" * size, b'{"a":' * size, b'{"inputs":' + b"[1," * size, b"1" * size, b'"' + b"\\" * size):
        check(call(app, "POST", "/v2/models/sri_signal/infer", body))
