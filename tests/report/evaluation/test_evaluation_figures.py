"""The pictures of an evaluation: whole, repeatable, readable, and indifferent to what they are fed."""

from dataclasses import replace
from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from sri_sdk.report import evaluation_figures, figure_alarms, figure_attacks, figure_costs, panels
from sri_sdk.report.evaluation_words import leading
from sri_sdk.report.themes import DARK, LIGHT, THEMES


def luminance(colour):
    parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize("name", evaluation_figures.NAMES)
def test_an_evaluation_has_every_picture_in_both_widths(name, evaluation):
    assert name in evaluation_figures.drawn(evaluation)
    for theme, width, inches in ((LIGHT, "wide", 720), (DARK, "narrow", 309.6)):
        root = ElementTree.fromstring(evaluation_figures.svg(name, evaluation, theme, width))
        assert float(root.get("width").removesuffix("pt")) == pytest.approx(inches)


@pytest.mark.parametrize("name", evaluation_figures.NAMES)
@pytest.mark.parametrize("width", ["wide", "narrow"])
def test_hostile_records_still_draw(name, width, hostile):
    if name in evaluation_figures.drawn(hostile):
        assert b"</svg>" in evaluation_figures.svg(name, hostile, LIGHT, width)


@pytest.mark.parametrize("name", ["maps", "attacks", "alarms"])
def test_eight_models_and_twelve_attacks_fit(name, huge):
    assert b"</svg>" in evaluation_figures.svg(name, huge, LIGHT)


def test_what_was_not_measured_is_not_drawn(bare, evaluation):
    assert evaluation_figures.drawn(bare) == ()
    silent = replace(evaluation, models=tuple(replace(m, guards=(), unseen=()) for m in evaluation.models))
    assert set(evaluation_figures.NAMES) - set(evaluation_figures.drawn(silent)) == {"roc", "costs", "alarms", "unseen"}
    assert b"</svg>" in evaluation_figures.svg("attacks", silent, LIGHT), "attacks need no guard"


@pytest.mark.parametrize("name", ["costs", "maps"])
def test_the_same_evaluation_gives_the_same_bytes(name, evaluation):
    assert evaluation_figures.svg(name, evaluation, DARK) == evaluation_figures.svg(name, evaluation, DARK)


def test_a_png_is_1600_pixels_wide(evaluation):
    image = evaluation_figures.png("recovery", evaluation, LIGHT)
    assert image.startswith(b"\x89PNG") and int.from_bytes(image[16:20], "big") == 1600


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_every_number_of_the_heat_map_can_be_read(theme):
    for value in np.linspace(0, 1, 21):
        dark, light = sorted((luminance(theme.ink), luminance(figure_attacks.shade(value, theme))))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, value


def test_labels_of_guards_that_cost_the_same_do_not_overlap():
    class Rate:
        k, n, low, high, value = 1, 2, 0.48, 0.52, 0.5

    class Guard:
        name, false_alarm, removed = "a guard with a name", Rate, Rate

    boxes = figure_costs.label_boxes([Guard] * 6, [(2.0 + 0.05 * i, 1.5) for i in range(6)], 8.0, 3.0)
    for one, other in combinations(boxes, 2):
        assert one[1] <= other[0] or other[1] <= one[0] or one[3] <= other[2] or other[3] <= one[2]


def test_a_guard_without_overhead_is_listed_and_not_dropped(evaluation):
    names = [guard.name for guard in figure_costs.guards(evaluation)]
    assert "refusal-phrases" in names
    model = leading(evaluation)
    untimed = replace(model, guards=tuple(replace(guard, overhead=None) for guard in model.guards))
    assert b"</svg>" in evaluation_figures.svg("costs", replace(evaluation, models=(untimed,)), LIGHT)


def test_one_model_with_one_guard_shows_its_alarm_curve_once(evaluation):
    model = leading(evaluation)
    alone = replace(evaluation, models=(replace(model, guards=model.guards[:1]),))
    assert len(figure_alarms.lines(alone)) == 1
    assert len(figure_alarms.lines(evaluation)) == 2


def test_panels_of_a_grid_keep_apart_and_stay_on_the_sheet():
    grid = panels.Grid(7, "wide", columns=4, top=0.3, left=1, gap=0.3, right=0.2, head=0.3, plot=2, foot=0.5)
    places = list(grid)
    assert len(places) == 7 and grid.rows == 2
    for one, other in combinations(places, 2):
        beside = one.left + grid.panel <= other.left or other.left + grid.panel <= one.left
        assert beside or one.top + one.height <= other.top or other.top + other.height <= one.top
    assert all(place.right >= 0.2 - 1e-9 and place.top + place.height <= grid.bottom for place in places)


def test_a_legend_wraps_before_the_edge_of_the_sheet():
    entries = [panels.Entry(f"a guard called number {i}", {}) for i in range(6)]
    assert panels.Legend(entries, "narrow").height > panels.Legend(entries, "wide").height > panels.LINE
