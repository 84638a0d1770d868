"""The page of one fit: what was watched, what the guard said, and how good the guard is."""

from __future__ import annotations

import numpy as np

from sri_sdk.report import figures, words
from sri_sdk.report.cards import card, last_sigma
from sri_sdk.report.data import Report, tone_of
from sri_sdk.report.drawing import Width
from sri_sdk.report.shell import Picture, page, picture
from sri_sdk.report.themes import Theme


def render(report: Report) -> str:
    """The page as text."""
    return page(
        "template.html",
        report=report,
        finding=words.finding(report),
        keys=_keys(report),
        cards=[
            card(item, tone_of(item, place), report.online_threshold) for place, item in enumerate(report.trajectories)
        ],
        pictures={name: _picture(name, report) for name in figures.NAMES},
    )


def _keys(report: Report) -> list[tuple[str, str, str]]:
    """The few numbers to see first: name, value, what it means."""
    area = report.auroc
    keys = []
    if area is not None:
        meaning = (
            f"95 % interval {area.low:.2f} to {area.high:.2f}; {area.positives:,} successful attacks against "
            f"{area.negatives:,} harmless generations. 0.5 = chance, 1 = perfect."
        )
        keys.append(("AUROC", f"{area.value:.3f}", meaning))
    else:
        keys.append(("AUROC", words.DASH, "Not measured: it needs successful attacks and harmless generations."))
    n = len(report.calibration)
    if report.alpha is not None:
        meaning = f"False alarms the threshold allows among harmless generations; set on {n:,} of them."
        keys.append(("False-alarm limit", f"{100 * report.alpha:g} %", meaning))
    else:
        keys.append(("Calibration", f"{n:,}", "Harmless generations that set the threshold."))
    keys.append(("Threshold", words.number(report.threshold), "A generation is flagged when its score is above this."))
    meaning = "Largest difference between the exported detector's scores and the fitted one's."
    keys.append(("Export parity", words.number(report.parity, 2), meaning))
    return keys


def _picture(name: figures.Name, report: Report) -> Picture:
    def svg(theme: Theme, width: Width) -> bytes:
        return figures.svg(name, report, theme, width)

    return picture(_alt(name, report), svg)


def _alt(name: figures.Name, report: Report) -> str:
    if name == "trajectories":
        lines = "; ".join(
            f"{words.title(item)}: sigma ends at {last_sigma(item)}, {words.verdict(item.verdict)}"
            for item in report.trajectories
        )
        return f"Line chart of sigma over step, from 0 (refusal-aligned) to 1 (internally compliant). {lines}."
    if name == "scores":
        parts = "; ".join(
            f"{group.name}: {int((np.asarray(group.scores) > report.threshold).sum())} of {len(group.scores)} above"
            for group in report.score_groups
        )
        return f"Scores of each test group against the threshold {words.number(report.threshold)}. {parts}."
    return "Dot chart of the rates in the table below, with their intervals."
