"""The page of a comparison of detectors: what they flag, with intervals, and the tables behind it."""

from __future__ import annotations

from sri_sdk.metrics.comparison import FLAGGED, WARNING, Comparison, missing_lines, tables
from sri_sdk.report import charts
from sri_sdk.report.drawing import Drawing, Panel
from sri_sdk.report.shell import page

TITLE = "Detectors compared"


def render(found: Comparison) -> str:
    """The page as text; it needs no other file."""
    folds = ", ".join(f"{count:,} {name}" for name, count in found.counts.items())
    return page(
        "comparison.html", title=TITLE, subtitle=f"Generations: {folds}.", warning=WARNING, drawing=drawing(found),
        tables=tables(found), missing=missing_lines(found),
    )  # fmt: skip


def drawing(found: Comparison) -> Drawing:
    """False alarms, flagged attacks and AUROC: a panel each, a detector a row, with 95 % intervals."""
    alarms = [(each.name, each.rate("false_alarm:final")) for each in found.detectors]
    attacks = [(each.name, each.rate(f"{FLAGGED}successful_attack")) for each in found.detectors]
    areas = [(each.name, each.auroc) for each in found.detectors]
    alt = "Dot chart of false alarms, flagged attacks and AUROC of each detector, with intervals; numbers below."
    caption = (
        "Dots are what was measured, pale lines 95 % intervals. Where the lines of two detectors overlap much, the "
        "test fold does not tell them apart."
    )
    return Drawing(
        TITLE, alt,
        (
            Panel(charts.dots(alarms), "false alarms"), Panel(charts.dots(attacks), "attacks flagged"),
            Panel(charts.dots(areas, chance=0.5), "AUROC"),
        ),
        0.7 + 0.36 * len(found.detectors), caption, same_rows=True,
    )  # fmt: skip
