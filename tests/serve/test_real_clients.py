"""Real clients against a real server: tritonclient over HTTP and gRPC, and raw bytes on a socket."""

import socket
import urllib.request

import numpy as np
import pytest

from sri_sdk import strict_json
from tests.serve.conftest import running

http = pytest.importorskip("tritonclient.http")
grpc = pytest.importorskip("tritonclient.grpc")
MIXES = [(False, False), (False, True), (True, False), (True, True)]


@pytest.fixture(scope="module")
def served(build):
    """(address of HTTP, address of gRPC) of one server."""
    built = build(grpc={"port": 0})
    with running(built) as address:
        yield address.removeprefix("http://"), f"127.0.0.1:{built.grpc_port}"


@pytest.fixture(scope="module")
def rows(make_signals):
    signals = make_signals(12, 5, dip=2.0).sigma.copy()
    signals[2, 0] = np.nan
    return signals


def tensor(module, name, array, **binary):
    found = module.InferInput(name, array.shape, {"float32": "FP32", "int64": "INT64"}[str(array.dtype)])
    found.set_data_from_numpy(array, **binary)
    return found


@pytest.mark.parametrize(("binary_in", "binary_out"), MIXES)
def test_tritonclient_reads_the_scorers_own_numbers(served, scorer, rows, binary_in, binary_out):
    length = np.arange(1, 13, dtype=np.int64)
    with http.InferenceServerClient(served[0]) as client:
        outputs = [http.InferRequestedOutput(name, binary_data=binary_out) for name in ("score", "valid")]
        inputs = [tensor(http, "signals", rows, binary_data=binary_in)]
        found = client.infer("sri_signal", inputs, outputs=outputs, request_id="one")
        assert found.get_response()["id"] == "one"
        inputs.append(tensor(http, "length", length[:, None], binary_data=binary_in))
        running = client.infer("sri_prefix", inputs, outputs=outputs)
    for got, (score, valid) in [(found, scorer.score_final(rows)), (running, scorer.score_prefix(rows, length))]:
        assert np.array_equal(got.as_numpy("score")[:, 0], score)
        assert np.array_equal(got.as_numpy("valid")[:, 0], valid)


def test_tritonclient_reads_verdicts_as_it_reads_any_tensor(served, scorer, rows):
    parameters = {"sri_fingerprint": scorer.manifest.fingerprint_digest, "sri_request_id": "r"}
    with http.InferenceServerClient(served[0]) as client:
        names = ("status", "flagged", "p_value")
        outputs = [http.InferRequestedOutput(name, binary_data=binary) for name in names for binary in [True]]
        inputs = [tensor(http, "signals", rows)]
        found = client.infer("sri_signal", inputs, outputs=outputs, parameters=parameters)
    statuses = [each.decode() for each in found.as_numpy("status")[:, 0]]
    assert statuses[2] == "unmonitored" and np.isnan(found.as_numpy("p_value")[2, 0])
    assert found.as_numpy("flagged")[:, 0].tolist() == [each == "flagged" for each in statuses]


def test_tritonclient_over_grpc_reads_the_same(served, scorer, rows):
    with grpc.InferenceServerClient(served[1]) as client:
        outputs = [grpc.InferRequestedOutput(name) for name in ("score", "valid", "status")]
        found = client.infer(
            "sri_signal", [tensor(grpc, "signals", rows)], outputs=outputs, request_id="two",
            parameters={"sri_unverified": True},
        )  # fmt: skip
        score, valid = scorer.score_final(rows)
        assert np.array_equal(found.as_numpy("score")[:, 0], score)
        assert np.array_equal(found.as_numpy("valid")[:, 0], valid)
        answer = found.get_response()
        assert answer.id == "two" and answer.parameters["sri_unverified"].bool_param
        assert answer.parameters["sri_bundle"].string_param == scorer.bundle.digest


