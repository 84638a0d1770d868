"""The three pictures of a report, in two themes and two widths. The same report gives the same bytes.

trajectories    sigma over step, before the bands of the classes it belongs to
scores          calibration scores, the threshold, and the test groups against it
rates           shares with exact intervals
"""

from __future__ import annotations

from typing import Literal

from sri_sdk.report import figure_rates, figure_scores, figure_trajectories
from sri_sdk.report.data import Report
from sri_sdk.report.drawing import WIDTHS, Width, fitted, spread
from sri_sdk.report.rendering import rendered
from sri_sdk.report.themes import Theme

__all__ = ["NAMES", "WIDTHS", "Name", "Width", "fitted", "png", "spread", "svg"]

Name = Literal["trajectories", "scores", "rates"]
NAMES: tuple[Name, ...] = ("trajectories", "scores", "rates")
_DRAW = {"trajectories": figure_trajectories.draw, "scores": figure_scores.draw, "rates": figure_rates.draw}


def svg(name: Name, report: Report, theme: Theme, width: Width = "wide") -> bytes:
    """One figure as an SVG file, to stand below a heading of the page."""
    return rendered(lambda: _DRAW[name](report, theme, width, False), theme, "svg")


def png(name: Name, report: Report, theme: Theme, width: Width = "wide") -> bytes:
    """One figure as a PNG file with its title, to be read on its own."""
    return rendered(lambda: _DRAW[name](report, theme, width, True), theme, "png")
