"""The figures of a fit: whole, repeatable, readable, and indifferent to what they are fed."""

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

pytest.importorskip("matplotlib")

import matplotlib

from sri_sdk.report import ScoreGroup, drawing, fit_figures
from sri_sdk.report.looks import DARK, LIGHT, THEMES

NAMES = ("trajectories", "scores", "rates")


def luminance(colour):
    parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


def svg(report, name, theme=LIGHT, *, wide=True):
    return drawing.render(fit_figures.drawings(report)[name], theme, "svg", wide=wide)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
@pytest.mark.parametrize("wide", [True, False], ids=["wide", "narrow"])
def test_the_worst_report_still_has_every_picture(name, theme, wide, nasty):
    root = ElementTree.fromstring(svg(nasty, name, theme, wide=wide))
    assert root.tag.endswith("svg")


def test_an_empty_report_still_has_every_picture(report):
    empty = replace(report, trajectories=(), bands=(), calibration=np.array([]), score_groups=(), rates=(), auroc=None)
    for name in NAMES:
        assert b"</svg>" in svg(empty, name)


@pytest.mark.parametrize("shift", [0, -5000], ids=["positive", "also negative"])
def test_scores_over_many_magnitudes_are_drawn(shift, report):
    heavy = np.geomspace(1e-3, 1e6, 500) + shift
    wide = replace(report, calibration=np.linspace(1, 2, 50), score_groups=(ScoreGroup("heavy", heavy),))
    assert b"</svg>" in svg(wide, "scores", DARK)


def test_a_png_is_1600_pixels_wide_and_the_same_each_time(report):
    image, again = (drawing.render(fit_figures.drawings(report)["rates"], LIGHT, "png") for _ in range(2))
    assert image == again
    assert image.startswith(b"\x89PNG") and int.from_bytes(image[16:20], "big") == 1600


def test_drawing_leaves_matplotlib_as_it_was(report):
    before = dict(matplotlib.rcParams)
    svg(report, "rates", DARK)
    assert dict(matplotlib.rcParams) == before


def test_lines_of_one_colour_differ_in_dash_and_the_verdict_has_a_marker_of_its_own(report):
    harmless, _, attacked = report.trajectories
    report = replace(report, trajectories=(harmless, replace(attacked, kind=harmless.kind)), bands=())
    axes = matplotlib.figure.Figure().subplots()
    fit_figures.drawings(report)["trajectories"].panels[0].draw(axes, LIGHT)
    one, other = axes.get_lines()[:2]
    assert one.get_color() == other.get_color()
    assert one.is_dashed() != other.is_dashed() and one.get_marker() != other.get_marker()


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_every_colour_that_carries_text_has_enough_contrast(theme):
    paper = luminance(theme.paper)
    for colour in (theme.ink, theme.quiet, theme.accent, *theme.tones.values(), *theme.series):
        dark, light = sorted((luminance(colour), paper))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, colour


def test_a_label_too_long_for_its_place_ends_in_an_ellipsis():
    label = drawing.wrapped("harmful request " * 20)
    assert max(map(len, label.splitlines())) <= 24 and label.count("\n") in (1, 2) and label.endswith("…")
    assert drawing.short("short") == "short" and drawing.short(" ") == "unnamed"


@pytest.mark.parametrize("which", ["report", "nasty"])
@pytest.mark.parametrize("wide", [True, False], ids=["wide", "narrow"])
def test_nothing_lies_beyond_the_edge_or_over_something_else(which, wide, request, readable):
    for made in fit_figures.drawings(request.getfixturevalue(which)).values():
        readable(made, wide=wide)
