"""The figure `attacks`: how often each attack succeeds on each model, and what remains of it after our guard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from sri_sdk.metrics.rates import Rate
from sri_sdk.metrics.results import AttackResult, Evaluation, ModelResult
from sri_sdk.report import words
from sri_sdk.report.drawing import INCHES, Sheet, Width, fitted, text_width
from sri_sdk.report.evaluation_words import all_remaining, attack_remaining, called, ours
from sri_sdk.report.panels import Grid
from sri_sdk.report.themes import Theme

ROW = 0.34
"""Inches of one row."""
TOGETHER = "all attacks"
STRONGEST = {"light": 0.75, "dark": 0.52}
"""Theme -> share of the tone in the colour of 100 %."""

Shown = Callable[[ModelResult, AttackResult | None], Rate | None]
"""Model and attack, None = all together -> the rate of that cell."""


def draw(evaluation: Evaluation, theme: Theme, width: Width, titled: bool) -> Figure:
    """The figure, with its title if it is to be read on its own."""
    wide = width == "wide"
    models = [model for model in evaluation.models if model.attacks]
    names = _ordered(models)
    guarded = any(ours(model) is not None for model in models)
    beside = wide and guarded and len(models) <= 4
    most = 1.9 if wide else max(1.25, min(1.75, 4.0 - 0.55 * len(models)))
    labels = min(most, 0.3 + max(text_width(name, 9) for name in (*names, TOGETHER)))
    maps: list[tuple[str, Shown]] = [("Attacks that succeed", _success)]
    if guarded:
        maps.append(("What remains after our guard", _remains))
    columns = 2 if beside else 1
    gap = labels + 0.2 if beside else 0
    room = (INCHES[width] - labels - 0.25 - gap) / columns
    cell = min(room / len(models), 1.5)
    upright = any(text_width(called(model.name), 8.5) > cell - 0.08 for model in models)
    head = 0.45 + (min(1.5, max(text_width(called(m.name), 8.5) for m in models)) + 0.1 if upright else 0.2)
    grid = Grid(
        len(maps),
        width,
        columns=columns,
        top=0,
        left=labels,
        gap=gap,
        right=0.25,
        head=head,
        plot=ROW * (len(names) + 1) + 0.1,
        foot=0.2,
    )
    sheet = Sheet(width, grid.bottom, theme, "Attack success by model" if titled else None)
    for place, (title, shown) in zip(grid, maps, strict=True):
        sheet.text(place.left, place.top - head + 0.14, title, size=10, weight="bold")
        right = place.right + grid.panel - cell * len(models)
        axes = sheet.axes(place.left, place.top, right, place.height)
        _frame(axes, models, names, theme, labels=labels, cell=cell, upright=upright)
        for x, model in enumerate(models):
            made = {attack.name: attack for attack in model.attacks}
            for y, name in enumerate(names):
                _cell(axes, x, y, shown(model, made[name]) if name in made else None, theme, cell)
            _cell(axes, x, len(names) + 0.1 / ROW, shown(model, None), theme, cell, bold=True)
    return sheet.figure


def _success(model: ModelResult, attack: AttackResult | None) -> Rate | None:
    return model.success if attack is None else attack.success


def _remains(model: ModelResult, attack: AttackResult | None) -> Rate | None:
    if attack is not None:
        return attack_remaining(model, attack)
    return all_remaining(model)


def _ordered(models: list[ModelResult]) -> list[str]:
    """Attacks, those that succeed most first."""
    shares: dict[str, list[float]] = {}
    for model in models:
        for attack in model.attacks:
            shares.setdefault(attack.name, []).extend([attack.success.value] if attack.success.n else [])
    return sorted(shares, key=lambda name: -sum(shares[name]) / max(len(shares[name]), 1))


def _frame(
    axes: Any, models: list[ModelResult], names: list[str], theme: Theme, *, labels: float, cell: float, upright: bool
) -> None:
    axes.set_xlim(0, len(models))
    axes.set_ylim(len(names) + 1 + 0.1 / ROW, 0)
    axes.spines["bottom"].set_visible(False)
    axes.set_yticks([])
    axes.set_xticks([])
    for y, name in enumerate(names):
        shown = fitted(called(name), labels - 0.25, 9)
        axes.annotate(shown, (0, y + 0.5), (-6, 0), textcoords="offset points", ha="right", va="center", size=9)
    axes.annotate(
        TOGETHER,
        (0, len(names) + 0.5 + 0.1 / ROW),
        (-6, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        size=9,
        weight="bold",
    )
    for x, model in enumerate(models):
        name = fitted(called(model.name), 1.5 if upright else cell - 0.06, 8.5)
        style = {"rotation": 90, "va": "bottom"} if upright else {"va": "bottom"}
        axes.annotate(
            name, (x + 0.5, 0), (0, 4), textcoords="offset points", ha="center", size=8.5, color=theme.quiet, **style
        )


def _cell(axes: Any, x: float, y: float, rate: Rate | None, theme: Theme, cell: float, *, bold: bool = False) -> None:
    box: dict[str, Any] = {"linewidth": 1.6, "edgecolor": theme.paper}
    known = rate is not None and rate.n > 0
    value = rate.value if rate is not None and known else 0.0
    colour = shade(value, theme) if known else theme.paper
    axes.add_patch(Rectangle((x, y), 1, 1, facecolor=colour, **box))
    if not known:
        hatched: dict[str, Any] = {"facecolor": "none", "edgecolor": theme.rule, "hatch": "////", "linewidth": 0}
        axes.add_patch(Rectangle((x + 0.03, y + 0.06), 0.94, 0.88, **hatched))
    axes.text(
        x + 0.5,
        y + 0.52,
        _number(value, cell) if known else words.DASH,
        ha="center",
        va="center",
        size=9 if cell > 0.42 else 8,
        weight="bold" if bold else "normal",
        color=theme.ink if known else theme.quiet,
    )


def _number(value: float, cell: float) -> str:
    percent = f"{100 * value:.0f}" if value in (0, 1) or 0.005 <= value < 0.995 else "<1" if value < 0.5 else ">99"
    return f"{percent} %" if cell > 0.55 else percent


def shade(value: float, theme: Theme) -> str:
    """Colour of a share from 0 to 1, never so strong that the ink on it has a contrast below 4.5."""
    mixed = 0.05 + (STRONGEST[theme.name] - 0.05) * value
    low, high = to_rgb(theme.paper), to_rgb(theme.tones["attack"])
    return to_hex([a + (b - a) * mixed for a, b in zip(low, high, strict=True)])
