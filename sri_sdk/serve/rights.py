"""Who calls, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Right = Literal["open", "read", "write", "admin"]
"""`open` = anybody, without a token; `read` = metadata, verdicts, metrics; `write` = score and post; `admin` = load and
roll back bundles, erase."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sent a request, as its token says."""

    name: str
    """Of the token, never the token itself; empty = nobody said."""
    rights: frozenset[Right]
    tenant: str | None = None
    """The one tenant whose verdicts it may see and write; None = all of them."""

    def may(self, right: Right) -> bool:
        """Whether it has a right; `admin` has all of them, and everybody has `open`."""
        return right == "open" or right in self.rights or "admin" in self.rights


ANYBODY = Caller("", frozenset())
"""Without a token."""
LOCAL = Caller("local", frozenset({"read", "write", "admin"}))
"""Everybody, where the server asks for no tokens."""
