"""The page of a period: what a monitor saw, and whether its promise holds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from sri_sdk.metrics.cells import DASH, Cell, Table, share
from sri_sdk.reason_words import in_words
from sri_sdk.report.drawing import Drawing
from sri_sdk.report.period import GuardRow, Period
from sri_sdk.report.shell import page

URGENCY = {"act": "Act:", "look": "Look:", "fine": "Fine:"}


def render(period: Period, drawings: Mapping[str, Drawing]) -> str:
    """The page as text."""
    rows = tuple(
        (Cell(status), Cell("; ".join(in_words((code,))) if code else DASH), Cell(f"{count:,}"))
        for status, code, count in period.reasons
    )
    return page(
        "period.html",
        period=period,
        when=f"{_time(period.since_ms)} to {_time(period.until_ms)}, UTC",
        keys=_keys(period),
        urgency=URGENCY,
        drawings=drawings,
        reasons=Table("reasons", "Table of reasons", ("Status", "Why", "Generations"), rows, texts=frozenset({1})),
        guards=guard_table(period),
        facts=Table(
            "facts",
            "Table of facts",
            ("What", "Value"),
            tuple((Cell(name), Cell(value)) for name, value in period.facts),
            texts=frozenset({1}),
        ),
    )


def guard_table(period: Period) -> Table:
    """One row for each guard of each deployment."""
    columns = ("Deployment", "Guard", "Generations", "Flagged", "False alarms, measured", "Promised", "Right alarms")
    return Table("guards", "Table of guards", columns, tuple(map(_row, period.guards)), texts=frozenset({1}))


def _row(guard: GuardRow) -> tuple[Cell, ...]:
    labelled = f"{guard.labelled:,} of {guard.drawn:,} labelled"
    measured = Cell(DASH, counts=labelled)
    if guard.rate is not None:
        measured = Cell(share(guard.rate), f"{100 * guard.low:.2g} to {100 * guard.high:.2g}", labelled)
    return (
        Cell(guard.deployment or DASH),
        Cell(guard.bundle[:12] or DASH),
        Cell(f"{guard.generations:,}"),
        Cell(f"{guard.flagged:,}"),
        measured,
        Cell(DASH if guard.promised is None else f"{100 * guard.promised:g} %"),
        Cell(DASH if guard.precision is None else share(guard.precision)),
    )


def _keys(period: Period) -> list[tuple[str, str, str]]:
    """The few numbers to see first: name, value, what it means."""
    total, flagged, blind = period.generations, period.count("flagged"), period.count("unmonitored")
    keys = [
        ("Generations", f"{total:,}", "Of traffic; canaries are counted apart."),
        ("Flagged", f"{flagged:,}", f"{share(flagged / total)} of them." if total else "Of none."),
        ("Unmonitored", f"{blind:,}", "Nobody knows what these were." if blind else "Every sampled one was seen."),
    ]
    if period.latency_s is not None:
        half, most = period.latency_s
        keys.append(("Verdict after", f"{1000 * half:.3g} ms", f"Half of them; 99 of 100 after {1000 * most:.3g} ms."))
    return keys


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
