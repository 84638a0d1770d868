"""The figures of an evaluation: whole, repeatable, readable, and indifferent to what they are fed."""

from dataclasses import replace
from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from sri_sdk.report import charts, drawing, looks
from sri_sdk.report.evaluation_figures import FIGURES, drawings
from sri_sdk.report.evaluation_words import leading
from sri_sdk.report.looks import DARK, LIGHT, THEMES


def luminance(colour):
    parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


def svg(evaluation, name, theme=LIGHT, *, wide=True):
    return drawing.render(drawings(evaluation)[name], theme, "svg", wide=wide)


@pytest.mark.parametrize("name", FIGURES)
def test_an_evaluation_has_every_picture_in_both_widths(name, evaluation):
    for theme, wide, points in ((LIGHT, True, 720), (DARK, False, 309.6)):
        root = ElementTree.fromstring(svg(evaluation, name, theme, wide=wide))
        assert float(root.get("width").removesuffix("pt")) == pytest.approx(points)


@pytest.mark.parametrize("which", ["evaluation", "huge", "hostile"])
@pytest.mark.parametrize("wide", [True, False], ids=["wide", "narrow"])
def test_nothing_lies_beyond_the_edge_or_over_something_else(which, wide, request, readable):
    """Also with eight models, twelve attacks and names that were chosen to break it."""
    for made in drawings(request.getfixturevalue(which)).values():
        readable(made, wide=wide)


@pytest.mark.parametrize("wide", [True, False], ids=["wide", "narrow"])
def test_hostile_records_still_draw(wide, hostile):
    for made in drawings(hostile).values():
        assert b"</svg>" in drawing.render(made, LIGHT, "svg", wide=wide)


def test_what_was_not_measured_is_not_drawn(bare, evaluation):
    assert drawings(bare) == {}
    silent = replace(evaluation, models=tuple(replace(m, guards=(), unseen=()) for m in evaluation.models))
    assert set(FIGURES) - set(drawings(silent)) == {"roc", "costs", "alarms", "unseen"}
    assert b"</svg>" in svg(silent, "attacks"), "attacks need no guard"


@pytest.mark.parametrize("name", ["costs", "maps"])
def test_the_same_evaluation_gives_the_same_bytes(name, evaluation):
    assert svg(evaluation, name, DARK) == svg(evaluation, name, DARK)


def test_a_png_is_1600_pixels_wide(evaluation):
    image = drawing.render(drawings(evaluation)["recovery"], LIGHT, "png")
    assert image.startswith(b"\x89PNG") and int.from_bytes(image[16:20], "big") == 1600


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_every_number_of_the_heat_map_can_be_read(theme):
    for value in np.linspace(0, 1, 21):
        dark, light = sorted((luminance(theme.ink), luminance(charts.shade(value, theme))))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, value


def test_classes_and_the_first_guards_differ_without_colour():
    def marks(look):
        return str(look["linestyle"]), look["marker"]

    classes = [looks.of_class(name, LIGHT) for name in ("answered_harmless", "refused_harmful", "successful_attack")]
    assert len({look["marker"] for look in classes}) == 3
    for one, other in combinations([looks.of_series(at, LIGHT) for at in range(5)], 2):
        assert marks(one)[0] != marks(other)[0] and marks(one)[1] != marks(other)[1]


def test_a_guard_without_overhead_is_listed_and_not_dropped(evaluation):
    def labels(evaluation):
        axes = drawing.Figure().subplots()
        drawings(evaluation)["costs"].panels[0].draw(axes, LIGHT)
        return axes.get_legend_handles_labels()[1]

    assert any("refusal-phrases" in label and "overhead not measured" in label for label in labels(evaluation))
    model = leading(evaluation)
    untimed = replace(model, guards=tuple(replace(guard, overhead=None) for guard in model.guards))
    assert len(labels(replace(evaluation, models=(untimed,)))) == len(model.guards)


def test_one_model_with_one_guard_shows_its_alarm_curve_once(evaluation):
    model = leading(evaluation)
    alone = replace(evaluation, models=(replace(model, guards=model.guards[:1]),))
    assert len(drawings(alone)["alarms"].panels) == 1
    assert len(drawings(evaluation)["alarms"].panels) == 2
