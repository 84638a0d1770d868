"""What the YAML file of an engine's tap may say, version 1. Paths are relative to the working directory."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from sri_sdk import registry
from sri_sdk.client.settings import ClientSettings
from sri_sdk.config.check_fit import check_sink_sections
from sri_sdk.config.fit import PluginSection, SoftField, TrustSection, Version
from sri_sdk.config.yaml_file import as_settings, file_error, read_mapping
from sri_sdk.plugin import Config
from sri_sdk.policy import Action
from sri_sdk.records import Rule
from sri_sdk.sink import Sink


class EngineGuardSection(Config):
    """The guard that watches."""

    path: Path = Field(description="The folder `sri fit` wrote, with anchors and bundle.")
    trust: TrustSection = Field(default=TrustSection(), description="What it must prove.")


class ResponseSection(Config):
    """The verdict in the responses of an OpenAI-compatible server, where a client asks for it."""

    detail: Literal["status", "full"] = Field(
        default="status",
        description="status = request id, status and when it ended; full = scores and reasons as well, which help "
        "whoever probes the guard.",
    )
    wait_s: float = Field(default=2.0, ge=0, le=30, description="Longest that a response waits for its verdict.")
    trust_request_id: bool = Field(
        default=False,
        description="Take the id from the header x-request-id. Only behind a gateway that sets it: whoever chooses ids "
        "may choose one that was judged already.",
    )


class EngineSettings(Config):
    """The file of an engine's tap."""

    version: Version = Field(description="Of this format: 1.")
    guard: EngineGuardSection = Field(description="The guard that watches.")
    rule: Rule = Field(default="final", description="When the guard decides. Requests are judged once they have ended.")
    hook: str | None = Field(
        default=None, description="Plugin of kind hooks: the model family; null = the installed one that fits."
    )
    accept: tuple[SoftField, ...] = Field(
        default=(), description="Soft fields of the fingerprint that may differ from the guard's."
    )
    system_prompt: str | None = Field(
        default=None, description="System prompt of all requests; a request with another one is unmonitored."
    )
    block_sums_mb: int = Field(
        default=64,
        ge=0,
        le=65536,
        description="Memory on the device for sums of prefix-cache blocks, of guards that read requests. 0 = none: a "
        "request that the cache spares a part of has no number for what was asked.",
    )
    if_blind: Literal["refuse", "unmonitored"] = Field(
        default="refuse",
        description="What if the engine's options keep the tap from seeing, such as CUDA graphs: refuse = the engine "
        "does not start; unmonitored = it does, and every request is unmonitored.",
    )
    tampered: Action = Field(
        default="report",
        description="Of canvas models: what if a client fills in or pins positions of a response before the first "
        "step. report = the verdict says so (canvas_primed, canvas_rewritten) and is unmonitored at least; abort = "
        "such a request is refused.",
    )
    store: ClientSettings | None = Field(
        default=None, description="The `sri serve` that verdicts and heartbeats go to: options of VerdictClient."
    )
    response: ResponseSection = Field(
        default=ResponseSection(), description="The verdict in responses; needs the middleware, and store."
    )
    sinks: tuple[PluginSection, ...] = Field(
        default=(), description="Plugins of kind sinks: where verdicts go besides."
    )

    @model_validator(mode="after")
    def _goes_somewhere(self) -> Self:
        if self.store is None and not self.sinks:
            raise ValueError("store and sinks are both missing, so nobody would learn of a verdict; give one of them")
        return self


def read_engine_settings(source: Path | str) -> EngineSettings:
    """Reads and checks the file. Loads neither model nor guard.

    Raises:
        ConfigError: `problems` holds one `file: path: problem` per mistake; all of them, not only the first.
    """
    source = Path(source)
    settings = as_settings(source, read_mapping(source), EngineSettings)
    if found := check_sink_sections([sink.model_dump() for sink in settings.sinks]):
        raise file_error(source, found)
    return settings


def sinks_of(settings: EngineSettings) -> list[Sink]:
    """The sinks that are named, open; they are the caller's to close."""
    return [registry.build("sinks", sink.name, sink.options) for sink in settings.sinks]
