"""A drawn figure as bytes: SVG for the page, PNG to be read on its own. The same figure gives the same bytes.

Text on a figure may come from a prompt's author: it is drawn as it is, never read as a formula.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from io import BytesIO
from typing import Literal

import matplotlib
from matplotlib.figure import Figure

from sri_sdk.report.themes import Theme

Form = Literal["svg", "png"]

PNG_DPI = 160
"""Wide PNGs are 1600 pixels wide."""
DOTS_DPI = 220
"""Of the dots, which are pixels also in an SVG: as outlines they would be most of the page."""


def rendered(draw: Callable[[], Figure], theme: Theme, form: Form, *, dots_dpi: int = DOTS_DPI) -> bytes:
    """The figure as a file, its text as outlines: it looks the same without our fonts.

    Args:
        draw: makes the figure; it runs under the theme's settings, which end with it.
        theme: the colours.
        form: of the file.
        dots_dpi: of the dots in an SVG.
    """
    settings = {
        "font.family": "DejaVu Sans",  # Ships with matplotlib: the same outlines on every machine.
        "font.size": 9.5,
        "text.color": theme.ink,
        "text.parse_math": False,
        "axes.edgecolor": theme.quiet,
        "axes.labelcolor": theme.quiet,
        "axes.facecolor": theme.paper,
        "figure.facecolor": theme.paper,
        "hatch.color": theme.rule,
        "hatch.linewidth": 0.8,
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
        figure = draw()
        # Neither date nor version: the same figure gives the same file.
        metadata = {"Date": None, "Creator": None} if form == "svg" else {"Software": None}
        figure.savefig(stream, format=form, dpi=PNG_DPI if form == "png" else dots_dpi, metadata=metadata)
    return stream.getvalue()
