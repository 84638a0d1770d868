"""What counts as hesitation, and what does not."""

import numpy as np
import pytest
from sri_plugin_detectors.hesitation import HesitationDetector


def made(**options):
    return HesitationDetector(HesitationDetector.Config(**options))


def level(count, seed, cells=20):
    """Calm logits [count, cells, 1] around 5."""
    return np.random.default_rng(seed).normal(5, 0.5, (count, cells, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def fitted():
    return made().fit(level(200, 0))


def counts(detector, values):
    """Low cells, and large turns, [N] each."""
    low, turns = detector.state()["weights"], None
    both = detector.score(values)
    without = HesitationDetector().restore({**detector.state(), "weights": low * np.float32([1, 0])})
    turns = (both - without.score(values)) / low[1]
    return without.score(values) / low[0], turns


def test_each_low_cell_counts_about_one_however_low_it_is(fitted):
    values = np.full((4, 20, 1), 5, np.float32)
    values[1, :3], values[2, :6], values[3, :6] = 2, 2, -25
    assert counts(fitted, values)[0] == pytest.approx([0, 3, 6, 6], abs=0.2)


def test_going_down_once_is_no_turn_and_coming_back_is(fitted):
    values = np.full((3, 20, 1), 5, np.float32)
    values[1, 10:], values[2, 10] = -5, -5
    assert counts(fitted, values)[1] == pytest.approx([0, 0, 1], abs=0.1)


def test_a_rise_that_falls_back_is_a_turn_too(fitted):
    values = np.full((2, 20, 1), 5, np.float32)
    values[1, 10] = 12
    assert counts(fitted, values)[1] == pytest.approx([0, 1], abs=0.1)
    assert counts(fitted, values)[0] == pytest.approx([0, 0], abs=0.1)


def test_a_running_signal_held_at_its_newest_cell_has_not_turned_yet(fitted):
    values = np.full((2, 20, 1), 5, np.float32)
    values[0, 10:], values[1, 10:12] = -5, -5
    held, back = counts(fitted, values)[1]
    assert held < 0.1 < 0.9 < back


def test_a_signal_that_wavers_scores_above_one_that_is_a_little_low_throughout(fitted):
    wavers, low = level(100, 1), level(100, 2) - np.float32(0.2)
    wavers[:, 4::5] -= 4
    assert np.median(fitted.score(wavers)) > np.quantile(fitted.score(low), 0.95)
    assert np.median(fitted.score(wavers)) > fitted.score(level(300, 3)).max()


def test_a_signal_of_two_cells_has_no_turns_and_of_three_has_one():
    assert made().fit(level(50, 0, cells=2)).state()["middle"].size == 0
    assert made().fit(level(50, 0, cells=3)).state()["middle"].tolist() == [1]


def test_layers_are_not_mixed_up():
    values = np.concatenate([level(200, 0), level(200, 1) + 20], axis=2)
    state = made().fit(values).state()
    assert state["turn"].max() < 3, "a turn between layers would be 20 high"
