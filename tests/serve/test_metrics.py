"""`GET /metrics`."""

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from tests.serve.asgi import call
from tests.serve.oip_bodies import request_of


def test_a_bundle_or_shadow_that_was_refused_shows(build, place, fitted, tmp_path):
    built = build(bundles={"sri": {"path": (path := place(fitted)), "shadow": {"path": tmp_path / "gone"}}})
    (path / "signal.onnx").write_bytes(b"damaged")
    built.shelf.reload()
    text = call(built.app, "GET", "/metrics").body.decode()
    assert 'sri_bundle_problem{bundle="sri",part="live"} 1.0' in text
    assert 'sri_bundle_problem{bundle="sri",part="shadow"} 1.0' in text


def test_what_happened_is_counted_by_route_and_never_by_id(build):
    app = build().app
    signals = {"signals": np.full((3, 32, 1), 0.5, np.float32)}
    call(app, "POST", "/v2/models/sri_signal/infer", *request_of(signals))
    body = request_of(signals, ["status"], parameters={"sri_unverified": True, "sri_request_id": "secret-id"})
    call(app, "POST", "/v2/models/sri_signal/infer", *body)
    call(app, "POST", "/v2/models/secret-model/infer")
    text = call(app, "GET", "/metrics").body.decode()
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["sri_requests_total", "/v2/models/{model}/infer", "200"] == 2
    assert found["sri_rows_total", "sri"] == 6
    assert sum(value for key, value in found.items() if key[0] == "sri_verdicts_total") == 3
    assert found["sri_request_seconds_count", "/v2/models/{model}/infer"] == 3
    assert any(key[0] == "sri_bundle_loaded" and value == 1 for key, value in found.items())
    assert "secret" not in text
