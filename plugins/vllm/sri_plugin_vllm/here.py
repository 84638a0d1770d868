"""The tap of the worker in this process. A process has at most one engine's worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sri_sdk.engine.tap import EngineTap


@dataclass(slots=True)
class Here:
    """What this process knows."""

    tap: EngineTap | None = None
    """None = there is no worker here, or it is none that watches."""
    scheduled: Any = None
    """What the scheduler sent for the pass that is being made."""


HERE = Here()


def tap_here() -> EngineTap | None:
    """The tap of this process; None = there is none."""
    return HERE.tap
