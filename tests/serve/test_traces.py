"""Spans of requests, into memory, into a collector, and into one that does not answer."""

import asyncio
import http.client
import http.server
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from sri_sdk.errors import ConfigError, MissingExtra
from sri_sdk.serve import traces
from sri_sdk.serve.app import App
from sri_sdk.serve.counts import Counts
from sri_sdk.serve.feature import Feature
from sri_sdk.serve.routes import Route
from sri_sdk.serve.settings import read_settings
from sri_sdk.strict_json import write
from tests.serve.asgi import call, call_async
from tests.serve.conftest import running
from tests.serve.oip_bodies import request_of
from tests.serve.store.conftest import verdict
from tests.serve.verdicts.conftest import posted
from tests.serve.verdicts.test_server import leave, lines

NOWHERE = {"endpoint": "http://127.0.0.1:9"}
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
UNVERIFIED = {"sri_unverified": True, "sri_request_id": "secret", "sri_tenant": "secret"}


class Traced:
    """An application whose spans stay in memory."""

    def __init__(self, app, exporter):
        self.app, self.exporter = app, exporter

    def __call__(self, method, path, body=b"", headers=()):
        return call(self.app, method, path, body, headers)

    @property
    def spans(self):
        self.app._counts.spans.flush()
        return self.exporter.get_finished_spans()


async def fails(request):
    raise ValueError("secret")


@pytest.fixture
def exporter(monkeypatch):
    made = InMemorySpanExporter()
    monkeypatch.setattr(traces, "exporter_of", lambda section: made)
    return made


@pytest.fixture
def traced(build, exporter, tmp_path):
    feature = Feature([Route("GET", "/fails", fails, "read")])
    app = build([feature], traces=NOWHERE, store={"url": f"sqlite:///{tmp_path}/v.db"}).app
    yield Traced(app, exporter)
    asyncio.run(leave(app))


def infer(rows, **more):
    return request_of({"signals": np.full((rows, 32, 1), 0.5, np.float32)}, **more)


def test_a_span_says_route_status_rows_and_bundle(traced, fitted):
    traced("POST", "/v2/models/sri_signal/infer", *infer(3))
    (span,) = traced.spans
    assert (span.name, span.kind.name) == ("POST /v2/models/{model}/infer", "SERVER")
    assert dict(span.attributes) == {
        "http.request.method": "POST", "http.route": "/v2/models/{model}/infer", "http.response.status_code": 200,
        "sri.rows": 3, "sri.bundle": fitted.digest,
    }  # fmt: skip
    assert 0 < span.end_time - span.start_time < 60e9 and abs(span.end_time - time.time_ns()) < 60e9
    assert span.resource.attributes["service.name"] == "sri"


def test_nothing_that_a_client_typed_is_in_a_span(traced, make_signals):
    state = [(b"tracestate", b"v=secret"), (b"baggage", b"v=secret"), (b"sri-tenant", b"secret")]
    parent = [(b"traceparent", f"00-{TRACE}-{SPAN}-01".encode()), *state]
    traced("POST", "/v2/models/sri_signal/infer", *infer(1, outputs=["status"], parameters=UNVERIFIED))
    traced("POST", "/v1/verdicts", write(posted(verdict("secret"), source="secret")).encode(), parent)
    traced("POST", "/v1/signals?bundle=sri&source=secret", lines(make_signals(2, 1)), parent)
    traced("GET", "/v1/verdicts/secret", b"", parent)
    traced("GET", "/v1/verdicts?status=secret", b"", parent)
    traced("DELETE", "/v1/verdicts/secret", b"", parent)
    traced("SECRET", "/secret?secret=secret", b"", parent)
    traced("GET", "/fails", b"secret", parent)
    assert len(traced.spans) == 8
    assert not [span for span in traced.spans if "secret" in span.to_json().lower()]
    assert [span.attributes.get("sri.rows") for span in traced.spans] == [1, 1, 2, *[None] * 5]


def test_a_path_that_is_not_served_has_no_route(traced):
    traced("SECRET", "/secret")
    (span,) = traced.spans
    assert span.name == "_OTHER" and "http.route" not in span.attributes


def test_a_failure_of_the_server_is_an_error_and_a_refusal_is_not(traced):
    traced("GET", "/fails")
    traced("GET", "/v1/verdicts?limit=0")
    failed, refused = traced.spans
    assert (failed.status.status_code.name, failed.status.description, failed.events) == ("ERROR", None, ())
    assert refused.status.status_code.name == "UNSET" and refused.attributes["http.response.status_code"] == 400


def test_a_span_belongs_to_the_trace_that_the_client_names(traced):
    traced("GET", "/v1/bundles", b"", [(b"traceparent", f"00-{TRACE}-{SPAN}-01".encode())])
    (span,) = traced.spans
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, SPAN)


