"""The pictures of an evaluation, in two themes and two widths. The same evaluation gives the same bytes.

    trajectories    sigma over step, mean and spread of each class, model by model
    maps            signals in the planes of LDA and PCA
    separation      AUROC by signal
    roc             guards on the first model, whole and where false alarms are rare
    costs           what guards remove against the time they take
    alarms          share of successful attacks alarmed by each step
    attacks         success by attack and model, and what remains after our guard
    recovery        internal recovery, and recovery of drafts
    unseen          AUROC on families of attacks the detector never learnt from

A figure for which an evaluation has nothing is not drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from matplotlib.figure import Figure

from sri_sdk.metrics.results import Evaluation
from sri_sdk.report import (
    figure_alarms,
    figure_attacks,
    figure_bands,
    figure_costs,
    figure_maps,
    figure_recovery,
    figure_roc,
    figure_separation,
)
from sri_sdk.report.drawing import Width
from sri_sdk.report.rendering import rendered
from sri_sdk.report.themes import Theme

DOTS_DPI = 150
"""Maps have thousands of dots in four renderings each: at twice this they would be most of the page."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """One figure."""

    draw: Callable[[Evaluation, Theme, Width, bool], Figure]
    has: Callable[[Evaluation], bool]
    """Whether an evaluation has something to draw."""


DRAWINGS: Mapping[str, Drawing] = {
    "trajectories": Drawing(figure_bands.draw, lambda e: bool(figure_bands.models(e))),
    "maps": Drawing(figure_maps.draw, lambda e: bool(figure_maps.models(e))),
    "separation": Drawing(figure_separation.draw_signals, lambda e: any(m.separations for m in e.models)),
    "roc": Drawing(figure_roc.draw, lambda e: bool(figure_roc.guards(e))),
    "costs": Drawing(figure_costs.draw, lambda e: bool(figure_costs.guards(e))),
    "alarms": Drawing(figure_alarms.draw, lambda e: bool(figure_alarms.lines(e))),
    "attacks": Drawing(figure_attacks.draw, lambda e: any(m.attacks for m in e.models)),
    "recovery": Drawing(figure_recovery.draw, lambda e: bool(figure_recovery.models(e))),
    "unseen": Drawing(figure_separation.draw_unseen, lambda e: any(m.unseen for m in e.models)),
}
"""Name -> figure, in the order of the page."""
NAMES = tuple(DRAWINGS)


def drawn(evaluation: Evaluation) -> tuple[str, ...]:
    """Names of the figures this evaluation has something for."""
    return tuple(name for name, drawing in DRAWINGS.items() if drawing.has(evaluation))


def svg(name: str, evaluation: Evaluation, theme: Theme, width: Width = "wide") -> bytes:
    """One figure as an SVG file, to stand below a heading of the page."""
    return rendered(lambda: DRAWINGS[name].draw(evaluation, theme, width, False), theme, "svg", dots_dpi=DOTS_DPI)


def png(name: str, evaluation: Evaluation, theme: Theme, width: Width = "wide") -> bytes:
    """One figure as a PNG file with its title, to be read on its own."""
    return rendered(lambda: DRAWINGS[name].draw(evaluation, theme, width, True), theme, "png")
