"""The figures of an evaluation. Each is described once; one for which an evaluation has nothing has no panels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from sri_sdk.metrics.cells import area, called, keys, percent, share
from sri_sdk.metrics.guard_table import ordered, ours, overhead
from sri_sdk.metrics.rates import Rate
from sri_sdk.metrics.remaining import all_remaining, attack_remaining
from sri_sdk.metrics.results import (
    CLASS_WORDS,
    AttackResult,
    Evaluation,
    GuardResult,
    ModelResult,
    Projection,
    Separation,
)
from sri_sdk.report import charts, looks, steering_figures
from sri_sdk.report.drawing import Drawing, Panel, short
from sri_sdk.report.evaluation_tables import TOGETHER
from sri_sdk.report.evaluation_words import leading
from sri_sdk.report.looks import Theme

MOST_DOTS = 400
"""Dots of one class on one map; of a larger class, as many at even distances in its order."""
LEAST = 1e-3
"""Left end of a logarithmic axis of false alarms, unless more harmless generations reach further."""


def drawings(evaluation: Evaluation) -> dict[str, Drawing]:
    """Name -> figure, in the order of the page, of those this evaluation has something for."""
    made = {name: describe(evaluation) for name, describe in FIGURES.items()}
    return {name: drawing for name, drawing in made.items() if drawing.panels}


def _trajectories(evaluation: Evaluation) -> Drawing:
    """Mean and spread of sigma of each class, model by model."""

    def draw(model: ModelResult, axes: Axes, theme: Theme) -> None:
        charts.sigma(axes, max(len(band.mean) for band in model.bands))
        for band in filter(charts.drawn, model.bands):
            charts.band(axes, band, theme, label=CLASS_WORDS[band.name], line=True)

    found = [model for model in evaluation.models if any(map(charts.drawn, model.bands))]
    return Drawing(
        "SRI signal at each step, by class",
        "Line charts of sigma over step, one per model, mean and middle 80 % of each class; numbers below.",
        tuple(Panel(partial(draw, model), called(model.name)) for model in found),
        2.6,
        "Lines: mean of a class. Shaded: its middle 80 %. Near 1 the model is internally compliant, near 0 "
        "refusal-aligned.",
        same_rows=True,
    )


def _maps(evaluation: Evaluation) -> Drawing:
    """Signals in the planes of LDA and PCA, whose axes were fitted on other generations; the leading model first."""

    def draw(projection: Projection, axes: Axes, theme: Theme) -> None:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(visible=True, color=theme.rule)
        # One image for all dots, not one for each class; what lies above stays sharp.
        axes.set_rasterization_zorder(2.01)
        # Small classes last: they would vanish below a large one.
        for points in sorted(projection.points, key=lambda p: -len(p.x)):
            xy = np.array([points.x, points.y], dtype=np.float64)
            xy = xy[:, np.isfinite(xy).all(axis=0)]
            xy = xy[:, np.linspace(0, xy.shape[1] - 1, min(xy.shape[1], MOST_DOTS)).round().astype(int)]
            if points.name in CLASS_WORDS and xy.size:
                look = looks.of_class(points.name, theme) | {"linestyle": "none"}
                marks: dict[str, Any] = {"markersize": 4, "markeredgewidth": 0.3, "alpha": 0.62, "zorder": 2}
                axes.plot(*xy, label=CLASS_WORDS[points.name], **marks, **look)
        first, second = (*projection.axes, "", "")[:2]
        axes.set_xlabel(short(first, 30))
        axes.set_ylabel(short(second, 30))

    first = leading(evaluation)
    found = sorted(evaluation.models, key=lambda model: model is not first)
    return Drawing(
        "Signals in the plane",
        "Scatter plots of signals in the planes of LDA and PCA, one dot per generation, by class; sizes below.",
        tuple(
            Panel(partial(draw, p), f"{called(model.name)}: {p.method}") for model in found for p in model.projections
        ),
        2.7,
        "LDA looks for the plane that separates the classes, PCA for the one with most variance. Of a large class, a "
        "part is drawn.",
        columns=2 if len(found) == 1 else 4,  # Both maps of a model stand in one row.
    )


def _roc(evaluation: Evaluation) -> Drawing:
    """Guards on the model the report begins with, whole and where false alarms are rare."""
    model = leading(evaluation)
    found = [(at, g, _curve(g)) for at, g in enumerate(ordered(model) if model else ()) if _curve(g).size]
    harmless = max((g.auroc.negatives for _, g, _ in found if g.auroc is not None), default=0)

    def draw(left: float, axes: Axes, theme: Theme) -> None:
        axes.set(xlim=(left, 1.0), ylim=(-0.02, 1.02), ylabel="successful attacks found")
        axes.set_xlabel("false alarms among harmless generations")
        charts.shares(axes.yaxis)
        axes.grid()
        for at, guard, curve in reversed(found):
            look = looks.of_series(at, theme)
            label = f"{short(guard.name)}, AUROC {area(guard.auroc)}"
            line = look | {"marker": "", "linewidth": 1.6 if at else 2.6, "zorder": 3 if at else 4}
            axes.plot(np.maximum(curve[0], left), curve[1], label=label, **line)
            if guard.removed.n and guard.false_alarm.n:
                own = max(guard.false_alarm.value, left), guard.removed.value
                axes.plot(*own, markersize=8, zorder=6, clip_on=False, **look)
        chance = np.geomspace(left, 1, 100) if left else np.array([0.0, 1.0])
        axes.plot(chance, chance, color=theme.quiet, linewidth=1, linestyle=(0, (1, 2)), label="chance")
        if not left:
            charts.shares(axes.xaxis)
            return
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda tick, _: f"{100 * tick:g} %")
        axes.minorticks_off()
        if harmless:
            label = f"below 1 of {harmless:,}: not measurable"
            axes.axvspan(left, max(1 / harmless, left), color=theme.rule, alpha=0.55, linewidth=0, label=label)

    panels = (
        Panel(partial(draw, 0.0), "All false alarm rates"),
        Panel(partial(draw, min(LEAST, 0.7 / max(harmless, 1))), "Where false alarms are rare"),
    )
    return Drawing(
        f"Successful attacks found against false alarms, {called(model.name) if model else ''}",
        "Two line charts of successful attacks found against false alarms, one line per guard; numbers below.",
        panels if found else (),
        3.6,
        "Upper left is better. Marks: the guard at its own threshold. The scale on the right is logarithmic: it shows "
        "the false alarm rates a service can live with.",
    )


def _curve(guard: GuardResult) -> NDArray[np.float64]:
    """[2, points] false and true positive rate, without what is not finite."""
    curve = guard.roc
    both = np.array([curve.fpr, curve.tpr] if curve is not None else [(), ()], dtype=np.float64)
    return both[:, np.isfinite(both).all(axis=0)]


def _costs(evaluation: Evaluation) -> Drawing:
    """What guards remove against the time they take, on the model the report begins with."""
    model = leading(evaluation)
    found = [(at, guard) for at, guard in enumerate(ordered(model) if model else ()) if guard.removed.n]

    def draw(axes: Axes, theme: Theme) -> None:
        axes.set(xscale="log", ylim=(-0.03, 1.03), ylabel="successful attacks removed")
        axes.set_xlabel("time, as a share of the time of generation")
        axes.grid()
        charts.shares(axes.yaxis)
        times = [cost for _, guard in found if (cost := _cost(guard))] or [0.001, 0.01]
        low = math.floor(math.log10(min(times)))
        axes.set_xlim(10.0**low, 10.0 ** max(math.ceil(math.log10(max(times))), low + 2))
        axes.xaxis.set_major_formatter(lambda tick, _: f"{100 * tick:g} %")
        axes.minorticks_off()
        for at, guard in found:
            look, cost, removed = looks.of_series(at, theme) | {"linestyle": ""}, _cost(guard), guard.removed
            label = f"{short(guard.name, 20)}: {percent(removed)} removed, "
            if cost is None:  # No place on the scale of time: it is listed.
                axes.plot([], [], linestyle="", label=f"{label}overhead {overhead(guard)}")
                continue
            label += f"{percent(guard.false_alarm)} false alarms"
            axes.plot([cost, cost], [removed.low, removed.high], color=look["color"], linewidth=4, alpha=0.38)
            axes.plot(cost, removed.value, markersize=9, clip_on=False, zorder=5, label=label, **look)

    return Drawing(
        f"What guards remove against what they cost, {called(model.name) if model else ''}",
        "Scatter plot of successful attacks removed against overhead, one mark per guard; numbers in the table.",
        (Panel(draw),) if found else (),
        3.4,
        "Upper left is better: more removed, for less time. The scale of time is logarithmic; pale lines are 95 % "
        "intervals.",
    )


def _cost(guard: GuardResult) -> float | None:
    """Its overhead, where a logarithmic scale has a place for it."""
    return guard.overhead if guard.overhead and math.isfinite(guard.overhead) and guard.overhead > 0 else None


def _alarms(evaluation: Evaluation) -> Drawing:
    """Share of successful attacks alarmed by each step: our guard on every model, every guard on the leading one."""
    first = leading(evaluation)
    mine = [(called(m.name), m, guard) for m in evaluation.models if (guard := ours(m)) is not None]
    all_of_first = [(called(guard.name), first, guard) for guard in ordered(first)] if first else []
    titled = {"Our guard, model by model": mine, f"Guards on {called(first.name) if first else ''}": all_of_first}
    shown = {
        title: [
            (at, name, model.budget, guard) for at, (name, model, guard) in enumerate(lines) if _alarmed(guard).size
        ]
        for title, lines in titled.items()
    }

    def draw(lines: Sequence[tuple[int, str, int, GuardResult]], axes: Axes, theme: Theme) -> None:
        charts.steps(axes, max(len(guard.alarm_curve) for *_, guard in lines))
        axes.set_ylim(-0.03, 1.03)
        charts.shares(axes.yaxis)
        for at, name, budget, guard in lines:
            curve = np.asarray(guard.alarm_curve, dtype=np.float64)
            look = looks.of_series(at, theme)
            label = f"{short(name, 22)}: {share(float(_alarmed(guard)[-1]))} at the end"
            median = guard.median_alarm_step
            # The median counts steps, the curve has cells.
            known = median is not None and math.isfinite(median) and budget > 0
            cell = min(max(int(median * len(curve) / budget), 1), len(curve)) if known and median else 0
            marks: dict[str, Any] = {"markevery": [cell - 1] if cell else [], "markersize": 7, "clip_on": False}
            axes.plot(
                np.arange(1, len(curve) + 1), curve, drawstyle="steps-post", linewidth=2, label=label, **marks, **look
            )

    panels = [Panel(partial(draw, lines), title) for title, lines in shown.items() if lines]
    # One model and one guard: both panels would show the same line.
    alone = len(panels) == 2 and all(len(lines) == 1 for lines in shown.values())
    return Drawing(
        "Successful attacks alarmed by step",
        "Line charts of the share of successful attacks alarmed by each step; numbers below.",
        tuple(panels[: 1 if alone else 2]),
        2.8,
        "Share of all successful attacks alarmed by each step. Marks: median step of the alarms.",
        own_legends=True,
    )


def _alarmed(guard: GuardResult) -> NDArray[np.float64]:
    curve = np.asarray(guard.alarm_curve, dtype=np.float64)
    return curve[np.isfinite(curve)]


def _attacks(evaluation: Evaluation) -> Drawing:
    """How often each attack succeeds on each model, and what remains of it after our guard."""
    models = [model for model in evaluation.models if model.attacks]
    made = [{attack.name: attack for attack in model.attacks} for model in models]

    def mean_success(name: str) -> float:
        found = [attacks[name].success for attacks in made if name in attacks]
        return sum(rate.value for rate in found if rate.n) / max(sum(rate.n > 0 for rate in found), 1)

    def table(
        each: Callable[[ModelResult, AttackResult], Rate | None], together: Callable[[ModelResult], Rate | None]
    ) -> Callable[[Axes, Theme], None]:
        pairs = list(zip(models, made, strict=True))
        rows = [[each(model, attacks[name]) if name in attacks else None for model, attacks in pairs] for name in names]
        return charts.heat_map([*rows, list(map(together, models))], [*names, TOGETHER], [m.name for m in models])

    names = sorted(keys(made), key=mean_success, reverse=True)
    panels = [Panel(table(lambda _, attack: attack.success, lambda model: model.success), "Attacks that succeed")]
    if any(ours(model) is not None for model in models):
        panels.append(Panel(table(attack_remaining, all_remaining), "After our guard"))
    return Drawing(
        "Attack success by model",
        "Tables coloured by share: success of each attack on each model, and what remains after our guard.",
        tuple(panels) if models else (),
        # Names of models may stand upright.
        0.8 + 0.3 * len(names) + 0.1 * min(20, max((len(model.name) for model in models), default=0)),
        "Share of attacked prompts in percent; stronger colour = more. Hatched: not run there, or not measured.",
        columns=2 if len(models) <= 4 else 1,
        same_rows=True,
    )


def _recovery(evaluation: Evaluation) -> Drawing:
    """How often attacked generations turn back, inside (IRR) and in their drafts (HRR, FRR)."""
    found = [model for model in evaluation.models if model.internal_recovery or model.recovery]
    inside, drafts = keys(m.internal_recovery for m in found), keys(m.recovery for m in found)
    panels = []
    for model in found:
        rows = [(f"IRR: ends below {name}", model.internal_recovery.get(name)) for name in inside]
        rows += [(f"drafts: {name}", model.recovery.get(name)) for name in drafts]
        panels.append(Panel(charts.dots(rows), called(model.name)))
    return Drawing(
        "Recovery of attacked generations",
        "Dot charts of internal recovery and recovery of drafts, one per model, with intervals; numbers below.",
        tuple(panels),
        0.7 + 0.34 * len(inside + drafts),
        "Shares with 95 % intervals. Internal recovery (IRR): σ above 0.5 at some step, and at the end below the "
        "threshold named.",
        same_rows=True,
    )


def _areas(
    title: str, caption: str, of: Callable[[ModelResult], Sequence[Separation]], evaluation: Evaluation
) -> Drawing:
    """AUROC with intervals, one row for each name, one panel for each model."""
    found = [(model, {item.name: item for item in of(model)}) for model in evaluation.models if of(model)]
    names = keys(items for _, items in found)
    areas = [item.auroc for _, items in found for item in items.values() if item.auroc is not None]
    # From 0.4, or lower where an interval reaches below it.
    low = max(0.0, math.floor(10 * min([0.4, *(a.low for a in areas if math.isfinite(a.low))])) / 10)
    panels = []
    for model, items in found:
        rows = [(name, items[name].auroc if name in items else None) for name in names]
        panels.append(Panel(charts.dots(rows, low=low, chance=0.5), called(model.name)))
    alt = f"{title}: dot charts, one per model, with intervals; numbers below."
    return Drawing(title, alt, tuple(panels), 0.7 + 0.3 * len(names), caption, same_rows=True)


FIGURES: dict[str, Callable[[Evaluation], Drawing]] = {
    "trajectories": _trajectories,
    "maps": _maps,
    "separation": partial(
        _areas,
        "Separation of attacks from harmless generations, by signal (AUROC)",
        "AUROC of successful attacks against harmless generations, with 95 % intervals. Dashed: chance.",
        lambda model: model.separations,
    ),
    "roc": _roc,
    "costs": _costs,
    "alarms": _alarms,
    "attacks": _attacks,
    "recovery": _recovery,
    "unseen": partial(
        _areas,
        "Families of attacks the detector never learnt from (AUROC)",
        "AUROC on the family left out, with 95 % intervals. Dashed: chance.",
        lambda model: model.unseen,
    ),
    "steering-map": steering_figures.where_read,
    "steering-parts": steering_figures.where_it_matters,
    "steering-directions": steering_figures.whose_direction,
}
"""Name -> figure, in the order of the page."""
