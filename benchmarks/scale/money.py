"""What a million generations take and cost, line by line, at prices that are assumptions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.scale.day import Fleet
from benchmarks.scale.measured import Measured
from benchmarks.scale.plan import Plan

MILLION = 1e6
KEPT_DAYS = (7, 30, 90, 365)


@dataclass(frozen=True, slots=True)
class Cost:
    """One line."""

    stage: str
    takes: str
    """In words, for a million generations."""
    dollars: float
    """For a million generations."""


def costs(plan: Plan, measured: Measured, have: Fleet) -> Sequence[Cost]:
    """Every stage, in the order in which a generation meets them.

    Args:
        plan: what is assumed, prices among it.
        measured: what is not.
        have: the fleet; it is paid for all day, busy or not.
    """
    million = MILLION / plan.generations
    model_hours = plan.processes * 24 * million
    tap = model_hours * plan.tap_share
    scorers, databases = have.scorers * 24 * million, have.databases * plan.store_cores * 24 * million
    sent = MILLION * measured["observation_bytes"] / 1e9
    kept = MILLION * measured["row_bytes"] * plan.copies / 1e9
    signals = MILLION * measured["row_signal_bytes"] * plan.copies / 1e9 - kept
    months = plan.keep_days / (365 / 12)
    flagged = (1 - plan.attacks) * plan.alpha + plan.attacks * plan.found
    labels = MILLION * (flagged * plan.audit_flagged + (1 - flagged) * plan.audit_clear)
    canaries = 24 * 3600 / plan.canary_s * 4 * million
    return (
        Cost("tap", f"{tap:.2g} accelerator-hours of {model_hours:,.0f}", tap * plan.accelerator_hour),
        Cost("scoring", f"{scorers:.2g} core-hours", scorers * plan.core_hour),
        Cost("transport", f"{sent:.2g} GB", sent * plan.transfer_gb),
        Cost("store, processors", f"{databases:.2g} core-hours", databases * plan.core_hour),
        Cost("store, rows", f"{kept:.2g} GB for {plan.keep_days:g} days", kept * months * plan.disk_gb_month),
        Cost("store, signals", f"{signals:.2g} GB for {plan.keep_days:g} days", signals * months * plan.disk_gb_month),
        Cost("labels", f"{labels:.2g} labels", labels * plan.label),
        Cost("canaries", f"{canaries:.2g} generations", canaries * model_hours * plan.accelerator_hour / MILLION),
    )


def bytes_per_generation(plan: Plan, measured: Measured) -> dict[str, float]:
    """What travels for one generation, by what is sent."""
    signal = plan.cells * plan.columns * 4
    state = plan.width * plan.columns * 4
    return {
        "signal": signal, "observation": measured["observation_bytes"], "state": state,
        "phi": plan.mean_tokens * state, "phi_cells": plan.cells * state,
    }  # fmt: skip


def kept_terabytes(plan: Plan, measured: Measured, days: float, rows: float = 1.0) -> tuple[float, float]:
    """Terabytes of one copy after so many days: of rows alone, and with their signals.

    Args:
        plan: of whom.
        measured: sizes.
        days: that are kept.
        rows: share of the generations that are kept as rows.
    """
    count = plan.generations * days * rows
    return count * measured["row_bytes"] / 1e12, count * measured["row_signal_bytes"] / 1e12
