"""`GET /openapi.json` and `GET /docs`."""

import asyncio
import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from sri_sdk.serve.described.operations import OPERATIONS
from sri_sdk.serve.openapi import document
from sri_sdk.serve.routes import Route
from sri_sdk.strict_json import write
from tests.serve.asgi import call, call_async
from tests.serve.store.conftest import verdict
from tests.serve.verdicts.conftest import posted
from tests.serve.verdicts.test_server import leave, lines

KINDS = {
    "object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool,
    "null": type(None),
}  # fmt: skip


def wrong(value, schema, schemas, at="answer"):
    """What of a value does not fit a schema: as much of JSON Schema as the document uses."""
    if "$ref" in schema:
        return wrong(value, schemas[schema["$ref"].rpartition("/")[2]], schemas, at)
    if "anyOf" in schema:
        found = [wrong(value, each, schemas, at) for each in schema["anyOf"]]
        return [] if [] in found else found[0]
    if value not in schema.get("enum", [schema.get("const", value)]):
        return [f"{at}: none of the values"]
    if "type" in schema:
        boolean = isinstance(value, bool) and schema["type"] != "boolean"
        if boolean or not isinstance(value, KINDS[schema["type"]]):
            return [f"{at}: not {schema['type']}"]
    found = []
    if isinstance(value, dict):
        known = schema.get("properties", {})
        found += [f"{at}.{key}: missing" for key in schema.get("required", ()) if key not in value]
        if schema.get("additionalProperties") is False:
            found += [f"{at}.{key}: unknown" for key in value.keys() - known.keys()]
        found += [
            e for key in value.keys() & known.keys() for e in wrong(value[key], known[key], schemas, f"{at}.{key}")
        ]
    if isinstance(value, list):
        found += [e for i, each in enumerate(value) for e in wrong(each, schema.get("items", {}), schemas, f"{at}.{i}")]
    return found


@pytest.fixture
def whole(build, tmp_path):
    """Everything that a server may do."""
    (tmp_path / "tokens").write_text("all:0123456789abcdef admin\nreads:fedcba9876543210 read")
    made = build(
        store={"url": f"sqlite:///{tmp_path}/v.db"}, gateways={"unmonitored": "block", "wait_seconds": 0},
        tokens=tmp_path / "tokens",
    ).app  # fmt: skip
    yield made
    asyncio.run(leave(made))


def ask(app, method, path, body=b"", token=b"0123456789abcdef"):
    return call(app, method, path, body, [(b"authorization", b"Bearer " + token)])


def test_the_document_has_every_route_beside_the_protocol_and_nothing_else(whole):
    found = call(whole, "GET", "/openapi.json").json
    listed = {(method.upper(), path) for path, methods in found["paths"].items() for method in methods}
    routes = {(each.method, each.pattern) for each in whole.table.routes}
    protocol = {each for each in routes if each[1] == "/v2" or each[1].startswith(("/v2/models", "/v2/repository"))}
    assert listed == routes - protocol == OPERATIONS.keys()


def test_a_server_without_a_store_shows_none_of_its_paths_and_forms(app):
    found = call(app, "GET", "/openapi.json").json
    assert "/v1/verdicts" not in found["paths"] and "/v1/bundles" in found["paths"]
    assert "PostedVerdicts" not in found["components"]["schemas"]


def test_a_route_that_nobody_described_is_shown_by_its_path():
    found = document([Route("GET", "/own/{thing}", None, "write")])["paths"]["/own/{thing}"]["get"]
    assert (found["summary"], found["parameters"][0]["name"]) == ("GET /own/{thing}", "thing")


def test_the_rights_are_those_of_the_routes(whole):
    found = call(whole, "GET", "/openapi.json").json["paths"]
    for route in whole.table.routes:
        if route.pattern in found:
            security = found[route.pattern][route.method.lower()]["security"]
            assert security == ([] if route.right == "open" else [{"bearer": [route.right]}, {"key": [route.right]}])


