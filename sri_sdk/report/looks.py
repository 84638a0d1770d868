"""Colours and marks of figures and page, light and dark. Okabe and Ito's hues, moved until each is readable as text.

A class or a series has its own dash and marker beside its colour, so that figures can be read without colour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Tone = Literal["harmless", "refusal", "attack", "other"]


@dataclass(frozen=True, slots=True)
class Theme:
    """One set of colours, as #rrggbb. Text and lines have a contrast of at least 4.5 on `paper`."""

    name: str
    paper: str
    """Behind figures."""
    ink: str
    """Text and axes."""
    quiet: str
    """Text that explains."""
    rule: str
    """Grid lines; decoration, so without a contrast to keep."""
    accent: str
    """What has no tone of its own."""
    tones: Mapping[Tone, str]
    series: tuple[str, ...]
    """Of guards and models beside the first, which has `accent`; none of them is a tone."""
    strongest: float
    """Share of a tone in the colour of 100 %: the ink on it stays readable."""


LIGHT = Theme(
    name="light",
    paper="#ffffff",
    ink="#1b2430",
    quiet="#586474",
    rule="#e3e7ec",
    accent="#33475f",
    tones={"harmless": "#007a5a", "refusal": "#1f66b5", "attack": "#c04a06", "other": "#6a5a86"},
    series=("#b0246f", "#0b7285", "#8a5a00", "#5c6b00", "#7c3aed", "#a33a2b", "#3d6b8e"),
    strongest=0.75,
)
DARK = Theme(
    name="dark",
    paper="#171c24",
    ink="#e7ebf0",
    quiet="#a2aebc",
    rule="#2d3643",
    accent="#b9c8da",
    tones={"harmless": "#3ccb9f", "refusal": "#74b0f4", "attack": "#ff9457", "other": "#b9a6dc"},
    series=("#ff8cc6", "#4fd0e3", "#e5b454", "#bfce4a", "#c4a5ff", "#ff9d8d", "#9cc3e6"),
    strongest=0.52,
)
THEMES = (LIGHT, DARK)

SOLID, DASHED, DOTTED, MIXED, LONG = "-", (0, (5, 1.8)), (0, (1.4, 1.2)), (0, (6, 1.5, 1.5, 1.5)), (0, (9, 2.2))
_CLASSES: Mapping[str, tuple[Tone, Any, str]] = {
    "answered_harmless": ("harmless", SOLID, "o"),
    "refused_harmless": ("other", DOTTED, "D"),
    "refused_harmful": ("refusal", DASHED, "s"),
    "answered_harmful": ("attack", DOTTED, "v"),
    "successful_attack": ("attack", SOLID, "^"),
}
_SERIES = ((SOLID, "o"), (DASHED, "s"), (DOTTED, "^"), (MIXED, "D"), (LONG, "v"))


def tone(kind: str) -> Tone:
    """Tone of a class; `other` for one nobody knows."""
    return _CLASSES[kind][0] if kind in _CLASSES else "other"


def of_class(kind: str, theme: Theme) -> dict[str, Any]:
    """Colour, dash and marker of a class, as matplotlib's `plot` takes them."""
    _, dash, marker = _CLASSES.get(kind, ("other", MIXED, "v"))
    return {"color": theme.tones[tone(kind)], "linestyle": dash, "marker": marker}


def of_series(place: int, theme: Theme) -> dict[str, Any]:
    """Colour, dash and marker of one guard or model, by its place among them; the first is ours, in the accent."""
    colours = (theme.accent, *theme.series)
    dash, marker = _SERIES[place % len(_SERIES)]
    return {"color": colours[place % len(colours)], "linestyle": dash, "marker": marker}
