"""What the YAML file of a server may say, version 1. The options of `sri serve` are laid over it.

Paths in it are relative to the working directory, as everywhere in this SDK.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, ValidationError, model_validator

from sri_sdk.config.fit import TrustSection
from sri_sdk.config.yaml_file import as_settings, read_mapping
from sri_sdk.errors import ConfigError
from sri_sdk.plugin import Config
from sri_sdk.records import Rule
from sri_sdk.serve.overlay import laid_over
from sri_sdk.serve.store.kept import Retention

SERVE_VERSION = 1
LOCALHOSTS = ("127.0.0.1", "::1", "localhost")

Name = Annotated[str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Port = Annotated[int, Field(ge=0, le=65535)]


class ShadowSection(Config):
    """A second bundle that scores the same signals; its verdicts are compared and counted, never given out."""

    path: Path = Field(description="The bundle, a folder or its zip.")
    trust: TrustSection = Field(default=TrustSection(), description="What it must prove.")


class BundleSection(Config):
    """One bundle under one name."""

    path: Path = Field(description="The bundle, a folder or its zip; read again by a reload.")
    trust: TrustSection = Field(
        default=TrustSection(), description="What it must prove, also when it is replaced. Without it, a swap goes by."
    )
    shadow: ShadowSection | None = Field(default=None, description="A bundle scored beside it; null = none.")
    keep: int = Field(default=2, ge=1, le=16, description="Versions that stay loaded, the live one included.")
    hold: bool = Field(default=False, description="A reload by signal leaves it as it is.")


class TlsSection(Config):
    """TLS of the HTTP socket."""

    certificate: Path = Field(description="PEM file with the certificate, and those that lead to its root.")
    key: Path = Field(description="PEM file with its private key.")
    client_ca: Path | None = Field(
        default=None,
        description="PEM file; clients must then show a certificate that it signed. null = they need none.",
    )


class GrpcSection(Config):
    """The gRPC side of the Open Inference Protocol; needs the extra `grpc`."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: Port = Field(description="Port to listen on; 0 = any free one.")
    threads: int = Field(default=8, ge=1, le=256, description="Calls that are answered at once.")


class LimitsSection(Config):
    """What one request may take, and all of them together. Beyond: 413, 429 with Retry-After, 408 or 503."""

    body_bytes: int = Field(default=16 * 2**20, ge=1024, description="Bytes of one request's body.")
    rows: int = Field(default=4096, ge=1, description="Generations in one request.")
    concurrency: int = Field(default=256, ge=1, description="Requests answered at once; further ones get 429.")
    waiting: int = Field(default=1024, ge=1, description="Requests that may wait for a verdict at once, beside those.")
    queue: int = Field(default=4096, ge=1, description="Generations that wait for a slow bundle; beyond, 503.")
    seconds: float = Field(default=30.0, gt=0, description="Longest a request may take, its body included.")
    head_seconds: float = Field(default=10.0, gt=0, description="Longest that the head of a request may take.")
    drain_seconds: float = Field(default=20.0, ge=0, description="Longest that a shutdown waits for running requests.")


class StoreSection(Retention):
    """Where verdicts are kept."""

    url: str = Field(
        default="sqlite:///sri-verdicts.db", description="SQLAlchemy address: a file of SQLite, or PostgreSQL."
    )
    hash_ids: bool = Field(default=False, description="Keep keyed hashes of request ids instead of the ids.")
    hash_key: Path | None = Field(
        default=None, description="File with the key of these hashes; needed by `hash_ids`, made where there is none."
    )

    @model_validator(mode="after")
    def _has_its_key(self) -> Self:
        if self.hash_ids != (self.hash_key is not None):
            raise ValueError("hash_ids and hash_key go together; give both, or neither")
        return self


class GatewaysSection(Config):
    """What gateways are answered."""

    unmonitored: Literal["block", "pass"] | None = Field(
        default=None, description="What a gateway is answered where there is no verdict. null = no gateway is served."
    )
    wait_seconds: float = Field(
        default=2.0, ge=0, le=30, description="Longest that a gateway's look-up waits for a verdict."
    )
    rule: Rule | None = Field(
        default=None,
        description="Rule whose verdict it waits for, where one request has several; null = the first verdict ends it.",
    )


class TracesSection(Config):
    """OpenTelemetry spans; needs the extra `traces`."""

    endpoint: str = Field(
        pattern="^https?://[^/?#]+",
        description="Address of the collector that takes OTLP over HTTP; /v1/traces is added to one without a path.",
    )