@pytest.mark.parametrize("sent", [b"", b"secret", b"\xff\x00", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01"])
def test_a_trace_that_cannot_be_read_begins_a_new_one(traced, sent):
    assert traced("GET", "/v1/bundles", b"", [(b"traceparent", sent)]).status == 200
    assert traced.spans[0].parent is None


def test_a_trace_that_is_not_sampled_has_no_spans(traced):
    traced("GET", "/v1/bundles", b"", [(b"traceparent", f"00-{TRACE}-{SPAN}-00".encode())])
    assert traced.spans == ()


def test_health_and_metrics_have_no_spans_and_requests_are_counted_all_the_same(traced):
    for path in ("/v2/health/live", "/v2/health/ready", "/v1/bundles"):
        traced("GET", path)
    text = traced("GET", "/metrics").body.decode()
    assert 'sri_requests_total{route="/v1/bundles",status="200"} 1.0' in text and len(traced.spans) == 1


def test_requests_at_once_do_not_mix(traced):
    async def all_at_once():
        sizes = range(1, 9)
        asked = (call_async(traced.app, "POST", "/v2/models/sri_signal/infer", *infer(rows)) for rows in sizes)
        await asyncio.gather(*asked)

    asyncio.run(all_at_once())
    assert sorted(span.attributes["sri.rows"] for span in traced.spans) == list(range(1, 9))


class Stuck(SpanExporter):
    """A collector that never answers."""

    def __init__(self):
        self.asked, self.release = threading.Event(), threading.Event()

    def export(self, spans):
        self.asked.set()
        self.release.wait(60)
        raise RuntimeError("no collector")


def test_a_stuck_exporter_holds_up_neither_requests_nor_the_end(build, monkeypatch, caplog):
    stuck = Stuck()
    monkeypatch.setattr(traces, "exporter_of", lambda section: stuck)
    monkeypatch.setattr(traces, "CLOSE_SECONDS", 0.05)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "4")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
    app = build(traces=NOWHERE).app
    try:
        # More than the queue holds; each of them would wait for a minute if it waited.
        assert {call(app, "GET", "/v1/bundles").status for _ in range(20)} == {200}
        assert stuck.asked.wait(30)
        asyncio.run(leave(app))
        assert "the last ones are lost" in caplog.text
    finally:
        stuck.release.set()


def test_a_span_that_cannot_be_made_breaks_no_request_and_is_logged_once(traced, monkeypatch, caplog):
    monkeypatch.setattr(traced.app._counts.spans, "_context_of", lambda sent: 1 / 0)
    assert [traced("GET", "/v1/bundles").status for _ in range(3)] == [200] * 3
    assert caplog.text.count("ZeroDivisionError") == 1


def test_a_collector_gets_the_spans_of_a_server_before_it_ends(build):
    got = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            got.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector) as collector:
        thread = threading.Thread(target=collector.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        built = build(traces={"endpoint": f"http://127.0.0.1:{collector.server_port}"})
        with running(built) as address:
            host, port = address.removeprefix("http://").split(":")
            connection = http.client.HTTPConnection(host, int(port))
            connection.request("GET", "/v1/bundles")
            assert connection.getresponse().read()
            connection.close()
        collector.shutdown()
        thread.join()
    ((path, body),) = got
    assert path == "/v1/traces" and b"GET /v1/bundles" in body


@pytest.mark.parametrize(
    "package", ["opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter"]
)
def test_a_missing_package_is_named_by_its_extra(build, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=r"Traces needs packages .*sri-sdk\[traces\]"):
        build(traces=NOWHERE)


@pytest.mark.parametrize("endpoint", ["collector:4317", "ftp://collector", "http://", ""])
def test_an_address_that_is_none_is_refused(endpoint):
    with pytest.raises(ConfigError, match=r"traces\.endpoint"):
        read_settings(None, {"bundles": {"sri": {"path": "x"}}, "traces": {"endpoint": endpoint}})


def test_without_traces_an_application_is_the_plain_one(app):
    assert type(app) is App and type(app._counts) is Counts


def test_without_traces_nothing_of_opentelemetry_is_imported(tmp_path):
    program = (
        "import sys; from sri_sdk.serve.build import build_app; from sri_sdk.serve.settings import ServeSettings; "
        f"build_app(ServeSettings.model_validate({{'store': {{'url': 'sqlite:///{tmp_path}/v.db'}}}})); "
        "found = [name for name in sys.modules if 'opentelemetry' in name or name == 'sri_sdk.serve.traces']; "
        "print(found); sys.stdout.flush(); import os; os._exit(0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"
