import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sri_sdk.grid import StepGrid
from sri_sdk.metrics.outcomes import codes
from sri_sdk.metrics.text_signal import text_signal

H, R, A = "harmful", "refusal", "harmless"
FOUR = StepGrid(cells=4, budget=4)


def rows(drafts, grid=FOUR, clocks=None):
    return text_signal(drafts, grid, clocks).tolist()


def test_one_where_the_draft_does_not_refuse_and_zero_where_it_does():
    assert rows([[H, R, A, "other"]]) == [[1, 0, 1, 1]]


def test_after_an_early_end_the_last_draft_holds():
    assert rows([[H, R], [R, H, H, R]]) == [[1, 0, 0, 0], [0, 1, 1, 0]]


def test_a_cell_takes_its_last_draft():
    assert rows([[R, H, H, R]], StepGrid(cells=2, budget=4)) == [[1, 0]]


def test_an_empty_cell_holds_the_draft_before_it():
    assert rows([[H, R]], clocks=[np.array([0, 2, 4])]) == [[1, 1, 0, 0]]
    assert rows([[H, R]], StepGrid(cells=4, budget=2)) == [[1, 1, 0, 0]]


def test_a_step_without_a_draft_holds_the_one_before_and_before_the_first_there_is_no_refusal():
    assert rows([["", R, "", H]]) == [[1, 0, 0, 1]]
    assert rows([[R, ""]], clocks=[np.arange(5)]) == [[0, 0, 0, 0]]


def test_a_row_without_any_draft_is_not_a_row_without_refusals():
    found = text_signal([["", ""], [R, R]], FOUR)
    assert np.isnan(found[0]).all() and found[1].tolist() == [0, 0, 0, 0]
    assert text_signal([], FOUR).shape == (0, 4)


@given(st.lists(st.sampled_from(["", H, R, A]), min_size=1, max_size=12), st.integers(1, 8), st.integers(1, 12))
def test_a_draft_that_comes_later_never_changes_a_closed_cell(drafts, cells, budget):
    grid, clock = StepGrid(cells=cells, budget=budget), np.minimum(np.arange(len(drafts) + 1), budget)
    drafts[0] = H
    whole = text_signal([drafts], grid, [clock])[0]
    for done in range(1, len(drafts)):
        closed = grid.closed(int(clock[done])) if clock[done] < budget else 0
        so_far = text_signal([drafts[:done]], grid, [clock[: done + 1]])[0]
        assert so_far[:closed].tolist() == whole[:closed].tolist()


def test_words_and_codes_give_the_same():
    drafts = [[H, R, ""], [A]]
    assert rows(codes(drafts)) == rows(drafts)


def test_clocks_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="counts by `committed`"):
        text_signal([[H]], StepGrid(mapping="committed"))
    with pytest.raises(ValueError, match="2 clocks for 1 rows"):
        text_signal([[H]], FOUR, [np.arange(2)] * 2)
    with pytest.raises(ValueError, match="row 0 has a draft at step 1, and a clock for 1 steps"):
        text_signal([[H, H]], FOUR, [np.arange(2)])
