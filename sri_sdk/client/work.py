"""What one process has of a client: queue, thread, connections, counts. A forked process gets all of it anew."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from typing import Any

from sri_sdk.client.address import Address
from sri_sdk.client.board import Board
from sri_sdk.client.calls import Calls
from sri_sdk.client.canaries import Canaries
from sri_sdk.client.circuit import Circuit
from sri_sdk.client.connection import Connection
from sri_sdk.client.counts import ClientCounts
from sri_sdk.client.generations import Generations
from sri_sdk.client.outbox import Outbox
from sri_sdk.client.settings import ClientSettings
from sri_sdk.client.tokens import Token
from sri_sdk.errors import ConfigError


class Work:
    """The moving parts, put together."""

    def __init__(self, settings: ClientSettings, address: Address, token: Token, tls: ssl.SSLContext | None) -> None:
        self.source, self.address = settings.source, address
        self.board = Board()
        self.generations = Generations(settings.grace_s)
        self.canaries = Canaries(self.board, settings.grace_s)
        self.circuit = Circuit(settings.failures, settings.pause_s)
        self.calls = Calls(lambda: Connection(address, tls), self.circuit, settings.calls)
        self.asked = {"calls": 0, "unavailable": 0, "late": 0}
        self.outbox = Outbox(settings, Connection(address, tls), token.header, self._beat, self._told)

    def asked_once(self, outcome: str | None) -> int:
        """Counts a question, and what became of it; returns how often that has happened."""
        with self.outbox.lock:
            name = outcome or "calls"
            self.asked[name] += 1
            return self.asked[name]

    def counts(self) -> ClientCounts:
        """All counts at one moment."""
        box = self.outbox
        with box.lock:
            return ClientCounts(
                accepted=box.accepted, sent=box.sent, stored=box.stored, known=box.known, waiting=box.waiting,
                dropped=dict(box.dropped), retried=box.retried, generations=self.generations.begun,
                without_verdict=self.generations.without_verdict, heartbeats=box.heartbeats,
                calls=self.asked["calls"], unavailable=self.asked["unavailable"], late=self.asked["late"],
                circuit=self.circuit.state, opened=self.circuit.opened,
            )  # fmt: skip

    def forget(self) -> None:
        """In a forked child: what waits here is the parent's to deliver, and the sockets are its own."""
        self.outbox.forget()
        self.calls.forget()

    def _beat(self) -> Mapping[str, Any]:
        now = self.counts()
        body = {
            "source": self.source,
            "pid": os.getpid(),
            "sent": now.sent,
            "dropped": sum(now.dropped.values()),
            "waiting": now.waiting,
            "generations": self.generations.ended,
            "without_verdict": now.without_verdict,
        }
        news = self.canaries.news()
        return body if news is None else {**body, "canary": news}

    def _told(self, body: Mapping[str, Any]) -> None:
        self.canaries.told(body.get("canary"))


def tls_of(settings: ClientSettings, address: Address) -> ssl.SSLContext | None:
    """How the server's certificate is checked; None = there is none.

    Raises:
        ConfigError: the file with the certificates cannot be read.
    """
    if address.scheme != "https":
        return None
    try:
        return ssl.create_default_context(cafile=None if settings.ca_file is None else str(settings.ca_file))
    except (OSError, ssl.SSLError) as err:
        raise ConfigError(
            f"ca_file {settings.ca_file}: {type(err).__name__}; it must be a readable PEM file with certificates. "
            "Name another file, or leave it out for those of the system."
        ) from err
