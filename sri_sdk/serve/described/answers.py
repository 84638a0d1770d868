"""What the server answers beside the Open Inference Protocol, as models: the schemas of the document.

Nothing is answered through them. Handlers write plain JSON, and a test reads real answers with these.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from sri_sdk.serve.store.rows import Source
from sri_sdk.serve.verdicts.posted import PostedVerdict

Time = Annotated[int, Field(description="Milliseconds since 1970, UTC.")]
Seq = Annotated[int, Field(description="Number of the verdict; rises with every commit and is never used again.")]
Digest = Annotated[str, Field(description="Digest of a bundle, 64 characters.")]


class _Shown(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Error(_Shown):
    """Any refusal: subject, problem, what was found, what is allowed, next step."""

    error: str


class Nothing(_Shown):
    """An empty object: it is done."""


class Stored(_Shown):
    """What became of a post. It is on disk."""

    stored: int = Field(description="Verdicts that were new.")
    known: int = Field(description="Verdicts that had been delivered before.")


class Scored(_Shown):
    """The verdicts on posted signals, which are on disk too."""

    verdicts: list[PostedVerdict]
    bundle: Digest
    stored: int
    known: int


class LookedUp(_Shown):
    """The most severe verdict on one request."""

    id: str
    verdict: PostedVerdict
    verdicts: int = Field(description="How many different ones there are; counted up to 1,000.")
    seq: Seq
    received_at: Time
    source: str


class Unknown(_Shown):
    """Nobody has judged the request, by the rule that was asked for. It is not clear: the verdict in here says
    `unmonitored`."""

    id: str
    verdict: PostedVerdict
    verdicts: Literal[0]


class StoredVerdict(_Shown):
    """One verdict of a page or a stream."""

    seq: Seq
    id: str = Field(description="Id of the request, or its keyed hash where the store has `hash_ids`.")
    tenant: str
    source: str
    received_at: Time
    verdict: PostedVerdict


class VerdictPage(_Shown):
    """Verdicts in the order they were committed."""

    verdicts: list[StoredVerdict]
    next: int = Field(description="Pass it as `after` to go on. It may rise although `verdicts` is empty.")


class Erased(_Shown):
    """It is done."""

    erased: int = Field(description="Verdicts that were erased.")


class Removed(_Shown):
    """It is done. A source that lives comes back with its next heartbeat or verdict."""

    removed: int = Field(description="Sources that were removed: one for each tenant that had it.")


class SourceList(_Shown):
    """Every source, with its state. Times are milliseconds since 1970, UTC; null = never."""

    sources: list[Source]


class GuardrailAsked(BaseModel):
    """What LiteLLM's proxy sends. It sends more, which is not looked at."""

    input_type: Literal["request", "response"] = "response"
    litellm_call_id: str | None = None


class GuardrailAction(_Shown):
    """What the proxy does."""

    action: Literal["NONE", "BLOCKED"]
    blocked_reason: str | None = None


class BundleVersion(_Shown):
    """One loaded version."""

    version: str
    digest: Digest


class BundleState(_Shown):
    """One bundle."""

    name: str
    live: str | None = Field(description="Version that answers; null = none is loaded.")
    versions: list[BundleVersion]
    shadow: str | None = Field(description="Digest of the bundle that scores beside it; null = none does.")
    problem: str | None = Field(description="Why the last load failed; null = it did not.")
    shadow_problem: str | None = Field(description="Why the shadow was not loaded; null = it was, or there is none.")


class BundleList(_Shown):
    """Every bundle."""

    bundles: list[BundleState]


class ShadowAsked(_Shown):
    """Whether the shadow scores."""

    on: bool


class ShadowState(_Shown):
    """What scores beside the live bundle now."""

    shadow: str | None = Field(description="Digest; null = nothing does.")


class Live(_Shown):
    """The process answers."""

    live: Literal[True]


class Ready(_Shown):
    """Whether the server should get requests; if not, `reason` says why."""

    ready: bool
    reason: str | None = None
