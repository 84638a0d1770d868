"""What the document says of each method and path. A route that is missing here is shown by its path alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from pydantic import BaseModel

from sri_sdk.records import Rule, Status
from sri_sdk.serve.described import answers as shown
from sri_sdk.serve.http import LONGEST_ID
from sri_sdk.serve.verdicts.callers import LONGEST_NAME
from sri_sdk.serve.verdicts.posted import PostedHeartbeat, PostedVerdicts

Form = type[BaseModel] | str
"""A model of JSON, or the media type of something else."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    summary: str
    answer: Form = "application/octet-stream"
    group: str = "server"
    body: Form | None = None
    query: Mapping[str, tuple[dict[str, Any], str]] = field(default_factory=dict)
    """Name -> schema, description. Those in `required` must be sent."""
    required: tuple[str, ...] = ()
    refused: tuple[int, ...] = ()
    """Statuses of errors, beside those of every request with such a right and such a body."""
    others: Mapping[int, type[BaseModel]] = field(default_factory=dict)
    """Status -> what is answered with it, where that is no error message."""
    stream: type[BaseModel] | None = None
    """What each event holds, where `Accept: text/event-stream` is answered with a stream."""
    tenant: bool = False
    """Whether the header `sri-tenant` counts."""


def _whole(most: int, default: int, least: int = 0) -> dict[str, Any]:
    return {"type": "integer", "minimum": least, "maximum": most, "default": default}


TEXT = {"type": "string", "minLength": 1, "maxLength": LONGEST_ID}
NAME = {"type": "string", "minLength": 1, "maxLength": LONGEST_NAME}
PARAMETERS: Mapping[str, tuple[dict[str, Any], str]] = {
    "id": (TEXT, "Id of a request, percent-encoded; a slash is %2F."),
    "tenant": (NAME, "A tenant, percent-encoded."),
    "source": (NAME, "A source, percent-encoded."),
    "bundle": (TEXT, "Name of a bundle."),
}
"""What stands in braces in a path."""
_STATUS = {"type": "string", "enum": list(get_args(Status))}
_VERDICTS: dict[str, Any] = {"group": "verdicts", "tenant": True}

GROUPS: Mapping[str, str] = {
    "verdicts": "What guards said of requests.", "signals": "Signals that are scored here.",
    "gateways": "What gateways ask by themselves.", "sources": "Who delivers, and how each of them is.",
    "erasure": "Taking out what is known.", "bundles": "What scores.", "health": "Probes.",
    "server": "The server itself.",
}  # fmt: skip
"""Group of operations -> what it is about, in the order in which they are shown."""
OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("POST", "/v1/verdicts"): Operation(
        "Store verdicts that another process reached.", shown.Stored, body=PostedVerdicts, refused=(503,), **_VERDICTS
    ),
    ("GET", "/v1/verdicts/{id}"): Operation(
        "Look up the most severe verdict on a request.", shown.LookedUp, refused=(503,), others={404: shown.Unknown},
        query={
            "wait_ms": (_whole(30_000, 0), "Milliseconds to wait for a first verdict; more counts as the most."),
            "rule": (
                {"type": "string", "enum": list(get_args(Rule))},
                "Waits for a verdict of this rule, or one that flags; without either, nothing is clear.",
            ),
        },
        **_VERDICTS,
    ),
    ("GET", "/v1/verdicts"): Operation(
        "Read verdicts in the order of their commits, as pages or as a stream.", shown.VerdictPage, refused=(503,),
        query={
            "after": (_whole(2**53 - 1, 0), "`next` of the page before. A stream takes Last-Event-ID instead."),
            "limit": (_whole(1_000, 100, 1), "Verdicts of one page."),
            "status": (_STATUS, "Only these."),
        },
        stream=shown.StoredVerdict, **_VERDICTS,
    ),
    ("DELETE", "/v1/verdicts/{id}"): Operation(
        "Erase what is known about a request.", shown.Erased, "erasure", refused=(503,), tenant=True
    ),
    ("DELETE", "/v1/tenants/{tenant}"): Operation(
        "Erase everything of a tenant.", shown.Erased, "erasure", refused=(503,), tenant=True
    ),
    ("POST", "/v1/signals"): Operation(
        "Score signals, store the verdicts and answer them.", shown.Scored, "signals", body="application/jsonl",
        query={
            "bundle": (TEXT, "Name of the bundle that scores."),
            "rule": ({"type": "string", "enum": list(get_args(Rule)), "default": "final"}, "One that the guard has."),
            "accept": ({"type": "string"}, "Soft fields of the fingerprint that may differ, commas between them."),
            "unverified": ({"type": "boolean", "default": False}, "Score signals that do not say what made them."),
            "source": (NAME, "Who made the signals."),
        },
        required=("bundle",), refused=(404, 409, 503), tenant=True,
    ),
    ("POST", "/v1/heartbeats"): Operation(
        "Say that a source lives.", shown.Nothing, "sources", body=PostedHeartbeat, refused=(503,), tenant=True
    ),
    ("GET", "/v1/sources"): Operation(
        "See how each source is.", shown.SourceList, "sources", refused=(503,), tenant=True
    ),
    ("DELETE", "/v1/sources/{source}"): Operation(
        "Remove a source that is gone for good.", shown.Removed, "sources", refused=(503,), tenant=True
    ),
    ("POST", "/beta/litellm_basic_guardrail_api"): Operation(
        "Tell LiteLLM's proxy whether a response may go out.", shown.GuardrailAction, "gateways",
        body=shown.GuardrailAsked, tenant=True,
    ),
    ("GET", "/v1/bundles"): Operation("See every bundle and its versions.", shown.BundleList, "bundles"),
    ("POST", "/v1/bundles/{bundle}/rollback"): Operation(
        "Make live what was live before.", shown.BundleVersion, "bundles", refused=(404, 409)
    ),
    ("POST", "/v1/bundles/{bundle}/shadow"): Operation(
        "Let the shadow score, or stop it.", shown.ShadowState, "bundles", body=shown.ShadowAsked,
        refused=(404, 409, 422),
    ),
    ("GET", "/v2/health/live"): Operation("Ask whether the process answers.", shown.Live, "health"),
    ("GET", "/v2/health/ready"): Operation(
        "Ask whether the server should get requests.", shown.Ready, "health", others={503: shown.Ready}
    ),
    ("GET", "/metrics"): Operation("Read the numbers, as Prometheus does.", "text/plain"),
    ("GET", "/openapi.json"): Operation("Read this document.", "application/json"),
    ("GET", "/docs"): Operation("Read this document as a page.", "text/html"),
}  # fmt: skip
"""(method, pattern) -> what it does."""
