"""What the estimate assumes: everything in it that nobody measured, in one place and changeable by the reader.

python -m benchmarks.scale.run --set generations=1e8 --set accelerator_hour=1.5
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

DAY_S = 86_400
FEWEST = 1_000_000
"""Generations a day."""
WAVE = (
    0.72, 0.62, 0.55, 0.51, 0.50, 0.54, 0.65, 0.82, 1.00, 1.15, 1.25, 1.30,
    1.30, 1.32, 1.34, 1.33, 1.30, 1.27, 1.25, 1.24, 1.20, 1.10, 0.97, 0.82,
)  # fmt: skip
"""Arrivals of each hour beside the mean hour: one continent by day, the others by night."""


def assumed(default: Any, what: str) -> Any:
    """A field with what it means."""
    return field(default=default, metadata={"what": what})


@dataclass(frozen=True, slots=True)
class Plan:
    """One service, for a day. Prices are examples, in US dollars."""

    generations: float = assumed(1e9, "generations a day")
    bursts: float = assumed(6, "bursts a day, at random times")
    burst_factor: float = assumed(1.5, "times the usual rate in a burst")
    burst_s: float = assumed(300, "seconds of a burst")
    tokens: float = assumed(180, "median length, in tokens or steps; lognormal")
    tokens_spread: float = assumed(0.8, "sigma of the logarithm of the length")
    token_s: float = assumed(0.02, "seconds per token, with others in the same batch")
    at_once: float = assumed(32, "generations at once in a model's process")
    full: float = assumed(0.7, "share of these places in use at the peak of the wave")
    tap_share: float = assumed(0.006, "what the tap adds to the time of a generation")
    width: float = assumed(4096, "width of the hidden states")
    cells: float = assumed(64, "cells of the signal")
    columns: float = assumed(1, "layers that are tapped")
    per_request: float = assumed(1, "generations in a request to `sri serve`: 1, or 32 where they are collected")
    score_full: float = assumed(0.6, "share of a scoring process in use at the peak of the wave")
    slower: float = assumed(3.5, "times as long to store a row in a large store as in a small one")
    store_full: float = assumed(0.7, "share of a database's writer in use at the peak of the wave")
    store_cores: float = assumed(4, "cores of a database, its replica included")
    copies: float = assumed(2, "copies of the store's bytes")
    keep_days: float = assumed(30, "days that rows are kept")
    region_count: float = assumed(4, "regions")
    outage_minutes: float = assumed(60, "minutes of the outage")
    outage_hour: float = assumed(14, "hour at which it begins")
    clear_minutes: float = assumed(120, "minutes behind it after which nothing may wait")
    attacks: float = assumed(1e-4, "share of generations that are attacks")
    found: float = assumed(0.5, "share of attacks that are flagged")
    alpha: float = assumed(1e-4, "promised share of false alarms")
    audit_flagged: float = assumed(0.005, "share of flagged generations that people label")
    audit_clear: float = assumed(5e-7, "share of clear ones")
    canary_s: float = assumed(600, "seconds between canaries of a deployment")
    accelerator_hour: float = assumed(2.5, "dollars for an accelerator-hour; a model's process has one")
    core_hour: float = assumed(0.04, "dollars for a core-hour")
    disk_gb_month: float = assumed(0.10, "dollars for a GB-month of disk")
    transfer_gb: float = assumed(0.01, "dollars for a GB between zones")
    label: float = assumed(0.5, "dollars for one label by a person")

    def __post_init__(self) -> None:
        """Refuses what is no plan.

        Raises:
            ValueError: a number is out of its range.
        """
        shares = {"full", "score_full", "store_full", "attacks", "found", "audit_flagged", "audit_clear", "tap_share"}
        for each in fields(self):
            value = getattr(self, each.name)
            most = 1 if each.name in shares else np.inf
            least_allowed = each.name in ("bursts", "outage_minutes", "outage_hour", "attacks", "found", "tap_share")
            if not np.isfinite(value) or value < 0 or value > most or (value == 0 and not least_allowed):
                raise ValueError(
                    f"{each.name} is {value:g} ({each.metadata['what']}); allowed: "
                    f"{'0 to' if least_allowed else 'above 0, up to'} {'1' if most == 1 else 'any number'}."
                )
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha is {self.alpha:g}; allowed: a share between 0 and 1, such as 0.0001.")

    @classmethod
    def of(cls, changes: Iterable[str]) -> Self:
        """The plan with `name=number` changed.

        Raises:
            ValueError: a name that is not there, or something that is no number; says what is allowed.
        """
        names, given = {each.name for each in fields(cls)}, dict[str, float]()
        for change in changes:
            name, _, text = change.partition("=")
            if name not in names:
                raise ValueError(
                    f"--set {change}: no assumption has the name {name!r}; allowed: {', '.join(sorted(names))}."
                )
            try:
                given[name] = float(text)
            except ValueError:
                raise ValueError(f"--set {change}: {text!r} is no number; write {name}=1.5, say.") from None
        if given.get("generations", FEWEST) < FEWEST:
            raise ValueError(
                f"generations is {given['generations']:g}; allowed: at least {FEWEST:,}. For fewer, one server and one "
                "database do: docs/run-in-production.md."
            )
        return replace(cls(), **given)

    def rate(self) -> NDArray[np.float64]:
        """[86400] generations that begin in each second of the day, on average and without bursts."""
        weights = np.array(WAVE) / np.mean(WAVE)
        # Between the middles of hours the rate changes evenly; the day is a circle.
        middles = (np.arange(-1, 25) + 0.5) * 3600
        around = np.concatenate([weights[-1:], weights, weights[:1]])
        shape = np.interp(np.arange(DAY_S) + 0.5, middles, around)
        return self.generations * shape / shape.sum()

    @property
    def peak(self) -> float:
        """Generations a second at the peak of the wave, without bursts."""
        return float(self.rate().max())

    @property
    def mean_tokens(self) -> float:
        """Of a generation."""
        return float(self.tokens * np.exp(self.tokens_spread**2 / 2))

    @property
    def mean_s(self) -> float:
        """Seconds of a generation."""
        return self.mean_tokens * self.token_s

    @property
    def processes(self) -> int:
        """Processes with a model that the peak needs: each has a tap and a spool."""
        return int(np.ceil(self.peak * self.mean_s / (self.at_once * self.full)))

    def words(self) -> Mapping[str, tuple[float, str]]:
        """Name -> value and what it is."""
        return {each.name: (getattr(self, each.name), each.metadata["what"]) for each in fields(self)}