def test_every_form_that_is_referred_to_is_there_and_every_form_is_referred_to(whole):
    answer = call(whole, "GET", "/openapi.json")
    names = set(re.findall(r"#/components/schemas/(\w+)", answer.body.decode()))
    assert names == answer.json["components"]["schemas"].keys()


def test_operations_have_names_of_their_own_and_paths_their_parameters(whole):
    found = call(whole, "GET", "/openapi.json").json
    operations = [(path, each) for path, methods in found["paths"].items() for each in methods.values()]
    assert len({each["operationId"] for _, each in operations}) == len(operations)
    for path, each in operations:
        assert {p["name"] for p in each["parameters"] if p["in"] == "path"} == set(re.findall(r"\{(\w+)\}", path))


VERDICT = write(posted(verdict("a", "flagged"), source="gpu-1")).encode()
BEAT = b'{"source": "gpu-1", "pid": 1, "sent": 1, "canary": {"status": "flagged"}}'
TALK = [
    ("POST", "/v1/verdicts", "", VERDICT, 200), ("POST", "/v1/verdicts", "", b"{", 400),
    ("POST", "/v1/heartbeats", "", BEAT, 200), ("GET", "/v1/verdicts/{id}", "/v1/verdicts/a", b"", 200),
    ("GET", "/v1/verdicts/{id}", "/v1/verdicts/b", b"", 404), ("GET", "/v1/verdicts", "", b"", 200),
    ("GET", "/v1/verdicts", "/v1/verdicts?limit=0", b"", 400), ("GET", "/v1/sources", "", b"", 200),
    ("DELETE", "/v1/sources/{source}", "/v1/sources/gpu-1", b"", 200),
    ("POST", "/v1/signals", "/v1/signals?bundle=sri&unverified=true", None, 200),
    ("POST", "/v1/signals", "/v1/signals?bundle=none", b"", 404),
    ("POST", "/beta/litellm_basic_guardrail_api", "", b'{"litellm_call_id": "a"}', 200),
    ("POST", "/beta/litellm_basic_guardrail_api", "", b"[]", 400),
    ("DELETE", "/v1/verdicts/{id}", "/v1/verdicts/a", b"", 200),
    ("DELETE", "/v1/tenants/{tenant}", "/v1/tenants/t", b"", 200), ("GET", "/v1/bundles", "", b"", 200),
    ("POST", "/v1/bundles/{bundle}/rollback", "/v1/bundles/sri/rollback", b"", 409),
    ("POST", "/v1/bundles/{bundle}/shadow", "/v1/bundles/sri/shadow", b'{"on": false}', 200),
    ("POST", "/v1/bundles/{bundle}/shadow", "/v1/bundles/sri/shadow", b'{"on": true}', 409),
    ("GET", "/v2/health/live", "", b"", 200), ("GET", "/v2/health/ready", "", b"", 200),
    ("GET", "/metrics", "", b"", 200), ("GET", "/docs", "", b"", 200), ("GET", "/openapi.json", "", b"", 200),
]  # fmt: skip
"""(method, pattern, path if another, body, status), in an order in which they make sense."""


def test_real_answers_are_as_the_document_says(whole, make_signals):
    found = call(whole, "GET", "/openapi.json").json
    for method, pattern, path, body, status in TALK:
        content = lines(make_signals(2, 1)) if body is None else body
        got = ask(whole, method, path or pattern, content)
        assert got.status == status, (pattern, got.body)
        said = found["paths"][pattern][method.lower()]["responses"][str(status)]["content"]
        kind = got.headers[b"content-type"].decode().partition(";")[0]
        assert kind in said
        if kind == "application/json":
            assert wrong(got.json, said[kind]["schema"], found["components"]["schemas"]) == [], pattern


