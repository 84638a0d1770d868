"""Colours of figures and page, light and dark. Okabe and Ito's hues, moved until each is readable as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sri_sdk.report.data import Tone


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


LIGHT = Theme(
    name="light",
    paper="#ffffff",
    ink="#1b2430",
    quiet="#586474",
    rule="#e3e7ec",
    accent="#33475f",
    tones={"harmless": "#007a5a", "refusal": "#1f66b5", "attack": "#c04a06", "other": "#6a5a86"},
    series=("#b0246f", "#0b7285", "#8a5a00", "#5c6b00", "#7c3aed", "#a33a2b", "#3d6b8e"),
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
)
THEMES = (LIGHT, DARK)
