"""Scoring at a `sri serve` elsewhere, by the client that asks it within a budget."""

from __future__ import annotations

from collections.abc import Collection

from sri_sdk.client.client import VerdictClient
from sri_sdk.client.settings import ClientSettings
from sri_sdk.monitor.scoring.place import NO_ANSWER, Place
from sri_sdk.monitor.settings import ScoringSection
from sri_sdk.options import parse
from sri_sdk.records import Rule, Signals, Verdict


class RemotePlace(Place):
    """A server that has the guard's bundle under a name."""

    def __init__(self, client: VerdictClient, bundle: str) -> None:
        """Takes a client of the server, and the name."""
        self._client, self._bundle = client, bundle
        self._trouble: str | None = None

    @classmethod
    def open(cls, section: ScoringSection, deployment: str) -> RemotePlace:
        """A client of the server that the settings name; one that is down keeps nobody waiting.

        Raises:
            ConfigError: the address is wrong, or a file cannot be read.
        """
        assert section.bundle is not None  # As the settings were checked.
        options = {
            "url": section.url, "token_file": section.token_file, "ca_file": section.ca_file, "source": deployment,
            "budget_s": section.budget_s, "heartbeat_s": 0.0,
        }  # fmt: skip
        return cls(VerdictClient(parse(ClientSettings, options, subject="scoring", path="scoring")), section.bundle)

    def score(self, signals: Signals, rule: Rule, accept: Collection[str]) -> list[Verdict]:
        """See `Place.score`. The server stores the verdicts too, if it has a store."""
        verdicts = self._client.score(signals, bundle=self._bundle, rule=rule, accept=accept)
        self._trouble = next((code for each in verdicts for code in each.reasons if code in NO_ANSWER), None)
        return verdicts

    @property
    def trouble(self) -> str | None:
        """See `Place.trouble`: as the last call found it."""
        return self._trouble

    def close(self) -> None:
        """Ends the client."""
        self._client.close()
