"""What travels with a request: its id, its tenant and the `traceparent` of its trace."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Carried:
    """What is known of the request that this thread or task works on."""

    request_id: str | None = None
    tenant: str | None = None
    traceparent: str | None = None
    """As W3C Trace Context writes it; handed on as it came."""

    def headers(self) -> dict[str, str]:
        """As headers of a request to `sri serve`, without the id, which stands in its path or its body."""
        named = {TENANT_HEADER: self.tenant and quote(self.tenant, safe=" "), "traceparent": self.traceparent}
        return {name: value for name, value in named.items() if value is not None}


TENANT_HEADER = "sri-tenant"
"""Its value is percent-encoded UTF-8: headers cannot hold every script."""
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(?:-[\x21-\x7e]*)?")
_LONGEST_TRACEPARENT = 128


def trace_of(header: str | None) -> str | None:
    """A `traceparent` that may be handed on; None = there is none, or it is none."""
    if header is None or len(header) > _LONGEST_TRACEPARENT or not _TRACEPARENT.fullmatch(header):
        return None
    return header


_NOTHING = Carried()
_current: ContextVar[Carried] = ContextVar("sri_request", default=_NOTHING)


def carried() -> Carried:
    """What the current context carries."""
    return _current.get()


@contextmanager
def carrying(found: Carried) -> Iterator[Carried]:
    """Carries it inside the block, also into tasks that begin there; a thread needs a copy of the context."""
    before = _current.set(found)
    try:
        yield found
    finally:
        # Not reset(): a generator that is closed in another context must not raise there.
        with suppress(ValueError):
            _current.reset(before)
