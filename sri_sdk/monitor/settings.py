"""What the YAML file of a monitor may say, version 1: declarations only. `reading.py` reads and checks it.

The descriptions document the format. Paths are relative to the working directory, as everywhere in this SDK.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from sri_sdk.config.fit import Options, SoftField, TrustSection, Version
from sri_sdk.monitor.lookout_settings import CanariesSection, DriftSection
from sri_sdk.plugin import Config
from sri_sdk.policy import Policy
from sri_sdk.serve.settings import LOCALHOSTS, Name, Port, ShadowSection

FOLDER = Path("out/monitor")
"""Where a monitor keeps what it writes, unless its file says otherwise."""

Mode = Literal["observe", "enforce"]
Share = Annotated[float, Field(ge=0, le=1)]


class GuardSection(Config):
    """The guard that watches."""

    path: Path = Field(description="The folder `sri fit` wrote, with anchors and bundle; read again by a reload.")
    trust: TrustSection = Field(
        default=TrustSection(),
        description="What it must prove, also when it is replaced. Without it, a swapped guard goes unnoticed.",
    )


class ScoringSection(Config):
    """Where signals become verdicts."""

    where: Literal["process", "local", "remote"] = Field(
        default="process",
        description="process = where the model runs; local = in a process of its own on this machine, which is started "
        "and restarted; remote = at a `sri serve` elsewhere. The last two with rule: final only.",
    )
    url: str | None = Field(default=None, description="Of remote: http://HOST:PORT, https://HOST:PORT or unix:/PATH.")
    token_file: Path | None = Field(default=None, description="Of remote: file with the bearer token.")
    ca_file: Path | None = Field(
        default=None, description="Of remote: PEM file with who may have signed its certificate; null = the system's."
    )
    bundle: str | None = Field(default=None, description="Of remote: name under which it has the guard.")
    budget_s: float = Field(
        default=0.5,
        gt=0,
        le=60,
        description="Of local and remote: most seconds that one batch waits for its verdicts. Beyond, they are "
        "unmonitored, and the policy says what follows.",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        remote = {name: getattr(self, name) for name in ("url", "token_file", "ca_file", "bundle")}
        if self.where != "remote" and (given := [name for name, value in remote.items() if value is not None]):
            raise ValueError(f"{given[0]}: goes with where: remote, found where: {self.where}; leave it out")
        if self.where == "remote" and (missing := [name for name in ("url", "bundle") if remote[name] is None]):
            raise ValueError(f"{missing[0]}: required with where: remote, but missing")
        return self


class RequestsSection(Config):
    """Where requests come from, where `sri monitor` generates itself."""

    model_config = ConfigDict(populate_by_name=True)

    source: Literal["http", "stdin", "dataset"] = Field(
        alias="from",
        description="http = posted to /v1/generate; stdin = JSON lines; dataset = prompts of the config's dataset, for "
        "trials and soaks.",
    )
    host: str = Field(default="127.0.0.1", description="Of http: address to listen on.")
    port: Port = Field(default=8100, description="Of http: port to listen on; 0 = any free one.")
    tokens: Path | None = Field(
        default=None, description="Of http: file of bearer tokens, as for `sri serve`; they need the right write."
    )
    no_auth: bool = Field(
        default=False, description="Of http: ask nobody for a token, also where other machines can reach it."
    )
    waiting: int = Field(
        default=256, ge=1, le=100_000, description="Of http: requests that may wait; beyond, 429 with Retry-After."
    )
    split: str | None = Field(default=None, description="Of dataset: the split.")
    harmful: Share = Field(default=0.0, description="Of dataset: share of plain harmful requests.")
    attacks: dict[str, Share] = Field(
        default={}, description="Of dataset: attack transform -> share of harmful requests under it."
    )
    rate: float | None = Field(
        default=None, gt=0, description="Of dataset: requests per second, evenly; null = as fast as they are generated."
    )
    count: int | None = Field(
        default=None, ge=1, description="Of dataset: requests until it ends; null = until the monitor is stopped."
    )
    prompts: int = Field(
        default=200, ge=1, description="Of dataset: different prompts of each kind; then they come again under new ids."
    )
    seed: int = Field(default=0, ge=0, description="Of dataset: draws the kind of each request.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        own = {
            "http": ("host", "port", "tokens", "no_auth", "waiting"),
            "stdin": (),
            "dataset": ("split", "harmful", "attacks", "rate", "count", "prompts", "seed"),
        }
        for source, names in own.items():
            if source != self.source and (given := [name for name in names if name in self.model_fields_set]):
                raise ValueError(f"{given[0]}: goes with from: {source}, found from: {self.source}; leave it out")
        if self.source == "dataset" and self.split is None:
            raise ValueError("split: required with from: dataset, but missing")
        if (whole := self.harmful + sum(self.attacks.values())) > 1 + 1e-9:
            raise ValueError(f"harmful and attacks sum to {whole:.6g}; allowed: at most 1, the rest is harmless")
        open_to_others = self.source == "http" and self.host not in LOCALHOSTS
        if open_to_others and self.tokens is None and not self.no_auth:
            raise ValueError(
                f"other machines can reach {self.host}, and no tokens are asked for; give `tokens`, listen on "
                f"{LOCALHOSTS[0]}, or say no_auth: true"
            )
        return self


class AuditSection(Config):
    """With which probability a verdict is drawn for people to label: the measured false-alarm rate comes from these."""

    flagged: Share = Field(default=1.0, description="Of flagged generations.")
    clear: Share = Field(
        default=0.01, description="Of clear ones. Without them, false alarms can be counted but no rate be measured."
    )
    unmonitored: Share = Field(default=0.0, description="Of unmonitored ones.")

    def rate(self, status: str) -> float:
        """Of a status; what was not sampled is never drawn."""
        return float(getattr(self, status, 0.0))


class SpoolSection(Config):
    """The file in which observations wait for the sinks."""

    path: Path | None = Field(
        default=None, description="The file; null = out/monitor/NAME/spool.db. One monitor at a time has it."
    )
    max_bytes: int = Field(
        default=2**30, ge=2**16, description="Bytes that may wait for one sink; beyond, they are dropped and counted."
    )


class SinkSection(Config):
    """Plugin of kind sinks."""

    name: str = Field(description="Name of the plugin, as `sri plugins list` prints it.")
    options: Options = Field(default_factory=dict)
    label: str | None = Field(
        default=None,
        pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="What this one is called, where a plugin is used twice; null = as the plugin. The spool knows it "
        "by that: under a new label, what waits under the old one stays behind.",
    )

    @property
    def called(self) -> str:
        """Its name in counts and in the spool."""
        return self.label or self.name


def default_sinks() -> tuple[SinkSection, ...]:
    """Where observations go of a monitor whose file names no sinks."""
    return (SinkSection(name="sql", options={"url": f"sqlite:///{FOLDER}/verdicts.db"}),)


class MonitorSettings(Config):
    """Everything a monitor is told."""

    version: Version = Field(description="Version of this file format.")
    name: Name = Field(description="Name of this deployment: in the store, on the dashboard, in metrics.")
    config: Path | None = Field(
        default=None,
        description="YAML file of the fit: model, sampler, prompt, and the policy unless one stands here. The model is "
        "loaded from it. null = your own process generates, under Monitor.watch.",
    )
    guard: GuardSection = Field(description="The guard that watches.")
    scoring: ScoringSection = Field(default=ScoringSection(), description="Where signals become verdicts.")
    mode: Mode = Field(
        description="observe = nothing follows from a verdict, and what the policy would have withheld is counted; "
        "enforce = the policy is applied. No default: somebody decides."
    )
    policy: Policy | None = Field(
        default=None, description="What happens on a verdict; null = as the config has it. Required without a config."
    )
    accept: tuple[SoftField, ...] = Field(
        default=(), description="Soft fields of the fingerprint that may differ, beside those of the config."
    )
    sample: Share = Field(
        default=1.0, description="Share of requests that are watched; the others are not_sampled, which is a verdict."
    )
    requests: RequestsSection | None = Field(
        default=None, description="Where requests come from. Needs a config; null = from your own process."
    )
    batch_size: int = Field(
        default=8, ge=1, le=4096, description="Most requests generated at once. None waits for a batch to fill."
    )
    store_texts: bool = Field(
        default=False,
        description="Whether prompts, responses and drafts go to the sinks, and drafts to onlookers. They are what "
        "users typed: say yes only if you may keep it.",
    )
    trajectories: bool = Field(default=True, description="Whether the signal of each generation goes to the sinks.")
    audit: AuditSection = Field(default=AuditSection(), description="What people are asked to label.")
    canaries: CanariesSection | None = Field(
        default=None,
        description="Prompts that the monitor asks itself, to see whether the guard still works; null = none.",
    )
    drift: DriftSection | None = Field(
        default=None,
        description="When scores count as changed; null = the usual for canaries, and traffic is not compared.",
    )
    shadow: ShadowSection | None = Field(
        default=None,
        description="A second guard that scores the same signals; nothing follows from what it says. null = none.",
    )
    spool: SpoolSection = Field(default=SpoolSection(), description="Where observations wait for the sinks.")
    sinks: tuple[SinkSection, ...] = Field(
        default_factory=default_sinks,
        min_length=1,
        description="Plugins of kind sinks: where verdicts go. Default: sql, to out/monitor/verdicts.db.",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        called = [sink.called for sink in self.sinks]
        if twice := sorted({name for name in called if called.count(name) > 1}):
            raise ValueError(f"sinks: {twice[0]!r} is there twice; give each a `label` of its own")
        if self.config is None and self.requests is not None:
            raise ValueError("requests: needs a config, whose model answers them; give `config`, or leave requests out")
        if self.config is None and self.canaries is not None:
            raise ValueError(
                "canaries: need a config, whose dataset they come from; give `config`, or leave canaries out"
            )
        if self.config is None and self.policy is None:
            raise ValueError("policy: required without a config, but missing")
        return self

    @property
    def spool_path(self) -> Path:
        """The file of the spool."""
        return self.spool.path or FOLDER / self.name / "spool.db"