def test_both_clients_see_health_metadata_and_the_repository(served, scorer):
    with http.InferenceServerClient(served[0]) as one, grpc.InferenceServerClient(served[1]) as two:
        for client in (one, two):
            assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("sri_signal", "1")
            client.load_model("sri_signal")
        assert one.get_model_metadata("sri_signal")["versions"] == ["1"]
        assert list(two.get_model_metadata("sri_signal").versions) == ["1"]
        assert one.get_model_config("sri_prefix")["max_batch_size"] == 4096
        assert two.get_model_config("sri_prefix").config.parameters["sri_digest"].string_value == scorer.bundle.digest
        assert [each["name"] for each in one.get_model_repository_index()] == ["sri_signal", "sri_prefix"]
        assert len(two.get_model_repository_index().models) == 2


@pytest.mark.parametrize(
    ("model", "shape", "dtype", "code"),
    [
        ("other", (1, 32, 1), np.float32, "NOT_FOUND"), ("sri_signal", (1, 31, 1), np.float32, "INVALID_ARGUMENT"),
        ("sri_signal", (1, 32, 1), np.int64, "INVALID_ARGUMENT"), ("sri_signal", (5000, 32, 1), np.float32, "INVALID"),
    ],
)  # fmt: skip
def test_grpc_refuses_what_does_not_fit(served, model, shape, dtype, code):
    with grpc.InferenceServerClient(served[1]) as client, pytest.raises(grpc.InferenceServerException, match=code):
        client.infer(model, [tensor(grpc, "signals", np.ones(shape, dtype))])


def test_the_exporters_own_check_of_a_triton_server_passes(served, scorer):
    from sri_exporter_triton.client import Client
    from sri_exporter_triton.served import check_served

    found = check_served(Client(f"http://{served[0]}"), scorer.bundle, ["signal", "prefix"], "sri")
    assert max(found.values()) <= 1


def test_a_plain_request_reads_json(served, scorer, rows):
    data = rows[0].ravel().tolist()
    body = f'{{"inputs":[{{"name":"signals","shape":[1,32,1],"datatype":"FP32","data":{data}}}]}}'
    with urllib.request.urlopen(f"http://{served[0]}/v2/models/sri_signal/infer", body.encode()) as answer:
        found = strict_json.parse(answer.read())
    assert found["outputs"][0]["data"] == scorer.score_final(rows[:1])[0].tolist()


def test_bytes_that_are_no_http_are_refused_and_the_server_goes_on(served):
    host, port = served[0].split(":")
    for sent in (b"\x00" * 100, b"GET / HTTP/9.9\r\n\r\n", b"POST /v2 HTTP/1.1\r\ncontent-length: -1\r\n\r\n"):
        with socket.create_connection((host, int(port)), timeout=10) as sock:
            sock.sendall(sent)
            assert sock.recv(100).startswith(b"HTTP/1.1 400")
    with urllib.request.urlopen(f"http://{served[0]}/v2/health/ready") as answer:
        assert answer.status == 200


def test_grpc_needs_a_token_with_the_right_and_no_tenants_token_unloads(build, tmp_path):
    (tmp_path / "t").write_text("a:0123456789abcdef admin tenant=acme\nb:fedcba9876543210 read\n")
    built = build(grpc={"port": 0}, tokens=str(tmp_path / "t"))
    one, two = ({"authorization": f"Bearer {token}"} for token in ("0123456789abcdef", "fedcba9876543210"))
    with running(built), grpc.InferenceServerClient(f"127.0.0.1:{built.grpc_port}") as client:
        for headers, code in ((None, "UNAUTHENTICATED"), (one, "PERMISSION_DENIED"), (two, "PERMISSION_DENIED")):
            with pytest.raises(grpc.InferenceServerException, match=code):
                client.unload_model("sri", headers=headers)
        assert client.get_model_metadata("sri_signal", headers=two).name == "sri_signal"
