"""The picture of docs/a-billion-a-day.md: a day on which all databases are gone for an hour."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from sri_sdk.report.drawing import Drawing, Panel, render
from sri_sdk.report.looks import LIGHT, Theme
from sri_sdk.strict_json import parse

PICTURE = Path(__file__).parents[2] / "docs/a-billion-a-day.png"
KEPT = Path(__file__).parents[1] / "scale.json"


def drawn(kept: Mapping[str, Any]) -> bytes:
    """A PNG."""
    return render(_drawing(kept), LIGHT, "png")


def _drawing(kept: Mapping[str, Any]) -> Drawing:
    series, plan = kept["series"], kept["plan"]
    begin, end = plan["outage_hour"], plan["outage_hour"] + plan["outage_minutes"] / 60
    hours = (np.arange(len(series["ended"])) + 0.5) * series["step_s"] / 3600

    def axis(axes: Axes, theme: Theme) -> None:
        axes.set_xlim(0, 24)
        axes.set_xticks(range(0, 25, 4), [f"{hour:02d}:00" for hour in range(0, 25, 4)])
        axes.axvspan(begin, end, color=theme.tones["attack"], alpha=0.14, linewidth=0, label="no database")
        axes.grid(axis="y")

    def rates(axes: Axes, theme: Theme) -> None:
        axis(axes, theme)
        axes.plot(
            hours, np.array(series["ended"]) / 1e3, color=theme.accent, linewidth=1.6, label="generations that end"
        )
        axes.plot(
            hours, np.array(series["stored"]) / 1e3, color=theme.tones["harmless"], linewidth=1.6,
            linestyle=(0, (5, 1.8)), label="rows that are stored",
        )  # fmt: skip
        axes.set_ylabel("thousand a second")
        axes.set_ylim(bottom=0)

    def waiting(axes: Axes, theme: Theme) -> None:
        axis(axes, theme)
        axes.fill_between(hours, series["spools_gb"], color=theme.tones["refusal"], alpha=0.35, linewidth=0)
        axes.plot(hours, series["spools_gb"], color=theme.tones["refusal"], linewidth=1.6, label="waits in all spools")
        axes.set_ylabel("GB")
        axes.set_ylim(bottom=0)

    alt = "Generations and stored rows a second over a day, and below what waits in spools."
    panels = (Panel(rates, "Generations and rows"), Panel(waiting, "In spools"))
    return Drawing("A day of a billion generations without a database for an hour", alt, panels, 2.3, columns=1)


if __name__ == "__main__":
    PICTURE.write_bytes(drawn(parse(KEPT.read_bytes())))
