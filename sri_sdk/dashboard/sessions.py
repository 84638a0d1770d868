"""Who is logged in: a browser shows its token once, and from then on a cookie that no script can read."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from sri_sdk.serve.http import Refusal
from sri_sdk.serve.rights import Caller
from sri_sdk.serve.tokens import Tokens

COOKIE = "sri-dashboard"
LASTS_S = 12 * 3600.0
"""Seconds after which a browser must show its token again."""
MOST = 1_000
"""Sessions at once; beyond, the oldest ends."""


@dataclass(frozen=True, slots=True)
class Session:
    """One browser."""

    digest: bytes
    """SHA-256 of its token: a token that is taken out of the file ends its sessions."""
    until: float


class Sessions:
    """All of them, in memory: a restart asks for tokens again.

    Args:
        tokens: the file's.
        clock: seconds, of a clock that never goes back.
    """

    def __init__(self, tokens: Tokens, clock: Callable[[], float] = time.monotonic) -> None:
        self._tokens, self._clock = tokens, clock
        self._open: OrderedDict[str, Session] = OrderedDict()

    def begin(self, token: str) -> str:
        """Opens a session; returns what its cookie says.

        Raises:
            Refusal: 401, no such token; 403, it may not read.
        """
        caller = self._tokens.caller(b"Bearer " + token.strip().encode("utf-8", "replace"))
        if not caller.may("read"):
            raise Refusal(403, "token: has no right 'read'. Use a token that has, or add the right.")
        while len(self._open) >= MOST:
            self._open.popitem(last=False)
        name = secrets.token_urlsafe(32)
        self._open[name] = Session(self._tokens.digest_of(token), self._clock() + LASTS_S)
        return name

    def caller(self, cookie: str) -> Caller | None:
        """Whose session it is; None = nobody's, or it is over."""
        found = self._open.get(cookie)
        if found is None:
            return None
        caller = self._tokens.of_digest(found.digest)
        if caller is None or found.until < self._clock():
            del self._open[cookie]
            return None
        return caller

    def end(self, cookie: str) -> None:
        """Logs out."""
        self._open.pop(cookie, None)
