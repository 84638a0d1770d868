"""What a span says of a request, noted on its way. Where nobody traces, nothing is noted."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class Noted:
    """Of one request. Nothing in here is a client's own text."""

    method: str
    """In capitals."""
    traceparent: bytes | None
    """As it was sent; None = it was not."""
    rows: int | None = None
    """Generations, or verdicts, in it; None = it has none."""
    bundle: str | None = None
    """Digest of the bundle that scored; None = none did."""


NOTED: ContextVar[Noted | None] = ContextVar("NOTED", default=None)
"""Of the request that this task answers; None = it is not traced."""


def note(rows: int, bundle: str | None = None) -> None:
    """Notes what a request was about, if it is traced."""
    if (noted := NOTED.get()) is not None:
        noted.rows, noted.bundle = rows, bundle
