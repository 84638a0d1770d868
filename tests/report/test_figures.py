"""The three pictures: whole, repeatable, readable, and indifferent to what they are fed."""

from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from sri_sdk.report import ScoreGroup, figures
from sri_sdk.report.themes import DARK, LIGHT, THEMES


def luminance(colour):
    parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize("name", figures.NAMES)
@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
@pytest.mark.parametrize("width", figures.WIDTHS)
def test_the_worst_report_still_has_every_picture(name, theme, width, nasty):
    root = ElementTree.fromstring(figures.svg(name, nasty, theme, width))
    assert root.tag.endswith("svg")


def test_an_empty_report_still_has_every_picture(report):
    empty = replace(report, trajectories=(), bands=(), calibration=np.array([]), score_groups=(), rates=(), auroc=None)
    for name in figures.NAMES:
        assert b"</svg>" in figures.svg(name, empty, LIGHT)


@pytest.mark.parametrize("shift", [0, -5000], ids=["positive", "also negative"])
def test_scores_over_many_magnitudes_are_drawn(shift, report):
    heavy = np.geomspace(1e-3, 1e6, 500) + shift
    wide = replace(report, calibration=np.linspace(1, 2, 50), score_groups=(ScoreGroup("heavy", heavy),))
    assert b"</svg>" in figures.svg("scores", wide, DARK)


def test_a_png_is_1600_pixels_wide_and_the_same_each_time(report):
    image = figures.png("rates", report, LIGHT)
    assert image == figures.png("rates", report, LIGHT)
    assert image.startswith(b"\x89PNG") and int.from_bytes(image[16:20], "big") == 1600


def test_drawing_leaves_matplotlib_as_it_was(report):
    import matplotlib

    before = dict(matplotlib.rcParams)
    figures.svg("rates", report, DARK)
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_every_colour_that_carries_text_has_enough_contrast(theme):
    paper = luminance(theme.paper)
    for colour in (theme.ink, theme.quiet, theme.accent, *theme.tones.values(), *theme.series):
        dark, light = sorted((luminance(colour), paper))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, colour


def test_labels_keep_their_distance_and_stay_inside():
    places = figures.spread([0.99, 0.98, 0.97, 0.02], gap=0.15, low=0.02, high=0.98)
    ordered = sorted(places)
    assert all(b - a >= 0.15 - 1e-9 for a, b in pairwise(ordered)) and ordered[0] >= 0.02 and ordered[-1] <= 0.98
    assert places[0] > places[1] > places[2]


def test_a_label_too_long_for_its_lines_ends_in_an_ellipsis():
    label = figures.fitted("harmful request " * 20, 2.0, 10, lines=2)
    assert label.count("\n") == 1 and label.endswith("…")
    assert figures.fitted("short", 2.0, 10, lines=2) == "short"
