"""The three pictures of a report, in two themes and two widths. The same report gives the same bytes.

    trajectories    sigma over step, before the bands of the classes it belongs to
    scores          calibration scores, the threshold, and the test groups against it
    rates           shares with exact intervals

Text on a figure may come from a prompt's author: it is drawn as it is, never read as a formula.
"""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import Literal

import matplotlib

from sri_sdk.report import figure_rates, figure_scores, figure_trajectories
from sri_sdk.report.data import Report
from sri_sdk.report.drawing import WIDTHS, Width, fitted, spread
from sri_sdk.report.themes import Theme

__all__ = ["NAMES", "WIDTHS", "Name", "Width", "fitted", "png", "spread", "svg"]

Name = Literal["trajectories", "scores", "rates"]
NAMES: tuple[Name, ...] = ("trajectories", "scores", "rates")

PNG_DPI = 160
"""Wide PNGs are 1600 pixels wide."""
DOTS_DPI = 220
"""Of the dots, which are pixels also in an SVG: as outlines they would be most of the page."""


def svg(name: Name, report: Report, theme: Theme, width: Width = "wide") -> bytes:
    """One figure as an SVG file, its text as outlines: it looks the same without our fonts."""
    return _render(name, report, theme, width, "svg", titled=False)


def png(name: Name, report: Report, theme: Theme, width: Width = "wide") -> bytes:
    """One figure as a PNG file with its title, to be read on its own."""
    return _render(name, report, theme, width, "png", titled=True)


def _render(name: Name, report: Report, theme: Theme, width: Width, form: str, *, titled: bool) -> bytes:
    draw = {"trajectories": figure_trajectories.draw, "scores": figure_scores.draw, "rates": figure_rates.draw}[name]
    settings = {
        "font.family": "DejaVu Sans",  # Ships with matplotlib: the same outlines on every machine.
        "font.size": 9.5,
        "text.color": theme.ink,
        "text.parse_math": False,
        "axes.edgecolor": theme.quiet,
        "axes.labelcolor": theme.quiet,
        "axes.facecolor": theme.paper,
        "figure.facecolor": theme.paper,
        "savefig.facecolor": theme.paper,
        "xtick.color": theme.quiet,
        "ytick.color": theme.quiet,
        "svg.hashsalt": "sri",
        "svg.fonttype": "path",
    }
    stream = BytesIO()
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # A title in a script the font lacks is drawn as boxes; the page beside it has the text.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = draw(report, theme, width, titled)
        # Neither date nor version: the same report gives the same file.
        metadata = {"Date": None, "Creator": None} if form == "svg" else {"Software": None}
        figure.savefig(stream, format=form, dpi=PNG_DPI if form == "png" else DOTS_DPI, metadata=metadata)
    return stream.getvalue()
