"""What a part of the server beside scoring adds to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sri_sdk.serve.app import Part
from sri_sdk.serve.routes import Route


@dataclass(frozen=True, slots=True)
class Feature:
    """A part of the server beside scoring, such as the verdict store: what it adds."""

    routes: Sequence[Route] = ()
    parts: Sequence[Part] = ()
    """Entered before the first request, left after the last."""
    why_not_ready: Callable[[], str] = lambda: ""
    """Why the server should get no requests; empty = it may."""
    collectors: Sequence[Any] = ()
    """Of prometheus_client."""
