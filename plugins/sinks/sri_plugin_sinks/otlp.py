"""Observations as OpenTelemetry events `gen_ai.evaluation.result`, by OTLP over HTTP.

The records are built and posted here, and not by OpenTelemetry's SDK: its exporter tries again by itself, tells nobody
what a collector refused, and takes records of an interface that is private still.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import Field, field_validator

import sri_sdk
from sri_plugin_sinks.http_post import Answer, HttpOptions, Poster, in_halves
from sri_plugin_sinks.queued import QueuedSink
from sri_sdk.errors import MissingExtra, SinkRejected
from sri_sdk.strict_json import is_text

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import KeyValue
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

SRI_PLUGIN_API = 1

EVENT = "gen_ai.evaluation.result"
EVALUATION = "sri.jailbreak"
"""What `gen_ai.evaluation.name` says: what was evaluated."""
PATH = "/v1/logs"
HEADERS = {"Content-Type": "application/x-protobuf", "User-Agent": f"sri-sdk/{sri_sdk.__version__}"}
NOT_JUDGED = ("unmonitored", "not_sampled")
_VERDICT = {"clear": "allow", "flagged": "block"}
_ACTION = {"released": "allow", "would_withhold": "allow", "withheld": "block", "recovered": "modify"}


class OtlpSink(QueuedSink):
    """One log record per observation, which is an event: what the guard said, never a text.

    Names of OpenTelemetry's semantic conventions for generative AI, which are in development; what they have no name
    for begins with `sri.`.
    """

    class Config(HttpOptions):
        """Options of the sink; of `url` an address without a path means `/v1/logs`."""

        service: str = Field(default="sri", min_length=1, max_length=128, description="What service.name says.")
        guardrail_names: bool = Field(
            default=False,
            description="Say it with the names proposed for guardrails too (gen_ai.security.*). They are not settled, "
            "and may change with any release.",
        )

        @field_validator("url")
        @classmethod
        def _with_a_path(cls, url: str) -> str:
            return url.rstrip("/") + PATH if urlsplit(url).path in ("", "/") else url

    def __init__(self, config: Any = None) -> None:
        """Takes the options; `url` is required. Nobody is asked yet.

        Raises:
            MissingExtra: opentelemetry-proto is not installed.
            ConfigError: a file that is named cannot be read, or is not what it should be.
        """
        super().__init__(config)
        self.batch = self.config.batch
        self._poster = Poster(self.config, "sink otlp")
        _needs_protobuf()

    @classmethod
    def check(cls, config: Any, timeout_s: float) -> str:
        """Reads the files that are named, and connects to the collector without posting.

        Raises:
            MissingExtra, ConfigError: as the constructor.
            NotTaken: nobody answers at the address, or its certificate is not trusted.
        """
        _needs_protobuf()
        return Poster(config, "sink otlp").reach(timeout_s)

    def deliver(self, observations: Sequence[sri_sdk.Observation]) -> None:
        """Posts them, once; a batch that is refused again in halves, since one that is too large or odd costs no other.

        Raises:
            SinkRejected: the collector refused them or some of them, or a name in them is not text.
            NotTaken: it could not be reached, or asked for another try.
        """
        rejected = {each.id for each in observations if not is_text(f"{each.request_id}{each.model}{each.deployment}")}
        sent = [each for each in observations if each.id not in rejected]
        statuses = set()
        for some, answer in in_halves(sent, self._post):
            # Which ones it refused, a collector does not say. The count is right; the ids are the first ones.
            refused = _refused(answer.content) if answer.taken else len(some)
            rejected |= {each.id for each in some[:refused]}
            statuses |= set() if answer.taken else {answer.status}
        if rejected:
            answered = f", answered {', '.join(map(str, sorted(statuses)))}" if statuses else ""
            raise SinkRejected(rejected, f"{self._poster.where}: refused by the collector, or not text{answered}")

    def _post(self, sent: Sequence[sri_sdk.Observation]) -> Answer:
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
        from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
        from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs, ScopeLogs
        from opentelemetry.proto.resource.v1.resource_pb2 import Resource

        records = [self._record(each) for each in sent]
        scope = ScopeLogs(scope=InstrumentationScope(name="sri_sdk", version=sri_sdk.__version__), log_records=records)
        own = Resource(attributes=_attributes({"service.name": self.config.service}))
        body = ExportLogsServiceRequest(resource_logs=[ResourceLogs(resource=own, scope_logs=[scope])])
        return self._poster.post(body.SerializeToString(), HEADERS)

    def _record(self, observation: sri_sdk.Observation) -> LogRecord:
        from opentelemetry.proto.logs.v1.logs_pb2 import SEVERITY_NUMBER_INFO, SEVERITY_NUMBER_WARN, LogRecord

        usual = observation.verdict.status in ("clear", "not_sampled")
        return LogRecord(
            time_unix_nano=observation.at * 1_000_000,
            observed_time_unix_nano=time.time_ns(),
            severity_number=SEVERITY_NUMBER_INFO if usual else SEVERITY_NUMBER_WARN,
            severity_text="INFO" if usual else "WARN",
            event_name=EVENT,
            attributes=_attributes(said_of(observation, self.config.guardrail_names)),
        )

    def _let_go(self) -> None:
        self._poster.close()

    @classmethod
    def example(cls) -> Any:
        """A sink that posts to a collector of its own, and one that posts to nobody."""
        from sri_plugin_sinks.example_receiver import Receiver
        from sri_sdk.testing import SinkCase

        receiver = Receiver()
        return SinkCase(
            receiver.closed_with(cls(cls.Config(url=receiver.url))),
            delivered=lambda: [found["gen_ai.response.id"] for _, found in received(receiver.posts)],
            dead=lambda: cls(cls.Config(url="http://127.0.0.1:9", timeout_s=0.5)),
            observed=lambda: list({found["sri.observation.id"]: None for _, found in received(receiver.posts)}),
            refused=sri_sdk.Observation(sri_sdk.Verdict("half of a character: \ud800", "clear"), 0),
        )


def _needs_protobuf() -> None:
    try:
        import opentelemetry.proto.collector.logs.v1.logs_service_pb2  # noqa: F401
    except ImportError as err:
        raise MissingExtra("Sink otlp", extra="otlp") from err


def said_of(observation: sri_sdk.Observation, guardrail_names: bool = False) -> dict[str, Any]:
    """The attributes of an event; None = left out."""
    verdict = observation.verdict
    found = {
        "gen_ai.evaluation.name": EVALUATION,
        "gen_ai.evaluation.score.value": verdict.score,
        "gen_ai.evaluation.score.label": verdict.status,
        "gen_ai.evaluation.explanation": ", ".join(verdict.reasons) or None,
        "gen_ai.response.id": observation.request_id,
        "gen_ai.request.model": observation.model or None,
        "error.type": verdict.reasons[0] if verdict.status in NOT_JUDGED and verdict.reasons else None,
        "sri.observation.id": observation.id,
        "sri.kind": observation.kind,
        "sri.consequence": observation.consequence,
        "sri.deployment": observation.deployment or None,
        "sri.rule": verdict.rule,
        "sri.bundle": verdict.bundle,
        "sri.threshold": verdict.threshold,
        "sri.p_value": verdict.p_value,
        "sri.generation_seconds": observation.generation_s,
        "sri.scoring_seconds": observation.scoring_s,
    }
    if guardrail_names:
        found |= {
            "gen_ai.security.guardrail.name": "sri",
            "gen_ai.security.target.type": "llm_output",
            # Of what nobody judged, no verdict is said: least of all `allow`.
            "gen_ai.security.verdict.type": _VERDICT.get(verdict.status),
            "gen_ai.security.verdict.reason": ", ".join(verdict.reasons) or None,
            "gen_ai.security.action.type": _ACTION[observation.consequence],
            "gen_ai.security.policy.id": verdict.bundle,
            "gen_ai.security.risk.score": verdict.score,
            "gen_ai.security.risk.finding": "jailbreak" if verdict.status == "flagged" else None,
        }
    return found


def received(posts: Sequence[tuple[str, Mapping[str, str], bytes]]) -> list[tuple[Any, dict[str, Any]]]:
    """(record, its attributes) of what was posted to a collector."""
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    found = []
    for _, _, body in posts:
        for resource in ExportLogsServiceRequest.FromString(body).resource_logs:
            for record in (each for scope in resource.scope_logs for each in scope.log_records):
                values = {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in record.attributes}
                found.append((record, values))
    return found


def _attributes(found: Mapping[str, Any]) -> list[KeyValue]:
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

    made = []
    for name, value in found.items():
        if value is not None:
            typed = AnyValue(string_value=value) if isinstance(value, str) else AnyValue(double_value=value)
            made.append(KeyValue(key=name, value=typed))
    return made


def _refused(content: bytes) -> int:
    """Records that a collector says it has refused; of an answer that cannot be read, none: it said 2xx."""
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

    try:
        return max(int(ExportLogsServiceResponse.FromString(content).partial_success.rejected_log_records), 0)
    except DecodeError:
        return 0
