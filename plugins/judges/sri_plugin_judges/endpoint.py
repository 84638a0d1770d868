"""One question to an OpenAI-compatible chat endpoint: what is sent, what is tried again, and what is given up."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from typing import Any

from sri_sdk.errors import ConfigError
from sri_sdk.strict_json import parse

AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""HTTP codes of what may pass: too many requests, time-outs, a server that is down for a moment."""
LONGEST_WAIT_S = 60.0
LARGEST_ANSWER = 2**24
"""Bytes; a judge's answer has a few hundred."""
SHOWN = 200
"""Characters of an endpoint's own message that ours quotes."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an error: following it would hand key and texts to whoever it names."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        """Refuses; urllib then raises the code as an error."""
        return


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Asks, and returns the text of the answer. May be used by several threads."""

    base_url: str
    """Up to and with the version, `http://127.0.0.1:8000/v1`."""
    key: str | None = field(repr=False)
    """Sent as a bearer token; None = none is sent."""
    timeout_s: float
    retries: int
    """Attempts after the first."""
    backoff_s: float
    """Wait before the second attempt; it doubles with each."""
    sleep: Callable[[float], None] = field(default=time.sleep)

    def __call__(self, body: Mapping[str, Any]) -> str:
        """Text of the answer to one chat request.

        Args:
            body: the request, as JSON types.

        Raises:
            ConfigError: the endpoint refuses, cannot be reached, or answers in another form.
        """
        attempt = 0
        while True:
            try:
                return self._content(self._send(body))
            except urllib.error.HTTPError as err:
                problem, wait = self._message_of(err), _asked_to_wait(err)
                if err.code not in AGAIN:
                    raise self._error(f"answers {err.code}: {problem}", "Check base_url, model and key.") from err
                problem = f"answers {err.code}: {problem}"
            except (TimeoutError, OSError) as err:
                # URLError is an OSError; a connection that breaks while the answer is read is another.
                problem, wait = f"cannot be reached: {getattr(err, 'reason', None) or err}", None
            if attempt == self.retries:
                raise self._error(
                    f"{problem}, after {attempt + 1} attempts", "Check that it runs, or raise retries and timeout_s."
                )
            self.sleep(min(LONGEST_WAIT_S, self.backoff_s * 2**attempt if wait is None else wait))
            attempt += 1

    def _send(self, body: Mapping[str, Any]) -> bytes:
        headers = {"Content-Type": "application/json"}
        if self.key is not None:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(
            f"{self.base_url.rstrip('/')}/chat/completions", json.dumps(body).encode(), headers, method="POST"
        )
        opener = urllib.request.build_opener(_NoRedirect)
        with opener.open(request, timeout=self.timeout_s) as answer:
            found: bytes = answer.read(LARGEST_ANSWER + 1)
            return found

    def _content(self, raw: bytes) -> str:
        try:
            if len(raw) > LARGEST_ANSWER:
                raise ValueError(f"more than {LARGEST_ANSWER} bytes")
            content = parse(raw, not_finite=True)["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError) as err:
            why = f"{err}: " if isinstance(err, ValueError) else ""
            raise self._error(
                f"does not answer as a chat endpoint: {why}{self._clean(raw)}",
                "base_url must lead to an OpenAI-compatible API.",
            ) from err
        if isinstance(content, list):
            # Some give thoughts and answer as parts.
            content = "".join(part["text"] for part in content if _is_text(part))
        # Some say null where the model said nothing, or only thought.
        return content if isinstance(content, str) else ""

    def _message_of(self, err: urllib.error.HTTPError) -> str:
        try:
            return self._clean(err.read()) or str(err.reason)
        except OSError:
            return str(err.reason)

    def _clean(self, raw: bytes) -> str:
        text = " ".join(raw.decode("utf-8", "replace").split())
        # An endpoint may repeat the key it did not like.
        return (text.replace(self.key, "***") if self.key else text)[:SHOWN].rstrip(". ")

    def _error(self, problem: str, cure: str) -> ConfigError:
        return ConfigError(f"judge llm: {self.base_url} {problem}. {cure}")


def _is_text(part: Any) -> bool:
    """Whether a part of an answer is said, and not thought."""
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)


def _asked_to_wait(err: urllib.error.HTTPError) -> float | None:
    """Seconds the endpoint asks for; None = it does not, or names a date."""
    try:
        return max(0.0, float(err.headers.get("Retry-After", "")))
    except ValueError:
        return None
