"""Observations posted to an address of the operator's choice, signed as Standard Webhooks has it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import shlex
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import Field

import sri_sdk
from sri_plugin_sinks.chosen import Chosen, written
from sri_plugin_sinks.http_post import Answer, HttpOptions, NotTaken, Poster, in_halves, lines_of, said
from sri_plugin_sinks.queued import QueuedSink
from sri_sdk.errors import ConfigError, SinkRejected

SRI_PLUGIN_API = 1

PREFIX = "whsec_"
SHORTEST, LONGEST = 24, 64
"""Bytes of a secret, as Standard Webhooks asks for."""
TYPE = "sri.observations"
OWN_HEADERS = {"Content-Type": "application/json", "User-Agent": f"sri-sdk/{sri_sdk.__version__}"}


class WebhookSink(QueuedSink):
    """One POST per batch, as JSON. A status of 2xx means that the receiver has them.

    One that the receiver refuses costs no other: a batch that is refused is sent again in halves.
    """

    class Config(HttpOptions, Chosen):
        """Options of the sink."""

        secret_file: Path | None = Field(
            default=None,
            description="File with secrets for signatures, one per line: whsec_ and 24 to 64 bytes as base64. "
            "Each signs, so that one can be replaced. Read with each post; null = posts are not signed.",
        )

    def __init__(self, config: Any = None) -> None:
        """Takes the options; `url` is required.

        Raises:
            ConfigError: a file that is named cannot be read, or is not what it should be.
        """
        super().__init__(config)
        self.batch = self.config.batch
        self._poster = Poster(self.config, "sink webhook")
        _readable_secrets(self.config)

    @classmethod
    def check(cls, config: Any, timeout_s: float) -> str:
        """Reads the files that are named, and connects to the address without posting.

        Raises:
            ConfigError: a file cannot be read, or is not what it should be.
            NotTaken: nobody answers at the address, or its certificate is not trusted.
        """
        _readable_secrets(config)
        return Poster(config, "sink webhook").reach(timeout_s)

    def deliver(self, observations: Sequence[sri_sdk.Observation]) -> None:
        """Posts them, once.

        Raises:
            SinkRejected: the receiver refused some of them, or they cannot be written as JSON.
            NotTaken: it could not be reached, or asked for another try.
        """
        texts, rejected = written(observations, self.config)
        ages = {each.id: each.at for each in observations}
        newest = max(ages.values(), default=0)
        answers = in_halves(list(texts), lambda ids: self._post(ids, texts, newest))
        statuses = {each: answer.status for ids, answer in answers if not answer.taken for each in ids}
        if rejected or statuses:
            why = [f"answered {', '.join(map(str, sorted(set(statuses.values()))))}"] if statuses else []
            why += [f"{len(rejected)} cannot be written as JSON"] if rejected else []
            raise SinkRejected(rejected | set(statuses), f"{self._poster.where}: {'; '.join(why)}")

    def _post(self, ids: Sequence[str], texts: dict[str, str], newest: int) -> Answer:
        at = datetime.fromtimestamp(newest / 1000, UTC).isoformat(timespec="milliseconds")
        listed = ",".join(texts[each] for each in ids)
        body = f'{{"type":"{TYPE}","timestamp":"{at}","data":{{"observations":[{listed}]}}}}'.encode()
        # The same for the same observations, as the standard asks for what is sent again.
        message, now = f"sri_{hashlib.sha256(','.join(ids).encode()).hexdigest()[:32]}", int(time.time())
        try:
            signed = self._signatures(message, now, body)
        except (OSError, ValueError) as err:
            # Not without a signature, and not given up: somebody is replacing the file.
            raise NotTaken(said(err)) from err
        headers = {**OWN_HEADERS, "webhook-id": message, "webhook-timestamp": str(now)}
        return self._poster.post(body, {**headers, **({"webhook-signature": signed} if signed else {})})

    def _signatures(self, message: str, now: int, body: bytes) -> str:
        if self.config.secret_file is None:
            return ""
        return " ".join(signature(secret, message, now, body) for secret in secrets_of(self.config.secret_file))

    def _let_go(self) -> None:
        self._poster.close()

    @classmethod
    def example(cls) -> Any:
        """A sink that posts to a receiver of its own, and one that posts to nobody."""
        from sri_plugin_sinks.example_receiver import Receiver, observation_ids, request_ids
        from sri_sdk.testing import SinkCase

        receiver = Receiver()
        return SinkCase(
            receiver.closed_with(cls(cls.Config(url=receiver.url))),
            delivered=lambda: request_ids(receiver),
            dead=lambda: cls(cls.Config(url="http://127.0.0.1:9", timeout_s=0.5)),
            observed=lambda: observation_ids(receiver),
            refused=sri_sdk.Observation(sri_sdk.Verdict("half of a character: \ud800", "clear"), 0),
        )


def signature(secret: bytes, message: str, now: int, body: bytes) -> str:
    """What `webhook-signature` says.

    Args:
        secret: shared with the receiver.
        message: of `webhook-id`.
        now: of `webhook-timestamp`, seconds since 1970.
        body: of the post.
    """
    signed = hmac.new(secret, f"{message}.{now}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode()}"


def secrets_of(path: Path) -> list[bytes]:
    """The secrets in a file, at least one.

    Raises:
        OSError: it cannot be read.
        ValueError: it has no secret, or a line that is none.
    """
    secrets = [secret_of(line) for line in lines_of(path) if line and not line.startswith("#")]
    known = [each for each in secrets if each is not None]
    if not known or len(known) < len(secrets):
        raise ValueError(f"{path}: not lines of whsec_ and {SHORTEST} to {LONGEST} bytes")
    return known


def _readable_secrets(config: WebhookSink.Config) -> None:
    if config.secret_file is not None:
        try:
            secrets_of(config.secret_file)
        except (OSError, ValueError) as err:
            # In the place of the file, since what is wrong in it is not quoted; only this user may read it.
            written = f'(umask 077; echo "whsec_$(openssl rand -base64 32)" > {shlex.quote(str(config.secret_file))})'
            raise ConfigError(f"sink webhook: secret_file: {said(err)}. Write one with: {written}") from err


def secret_of(line: str) -> bytes | None:
    """The secret that a line is; None = it is none."""
    if not line.startswith(PREFIX):
        return None
    try:
        found = base64.b64decode(line.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        return None
    return found if SHORTEST <= len(found) <= LONGEST else None
