"""Observations as messages of a Kafka topic, by confluent-kafka (librdkafka)."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

import sri_sdk
from sri_plugin_sinks.chosen import Chosen, written
from sri_plugin_sinks.http_post import lines_of, said
from sri_plugin_sinks.queued import QueuedSink
from sri_sdk.errors import ConfigError, MissingExtra, SinkRejected, SriError

SRI_PLUGIN_API = 1

log = logging.getLogger("sri_sdk.sinks")

ALLOWED = frozenset({
    "broker.address.family", "client.id", "client.rack", "compression.level", "compression.type", "linger.ms",
    "message.max.bytes", "sasl.mechanism", "sasl.mechanisms", "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.secret", "sasl.oauthbearer.extensions", "sasl.oauthbearer.method",
    "sasl.oauthbearer.scope", "sasl.oauthbearer.token.endpoint.url", "sasl.password", "sasl.username",
    "security.protocol", "socket.connection.setup.timeout.ms", "socket.keepalive.enable", "ssl.ca.location",
    "ssl.certificate.location", "ssl.cipher.suites", "ssl.key.location", "ssl.key.password",
})  # fmt: skip
"""Properties of librdkafka that an operator may set. Others would weaken what the sink promises, or run something: some
of them name a library to load or a command."""
SECRET = frozenset({"sasl.oauthbearer.client.secret", "sasl.password", "ssl.key.password"})
"""Only in properties_file."""
_REJECTED = ("MSG_SIZE_TOO_LARGE", "_MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE", "INVALID_RECORD", "INVALID_MSG_SIZE")
"""Errors that are about one message, whenever it is sent."""


class KafkaSink(QueuedSink):
    """One message per observation: its JSON, the request id as key, and its own id in the header `id`.

    Messages are acknowledged by all replicas that are in sync, and the producer is idempotent: its own retries make no
    second message. A batch that the monitor delivers again does, with the same `id`.
    """

    class Config(Chosen):
        """Options of the sink."""

        brokers: str = Field(min_length=1, description="Where the cluster is: HOST:PORT, more of them after commas.")
        topic: str = Field(pattern=r"^[A-Za-z0-9._-]{1,249}$", description="Topic, which the cluster must have.")
        properties: dict[str, str] = Field(
            default={}, description="Properties of librdkafka, such as security.protocol; no passwords."
        )
        properties_file: Path | None = Field(
            default=None, description="File of further properties, one `name=value` per line, such as sasl.password."
        )
        timeout_s: float = Field(
            default=10.0,
            ge=1,
            le=300,
            description="Seconds after which an observation that nobody acknowledged is sent again.",
        )
        batch: int = Field(default=100, ge=1, le=1000, description="Most observations at once.")

        @field_validator("properties")
        @classmethod
        def _plain_properties(cls, found: dict[str, str]) -> dict[str, str]:
            _check(found, SECRET)
            return found

    def __init__(self, config: Any = None) -> None:
        """Takes the options; `brokers` and `topic` are required. Nobody is asked yet.

        Raises:
            MissingExtra: confluent-kafka is not installed.
            ConfigError: a property is not allowed or not understood, or the file of them cannot be read.
        """
        super().__init__(config)
        self.batch = self.config.batch
        self._settings = _settings_of(self.config)
        self._trouble = ""
        self._renew()
        self._made_in = os.getpid()

    @classmethod
    def check(cls, config: Any, timeout_s: float) -> str:
        """Asks the cluster which topics it has, and sends no message.

        Raises:
            MissingExtra, ConfigError: as the constructor.
            SriError: no broker answers in time.
        """
        from confluent_kafka import KafkaException

        heard: list[str] = []
        producer = _producer({**_settings_of(config), "error_cb": lambda error: heard.append(error.str()[:200])})
        try:
            # All of them: to ask for one by name makes it, where the cluster allows that.
            topics = producer.list_topics(timeout=min(timeout_s, config.timeout_s)).topics
        except KafkaException as err:
            producer.poll(0)
            why = heard[-1] if heard else err.args[0].str()
            raise SriError(f"kafka {config.brokers}: no broker answers: {why}. See that the cluster runs.") from err
        if config.topic not in topics:
            return f"the cluster answers, and has no topic {config.topic}: make it, unless it makes topics by itself"
        return f"the cluster answers, and has the topic {config.topic}"

    def deliver(self, observations: Sequence[sri_sdk.Observation]) -> None:
        """Sends them, and waits until each is acknowledged or has failed.

        Raises:
            SinkRejected: the cluster will never take some of them, such as one that is too large.
            SriError: not all of them were acknowledged in time.
        """
        from confluent_kafka import KafkaError, KafkaException

        if os.getpid() != self._made_in:
            raise SriError("sink kafka: made before this process was forked; make it in the process that uses it.")
        self._trouble = ""
        texts, rejected = written(observations, self.config)
        keys = {each.id: each.request_id.encode() for each in observations if each.id in texts}
        failed: dict[str, Any] = {}
        acknowledged: set[str] = set()

        def answered(name: str, error: Any) -> None:
            if error is None:
                acknowledged.add(name)
            else:
                failed[name] = error

        for name, text in texts.items():
            try:
                self._producer.produce(
                    self.config.topic, text.encode(), keys[name],
                    headers=[("id", name.encode()), ("content-type", b"application/json")],
                    on_delivery=lambda error, _, name=name: answered(name, error),
                )  # fmt: skip
            except (KafkaException, BufferError) as err:
                failed[name] = err.args[0] if isinstance(err, KafkaException) else err
        # Each is answered for after timeout_s at the latest, and then none of them waits here any more.
        while len(failed) + len(acknowledged) < len(texts):
            self._producer.poll(0.1)
        errors = {each.name(): each for each in failed.values() if isinstance(each, KafkaError)}
        if any(each.fatal() for each in errors.values()):
            self._renew()
        large = {name for name, each in failed.items() if isinstance(each, KafkaError) and each.name() in _REJECTED}
        if failed.keys() - large:
            trouble = ", ".join([*sorted(errors), *filter(None, [self._trouble])]) or "too many are on their way"
            raise SriError(f"kafka {self.config.topic}: {len(failed)} of {len(texts)} not acknowledged: {trouble}")
        if rejected or large:
            why = [f"{len(large)} too large for the cluster"] if large else []
            why += [f"{len(rejected)} cannot be written as JSON"] if rejected else []
            raise SinkRejected(rejected | large, f"kafka {self.config.topic}: {'; '.join(why)}")

    def _renew(self) -> None:
        """A producer; another one, where the last met a fatal error, after which it sends nothing any more."""
        self._producer: Any = _producer({**self._settings, "error_cb": self._note})

    def _note(self, error: Any) -> None:
        self._trouble = error.str()[:200]

    @classmethod
    def example(cls) -> Any:
        """A sink for librdkafka's mock broker in this process, and one for a broker that is not there."""
        from sri_plugin_sinks.example_broker import Broker
        from sri_sdk.testing import SinkCase

        broker = Broker()
        return SinkCase(
            cls(cls.Config(brokers=broker.address, topic="verdicts")),
            delivered=lambda: [message["verdict"]["request_id"] for message in broker.observations("verdicts")],
            dead=lambda: cls(cls.Config(brokers="127.0.0.1:9", topic="verdicts", timeout_s=1)),
            observed=lambda: [message["id"] for message in broker.observations("verdicts")],
            refused=sri_sdk.Observation(sri_sdk.Verdict("half of a character: \ud800", "clear"), 0),
        )


