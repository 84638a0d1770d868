"""What an operator may say about the client, checked once when it is made."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, field_validator, model_validator

from sri_sdk.client.address import Address
from sri_sdk.plugin import Config

LONGEST_ID = 512
"""Most characters of a request id: what `sri serve` takes."""
LONGEST_NAME = 128
"""Most characters of a tenant or a source."""


class ClientSettings(Config):
    """Options of `VerdictClient`."""

    url: str = Field(description="Where `sri serve` listens: http://HOST:PORT, https://HOST:PORT or unix:/PATH.")
    token: SecretStr | None = Field(default=None, description="Bearer token. Better kept in a file: see token_file.")
    token_file: Path | None = Field(
        default=None, description="File with the token on its first line. It is read again whenever it changes."
    )
    ca_file: Path | None = Field(
        default=None,
        description="PEM file with the certificates that may have signed the server's; null = the system's.",
    )
    source: str = Field(
        default_factory=socket.gethostname,
        description="Name of this service in the store; default: the name of the host.",
    )
    tenant: str | None = Field(default=None, description="Whose requests these are, where a request does not say.")
    capacity: int = Field(default=10_000, ge=1, le=1_000_000, description="Verdicts that may wait for delivery.")
    batch: int = Field(default=100, ge=1, le=1_000, description="Most verdicts in one post.")
    budget_s: float = Field(
        default=0.5, gt=0, le=60, description="Most seconds that score and lookup take, beyond the wait that was asked."
    )
    send_timeout_s: float = Field(
        default=5.0, gt=0, le=60, description="Seconds without a byte after which a post counts as failed."
    )
    calls: int = Field(
        default=16, ge=1, le=256, description="Most calls of score and lookup at once; one more is not made."
    )
    failures: int = Field(default=5, ge=1, le=100, description="Failures in a row after which the circuit opens.")
    pause_s: float = Field(
        default=1.0, gt=0, le=60, description="Seconds for which an open circuit asks nothing; doubles up to 30."
    )
    heartbeat_s: float = Field(default=10.0, ge=0, le=3600, description="Seconds between heartbeats; 0 = none.")
    grace_s: float = Field(
        default=30.0, gt=0, le=3600, description="Seconds after which an ended generation without a verdict is counted."
    )
    close_s: float = Field(default=5.0, ge=0, le=600, description="Most seconds that close and the exit wait.")

    @field_validator("url")
    @classmethod
    def _one_of_three(cls, url: str) -> str:
        Address.parse(url)
        return url

    @field_validator("token", mode="before")
    @classmethod
    def _a_token(cls, token: Any) -> Any:
        # Here and not by type: the message of a wrong type would print what was found.
        if token is not None and not isinstance(token, SecretStr):
            if not isinstance(token, str):
                raise ValueError("must be text; it is not shown here")
            token = SecretStr(token)
        if token is not None:
            checked_token(token.get_secret_value())
        return token

    @field_validator("source", "tenant")
    @classmethod
    def _a_name(cls, name: str | None) -> str | None:
        if name is not None and not is_name(name):
            raise ValueError(f"must have 1 to {LONGEST_NAME} characters, none of them a control character")
        return name

    @model_validator(mode="after")
    def _one_token(self) -> ClientSettings:
        if self.token is not None and self.token_file is not None:
            raise ValueError("token and token_file are both given; keep one of them, better the file")
        if self.ca_file is not None and not self.url.startswith("https:"):
            raise ValueError("ca_file: is for https, and the url is not; leave it out, or change the url")
        return self


def is_id(text: str) -> bool:
    """Whether `sri serve` takes it as an id: 1 to 512 characters, none of them a control character."""
    return 0 < len(text) <= LONGEST_ID and text.isprintable()


def is_name(text: str) -> bool:
    """Whether `sri serve` takes it as a tenant or a source: 1 to 128 characters, none of them a control character."""
    return len(text) <= LONGEST_NAME and is_id(text)


def checked_token(token: str) -> str:
    """The token.

    Raises:
        ValueError: it cannot stand in a header. The message does not show it.
    """
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("a token is one word of printable ASCII characters; this one is not, and is not shown here")
    return token
