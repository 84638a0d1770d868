"""Who sees whose verdicts, who may erase them, and who delivers."""

import pytest

from sri_sdk.serve.rights import Caller
from tests.serve.store.conftest import verdict
from tests.serve.verdicts.conftest import posted


@pytest.fixture
def tenants(service):
    everything = frozenset({"read", "write", "admin"})
    service.callers |= {name: Caller(name, everything, name) for name in ("x", "y", "long" * 40)}
    service("POST", "/v1/verdicts", posted(verdict("a", "flagged")), authorization="x")
    service("POST", "/v1/verdicts", posted(verdict("a")), sri_tenant="y")
    return service


def test_a_token_sees_its_own_tenants_verdicts_only(tenants):
    assert tenants("GET", "/v1/verdicts/a", authorization="x").json["verdict"]["status"] == "flagged"
    assert tenants("GET", "/v1/verdicts/a", authorization="y").json["verdict"]["status"] == "clear"
    page = tenants("GET", "/v1/verdicts", authorization="y").json
    assert [each["tenant"] for each in page["verdicts"]] == ["y"]


def test_without_a_tenant_everybodys_verdicts_are_seen(tenants):
    assert tenants("GET", "/v1/verdicts/a").json["verdicts"] == 2
    assert tenants("GET", "/v1/verdicts/a", sri_tenant="y").json["verdicts"] == 1


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"authorization": "x", "sri_tenant": "y"}, 403), ({"sri_tenant": "%FF"}, 400), ({"sri_tenant": "x" * 129}, 400),
     ({"sri_tenant": "a%0Ab"}, 400), ({"sri_tenant": ""}, 400), ({"authorization": "long" * 40}, 400)],
)  # fmt: skip
def test_a_tenant_that_is_not_ones_own_is_refused(tenants, headers, status):
    for method, path, body in (("GET", "/v1/verdicts/a", None), ("POST", "/v1/verdicts", posted(verdict("b")))):
        assert tenants(method, path, body, **headers).status == status


def test_a_tenants_name_may_be_in_any_script(service):
    service("POST", "/v1/verdicts", posted(verdict("a")), sri_tenant="%C3%A9%20b")
    assert service("GET", "/v1/verdicts").json["verdicts"][0]["tenant"] == "é b"


def test_erasing_stays_within_the_tenant(tenants):
    assert tenants("DELETE", "/v1/tenants/x", authorization="y").status == 403
    assert tenants("DELETE", "/v1/verdicts/a", authorization="y").json == {"erased": 1}
    assert tenants("GET", "/v1/verdicts/a", authorization="x").status == 200
    assert tenants("DELETE", "/v1/tenants/x").json == {"erased": 1} and tenants.store.totals() == (0, 0)


def test_erasing_needs_the_right_to(service):
    service.callers["w"] = Caller("w", frozenset({"read", "write"}))
    assert service("DELETE", "/v1/verdicts/a", authorization="w").status == 403


def test_a_heartbeat_shows_how_a_source_is(service):
    canary = {"status": None, "request_id": "sri-canary-1", "found": False, "at": 5, "reasons": []}
    beat = {"source": "gpu-1", "pid": 7, "sent": 3, "dropped": 0, "waiting": 0, "generations": 3, "without_verdict": 0}
    assert service("POST", "/v1/heartbeats", beat).json == {}
    (source,) = service("GET", "/v1/sources").json["sources"]
    assert (source["source"], source["state"], source["sent"]) == ("gpu-1", "quiet", 3)
    service("POST", "/v1/heartbeats", {**beat, "canary": canary})
    (source,) = service("GET", "/v1/sources").json["sources"]
    assert (source["state"], source["why"], source["canary"]) == ("tap_missing", "canary_not_flagged", canary)


@pytest.mark.parametrize(
    "wrong", [{"source": ""}, {"pid": -1}, {"sent": 1.5}, {"canary": {}}, {"canary": {"status": "x"}}, {"more": 1},
              {"canary": {"status": "flagged", "note": "x" * 5000}}]
)  # fmt: skip
def test_a_heartbeat_that_is_wrong_is_refused(service, wrong):
    assert service("POST", "/v1/heartbeats", {"source": "gpu-1", **wrong}).status == 400
