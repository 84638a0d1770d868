"""The page of one fit: what was watched, what the guard said, and how good the guard is."""

from __future__ import annotations

from collections.abc import Mapping

from sri_sdk.metrics.cells import Cell, Table, rate_cell
from sri_sdk.report import words
from sri_sdk.report.cards import card
from sri_sdk.report.data import Report
from sri_sdk.report.drawing import Drawing
from sri_sdk.report.evaluation_words import area_key
from sri_sdk.report.shell import page


def render(report: Report, drawings: Mapping[str, Drawing]) -> str:
    """The page as text."""
    rows = tuple((Cell(rate.name), rate_cell(rate)) for rate in report.rates)
    return page(
        "fit.html",
        report=report,
        finding=words.finding(report),
        keys=_keys(report),
        cards=[card(item) for item in report.trajectories],
        drawings=drawings,
        rates=Table("rates", "Table of rates", ("Rate", "Share"), rows),
    )


def _keys(report: Report) -> list[tuple[str, str, str]]:
    """The few numbers to see first: name, value, what it means."""
    n = len(report.calibration)
    limit = ("Calibration", f"{n:,}", "Harmless generations that set the threshold.")
    if report.alpha is not None:
        meaning = f"False alarms the threshold allows among harmless generations; set on {n:,} of them."
        limit = ("False-alarm limit", f"{100 * report.alpha:g} %", meaning)
    parity = "Largest difference between the exported detector's scores and the fitted one's."
    return [
        area_key(report.auroc),
        limit,
        ("Threshold", words.number(report.threshold), "A generation is flagged when its score is above this."),
        ("Export parity", words.number(report.parity, 2), parity),
    ]
