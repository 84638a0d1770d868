"""The processes of each deployment, as pages list them: the silent ones first, and nobody hidden behind another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sri_sdk.observation import Pulse
from sri_sdk.report.troubles import standing
from sri_sdk.serve.store.observed import Process

_ORDER = ("silent", "alive", "ended")


@dataclass(frozen=True, slots=True)
class Replica:
    """One process of a deployment."""

    pulse: Pulse
    """Its last."""
    heard_at: int
    """When the store took it, in milliseconds since 1970."""
    how: Literal["alive", "silent", "ended"]
    """`ended` = it was asked to."""


def replicas(processes: Iterable[Process], now_ms: int) -> Mapping[str, Sequence[Replica]]:
    """Deployment -> its processes, without those that have been silent for a week."""
    found: dict[str, list[Replica]] = defaultdict(list)
    for heard_at, pulse, _ in processes:
        how = standing(pulse, now_ms, heard_at)
        if how != "gone":
            found[pulse.deployment].append(Replica(pulse, heard_at, how))
        elif pulse.ended:
            found[pulse.deployment].append(Replica(pulse, heard_at, "ended"))
    return {name: sorted(some, key=lambda each: _ORDER.index(each.how)) for name, some in found.items()}


def silent(found: Mapping[str, Sequence[Replica]], deployment: str) -> Sequence[Replica]:
    """Those that are silent while another one of the deployment lives."""
    some = found.get(deployment, ())
    return [each for each in some if each.how == "silent"] if any(each.how == "alive" for each in some) else []