@pytest.mark.parametrize(("token", "status"), [(b"x" * 16, 401), (b"fedcba9876543210", 403)])
def test_refusals_of_a_token_are_as_the_document_says(whole, token, status):
    found = call(whole, "GET", "/openapi.json").json
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            got = ask(whole, method.upper(), re.sub(r"\{\w+\}", "a", path), token=token)
            if got.status in (401, 403):
                said = operation["responses"][str(got.status)]["content"]["application/json"]["schema"]
                assert wrong(got.json, said, found["components"]["schemas"]) == []
            needs = operation["security"] and (status == 401 or operation["security"][0]["bearer"] != ["read"])
            assert (got.status == status) == bool(needs), path


def test_the_yardstick_finds_what_does_not_fit():
    schema = {
        "type": "object",
        "required": ["a"],
        "properties": {"a": {"type": "integer"}},
        "additionalProperties": False,
    }
    assert wrong({"a": 1}, schema, {}) == []
    assert all(wrong(each, schema, {}) for each in ({}, {"a": True}, {"a": "1"}, {"a": 1, "b": 2}, []))


def test_a_stream_is_shown_with_what_its_events_hold(whole):
    said = call(whole, "GET", "/openapi.json").json["paths"]["/v1/verdicts"]["get"]["responses"]["200"]["content"]
    assert said["text/event-stream"]["x-event-data"]["$ref"].endswith("/StoredVerdict")


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.addresses, self.ids, self.open = [], [], set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("href", "src", "style") or name.startswith("on")]
        self.ids |= {value for name, value in attrs if name == "id"}
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_loads_nothing_and_its_links_lead_somewhere(whole):
    page = Tags()
    page.feed(call(whole, "GET", "/docs").body.decode())
    assert not {"script", "link", "img", "iframe", "form", "object"} & set(page.tags) and not page.open
    assert all(each == "openapi.json" or each.removeprefix("#") in page.ids for each in page.addresses)


def test_the_browser_is_told_to_load_nothing_but_the_style_of_the_page(app):
    got = call(app, "GET", "/docs")
    style = re.search(r"<style>(.*?)</style>", got.body.decode(), re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = got.headers[b"content-security-policy"].decode()
    assert policy.startswith("default-src 'none'; ") and f"style-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy and got.headers[b"x-content-type-options"] == b"nosniff"


def test_the_page_names_every_path_and_fits_a_phone_and_the_dark(whole):
    text = call(whole, "GET", "/docs").body.decode()
    assert all(f"<code>{method} {path}</code>" in text for method, path in OPERATIONS)
    assert "width=device-width" in text and "color-scheme: light dark" in text


def test_the_page_says_what_must_be_sent_and_what_counts_otherwise(whole):
    text = call(whole, "GET", "/docs").body.decode()
    shown = text.partition("<code>POST /v1/signals</code>")[2].partition("</section>")[0]
    assert "<code>bundle</code> (required)" in shown and "<code>rule</code></td>" in shown
    assert "default <code>final</code>" in shown and "`" not in text


def test_the_page_explains_each_error_once_and_every_operation_names_its_own(whole):
    found, text = call(whole, "GET", "/openapi.json").json, call(whole, "GET", "/docs").body.decode()
    assert text.count("No token, or an unknown one.") == 1
    shown = text.partition("<code>GET /v1/verdicts/{id}</code>")[2].partition("</section>")[0]
    said = found["paths"]["/v1/verdicts/{id}"]["get"]["responses"]
    assert ", ".join(each for each in said if each not in ("200", "404")) in shown and "<td>404</td>" in shown


def test_the_document_is_there_without_a_token_and_names_nothing_of_the_server(build, tmp_path):
    (tmp_path / "tokens").write_text("all:0123456789abcdef admin")
    app = build(tokens=tmp_path / "tokens", store={"url": f"sqlite:///{tmp_path}/secret.db"}).app

    async def run():
        answers = [await call_async(app, "GET", path) for path in ("/openapi.json", "/docs")]
        await leave(app)
        return answers

    for got in asyncio.run(run()):
        assert got.status == 200 and b"secret" not in got.body and str(tmp_path).encode() not in got.body
