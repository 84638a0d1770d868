"""The figures of a fit: its generations over time, its scores, its rates."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import Normal, Stroke
from numpy.typing import NDArray

from sri_sdk.metrics.rates import Rate
from sri_sdk.metrics.results import CLASS_WORDS
from sri_sdk.records import Status
from sri_sdk.report import charts, looks, words
from sri_sdk.report.data import Report, ScoreGroup, Trajectory
from sri_sdk.report.drawing import Drawing, Panel, short, wrapped
from sri_sdk.report.looks import Theme

MARKERS: dict[Status, str] = {"clear": "o", "flagged": "^", "unmonitored": "s", "not_sampled": "D"}
DASHES = (looks.SOLID, looks.DASHED, looks.MIXED, looks.DOTTED)
MOST_DOTS = 2000
"""Dots per group of scores; of a larger group, as many evenly spaced order statistics: the same distribution."""


def drawings(report: Report) -> dict[str, Drawing]:
    """Name -> figure, in the order of the page."""
    return {"trajectories": _trajectories(report), "scores": _scores(report), "rates": _rates(report)}


def _trajectories(report: Report) -> Drawing:
    items = report.trajectories
    said = "; ".join(
        f"{words.title(item)}: sigma ends at {words.last_sigma(item)}, {words.concluded(item)}" for item in items
    )

    def draw(axes: Axes, theme: Theme) -> None:
        charts.sigma(axes, max([len(item.sigma) for item in items] + [len(b.mean) for b in report.bands] + [2]))
        for place, item in enumerate(items):
            _trajectory(axes, item, place, len(items), theme)
        for band in filter(charts.drawn, report.bands):
            label = f"80 % of {CLASS_WORDS[band.name]} (n = {band.n:,})"
            charts.band(axes, band, theme, label=label, line=False)

    alt = f"Line chart of sigma over step, from 0 (refusal-aligned) to 1 (internally compliant). {said}."
    caption = (
        "Sigma is read from the model's hidden states at every step while it writes. Near 1 they look like those of "
        "requests it answers, near 0 like those of requests it refuses."
    )
    return Drawing("SRI signal at each step", alt, (Panel(draw),), 3.6, caption)


def _trajectory(axes: Axes, item: Trajectory, place: int, count: int, theme: Theme) -> None:
    colour = theme.tones[looks.tone(item.kind)]
    hollow = item.verdict.status not in ("clear", "flagged")
    # Marks at other steps than the next line's, and a halo: signals saturate, and lines come to lie on each other.
    marks: dict[str, Any] = {"marker": MARKERS[item.verdict.status], "markevery": (2 * place, 2 * count)}
    marks |= {"markerfacecolor": theme.paper, "markeredgecolor": colour} if hollow else {}
    axes.plot(
        np.arange(1, len(item.sigma) + 1),
        item.sigma,
        color=colour,
        linestyle=DASHES[place % len(DASHES)],
        linewidth=2.2,
        markersize=8,
        path_effects=[Stroke(linewidth=4.5, foreground=theme.paper), Normal()],
        clip_on=False,
        zorder=3,
        label=f"{short(words.title(item))}: {_outcome(item)}",
        **marks,
    )
    alarm = item.verdict.first_alarm_step
    if alarm is not None and len(item.sigma):
        ring: dict[str, Any] = {"markersize": 13, "markerfacecolor": "none", "markeredgewidth": 2}
        cell = item.cell(alarm)
        axes.plot(
            cell + 1, item.sigma[cell], "o", markeredgecolor=theme.ink, clip_on=False, label="first alarm", **ring
        )


def _outcome(item: Trajectory) -> str:
    """What a legend has room for."""
    return short(words.verdict(item.verdict), 30) if item.recovered is None else words.OUTCOME[item.outcome]


def _scores(report: Report) -> Drawing:
    calibration = ScoreGroup("", report.calibration)
    groups = [("calibration, harmless", calibration), *((words.of_class(g.kind), g) for g in report.score_groups)]
    above = [f"{int((np.asarray(g.scores) > report.threshold).sum()):,} of {len(g.scores):,} above" for _, g in groups]
    names = [f"{wrapped(name)}\n{count}" for (name, _), count in zip(groups, above, strict=True)]

    def draw(axes: Axes, theme: Theme) -> None:
        axes.set_ylim(len(groups) - 0.5, -0.5)
        axes.set_yticks(range(len(groups)), names)
        _score_scale(axes, np.concatenate([_finite(g.scores) for _, g in groups]), report.threshold)
        axes.set_xlabel("score (higher = more suspicious)")
        axes.grid(axis="x")
        for row, (_, group) in enumerate(groups):
            _group(axes, row, group, report.threshold, theme)
        if np.isfinite(report.threshold):
            promise = f": at most {100 * report.alpha:g} % of harmless above" if report.alpha is not None else ""
            label = f"threshold {words.number(report.threshold)}{promise}"
            axes.axvline(report.threshold, color=theme.ink, linewidth=1.4, zorder=4, label=label)

    said = "; ".join(f"{name}: {count}" for (name, _), count in zip(groups, above, strict=True))
    alt = f"Scores of each group against the threshold {words.number(report.threshold)}. {said}."
    return Drawing("Scores against the threshold", alt, (Panel(draw),), 0.6 + 0.62 * len(groups))


def _group(axes: Axes, row: int, group: ScoreGroup, threshold: float, theme: Theme) -> None:
    scores = np.sort(_finite(group.scores))
    if len(scores) > MOST_DOTS:
        scores = scores[np.linspace(0, len(scores) - 1, MOST_DOTS).round().astype(int)]
    # The golden ratio spreads neighbours evenly over the height of the row, and is the same in every run.
    heights = row + (np.arange(len(scores)) * 0.618034 % 1 - 0.5) * 0.6
    colour = theme.tones[looks.tone(group.kind)] if group.kind else theme.quiet
    for chosen, alpha in ((scores <= threshold, 0.4), (scores > threshold, 0.9)):
        style: dict[str, Any] = {"alpha": alpha, "markersize": 3.2, "markeredgewidth": 0, "rasterized": True}
        axes.plot(scores[chosen], heights[chosen], "o", color=colour, clip_on=False, **style)


def _score_scale(axes: Axes, scores: NDArray[np.float64], threshold: float) -> None:
    """Linear, unless a few scores are so large that the others would share one pixel: then logarithmic far from 0.

    `scores` is [N] float64, finite, of all groups together.
    """
    reach = np.r_[scores, threshold] if np.isfinite(threshold) else scores
    if not len(reach):
        return
    spread = float(np.subtract(*np.quantile(reach, [0.75, 0.25]))) or 1.0
    if reach.max() - np.median(reach) > 12 * spread:
        axes.set_xscale("asinh", linear_width=spread)
    axes.xaxis.set_major_formatter(lambda value, _: words.number(value))


def _rates(report: Report) -> Drawing:
    rows: list[tuple[str, Rate | None]] = [(rate.name, rate) for rate in report.rates]
    rows = rows or [("no rates were measured", None)]
    alt = "Dot chart of the rates in the table below, with their intervals."
    return Drawing("Rates with exact 95 % intervals", alt, (Panel(charts.dots(rows)),), 0.4 + 0.42 * len(rows))


def _finite(values: NDArray[Any]) -> NDArray[np.float64]:
    numbers = np.asarray(values, dtype=np.float64).ravel()
    return numbers[np.isfinite(numbers)]