class ServeSettings(Config):
    """Everything a server is told."""

    version: Literal[1] = Field(default=1, description="Version of this format.")
    bundles: dict[Name, BundleSection] = Field(
        default={}, description="Name -> bundle. Models are NAME_signal and so on."
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: Port = Field(default=8000, description="Port to listen on; 0 = any free one.")
    uds: Path | None = Field(default=None, description="Unix socket to listen on instead.")
    tls: TlsSection | None = Field(default=None, description="TLS; null = none.")
    tokens: Path | None = Field(default=None, description="File of bearer tokens, one a line; see docs/serve.md.")
    no_auth: bool = Field(
        default=False, description="Ask nobody for a token, also where other machines can reach the server."
    )
    grpc: GrpcSection | None = Field(default=None, description="gRPC beside HTTP; null = none.")
    limits: LimitsSection = Field(default=LimitsSection(), description="What requests may take.")
    store: StoreSection | None = Field(default=None, description="The verdict store; null = none.")
    gateways: GatewaysSection = Field(default=GatewaysSection(), description="What gateways are answered.")
    traces: TracesSection | None = Field(default=None, description="OpenTelemetry; null = none.")

    @model_validator(mode="after")
    def _safe(self) -> Self:
        open_to_others = self.uds is None and self.host not in LOCALHOSTS
        open_to_others |= self.grpc is not None and self.grpc.host not in LOCALHOSTS
        if open_to_others and self.tokens is None and not self.no_auth:
            raise ValueError(
                f"other machines can reach {self.host} or the gRPC host, and no tokens are asked for; give `tokens`, "
                f"listen on {LOCALHOSTS[0]} or `uds`, or say `no_auth: true` (`--no-auth`)"
            )
        if self.tokens is not None and self.no_auth:
            raise ValueError(
                "tokens and no_auth go against each other: one asks for tokens, the other asks nobody. Keep one of them"
            )
        if self.gateways.unmonitored is not None and self.store is None:
            raise ValueError("gateways look verdicts up, and there is no `store`; add one, or leave `gateways` out")
        if self.uds is not None and self.tls is not None:
            raise ValueError("tls goes with a port, not with the unix socket `uds`; leave one out")
        return self


def is_server(source: Path) -> bool:
    """Whether a YAML file is that of a server: it has a key that only such a file has, and none of another kind.

    Raises:
        ConfigError: it cannot be read, or is not YAML.
    """
    keys = read_mapping(source).keys()
    return bool(keys & _OWN) and not keys & _OTHERS


_OWN = {"bundles", "store", "tokens", "no_auth", "grpc", "tls", "uds", "gateways", "traces", "host", "port"}
_OTHERS = {"model", "models", "guard", "prompts", "sampler", "policy", "out"}
"""Keys of the files of `sri fit`, `sri eval` and `sri monitor`."""


def read_settings(
    source: Path | None, over: Mapping[str, Any], *, public_key: Path | None = None, digest: str | None = None
) -> ServeSettings:
    """The settings of a server.

    Args:
        source: YAML file; None = no file.
        over: what the command line says, field by field; it counts more, and what it leaves out stays.
        public_key: that must have signed the bundles; see `with_trust`.
        digest: of the only bundle.

    Raises:
        ConfigError: every mistake, one `file: path: problem` each.
    """
    where = Path("sri serve") if source is None else source
    written = laid_over({} if source is None else read_mapping(source), over)
    settings = as_settings(where, written, ServeSettings)
    if not settings.bundles and settings.store is None:
        raise ConfigError(f"{where}: no bundle and no store, so there is nothing to serve. Give a bundle: NAME=PATH")
    return with_trust(settings, public_key, digest, named=over.get("bundles", {}))


def with_trust(
    settings: ServeSettings, public_key: Path | None, digest: str | None, named: Collection[str]
) -> ServeSettings:
    """Settings whose bundles must prove what `--public-key` and `--digest` ask for.

    Args:
        settings: of file and command line.
        public_key: of the bundles `named`, and of every other bundle and shadow whose `trust` names no key.
        digest: of the only bundle; its shadow is another bundle, and has none of it.
        named: bundles that the command line names.

    Raises:
        ConfigError: an option would count for nothing, or is no digest.
    """
    bundles = settings.bundles
    if digest is not None and len(bundles) != 1:
        raise ConfigError(
            f"--digest: is of one bundle, and there are {len(bundles)}: {', '.join(bundles) or 'none'}. Write "
            "`trust: {digest: ...}` into the file, at each bundle."
        )
    if public_key is not None:
        proven = {}
        for name, bundle in bundles.items():
            found = _keyed(bundle, public_key, always=name in named)
            shadow = None if found.shadow is None else _keyed(found.shadow, public_key)
            proven[name] = found.model_copy(update={"shadow": shadow})
        if proven == bundles:
            why = "every bundle names a key of its own in the file" if bundles else "there is no bundle"
            raise ConfigError(f"--public-key: {why}, so it would not be used. Leave it out.")
        bundles = proven
    if digest is not None:
        ((name, bundle),) = bundles.items()
        try:
            trust = TrustSection(public_key=bundle.trust.public_key, digest=digest.strip().lower())
        except ValidationError as err:
            raise ConfigError(
                "--digest: must be the 64 hex characters that `sri bundle inspect` prints as the bundle's digest."
            ) from err
        bundles = {name: bundle.model_copy(update={"trust": trust})}
    return settings.model_copy(update={"bundles": bundles})


Section = TypeVar("Section", BundleSection, ShadowSection)


def _keyed(section: Section, public_key: Path, always: bool = False) -> Section:
    if section.trust.public_key is not None and not always:
        return section
    return section.model_copy(update={"trust": section.trust.model_copy(update={"public_key": public_key})})