def _settings_of(config: KafkaSink.Config) -> dict[str, str]:
    """Properties of the producer.

    Raises:
        MissingExtra: confluent-kafka is not installed.
        ConfigError: the file of properties cannot be read, or has one that is not allowed.
    """
    try:
        import confluent_kafka  # noqa: F401
    except ImportError as err:
        raise MissingExtra("Sink kafka", extra="kafka") from err
    try:
        more = {} if config.properties_file is None else properties_of(config.properties_file)
    except (OSError, ValueError) as err:
        raise ConfigError(f"sink kafka: {said(err)}.") from err
    return {
        "compression.type": "zstd", "client.id": "sri-sdk", "linger.ms": "5", **config.properties, **more,
        "bootstrap.servers": config.brokers, "acks": "all", "enable.idempotence": "true",
        "message.timeout.ms": str(round(1000 * config.timeout_s)),
        # Of a broker that is down librdkafka would log every attempt; the last error is told with the failure.
        "log_level": "2",
    }  # fmt: skip


def _producer(settings: dict[str, Any]) -> Any:
    """A producer; it asks nobody yet.

    Raises:
        ConfigError: librdkafka does not understand a property.
    """
    import confluent_kafka

    try:
        return confluent_kafka.Producer(settings, logger=log)
    except ValueError as err:
        raise ConfigError(f"sink kafka: {err}.") from err
    except confluent_kafka.KafkaException as err:
        # Its message has the name of the property, and the value; a value may be a password.
        name = next((each for each in settings if f'"{each}"' in str(err)), "together they")
        raise ConfigError(
            f"sink kafka: properties: {name} cannot be used with this value; see librdkafka's CONFIGURATION.md."
        ) from err


def properties_of(path: Path) -> dict[str, str]:
    """The properties in a file.

    Raises:
        OSError: it cannot be read.
        ValueError: a line is no property, or one that is not allowed; no value is shown.
    """
    found = {}
    for number, line in enumerate(lines_of(path), start=1):
        if line and not line.startswith("#"):
            name, equals, value = (each.strip() for each in line.partition("="))
            if not equals or not re.fullmatch(r"[a-z.]+", name):
                raise ValueError(f"{path}: line {number} is not `name=value`")
            found[name] = value
    _check(found, frozenset())
    return found


def _check(found: dict[str, str], secret: frozenset[str]) -> None:
    for name in found:
        if name in secret:
            raise ValueError(f"{name}: is a secret; write it into properties_file")
        if name not in ALLOWED:
            raise ValueError(f"{name[:60]!r} is not allowed; allowed: {', '.join(sorted(ALLOWED))}")
