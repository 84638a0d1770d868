import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sri_sdk.grid import StepGrid

CLOCKS = st.lists(st.integers(0, 6), min_size=1, max_size=60).map(lambda rises: np.cumsum([0, *rises]))
GRIDS = st.builds(StepGrid, cells=st.integers(1, 40), budget=st.integers(1, 80))


def streamed(grid, values, clock):
    """Lays values on the grid one step at a time, knowing nothing of the steps to come."""
    cells = np.full(grid.cells, np.nan)
    for step, value in enumerate(values):
        first = min(clock[step] * grid.cells // grid.budget, grid.cells - 1)
        cells[first : max(first + 1, grid.closed(clock[step + 1]))] = value
        stop = max(first + 1, grid.closed(clock[step + 1]))
    cells[stop:] = values[-1]
    return cells


@given(GRIDS, CLOCKS)
def test_a_running_generation_lands_on_the_cells_of_the_finished_one(grid, clock):
    values = np.random.default_rng(0).normal(size=len(clock) - 1)
    assert streamed(grid, values, clock).tobytes() == grid.place(values, clock).tobytes()


@given(GRIDS, CLOCKS, st.data())
def test_a_closed_cell_never_changes_within_the_budget(grid, clock, data):
    clock = np.minimum(clock, grid.budget)
    clock = clock[: max(2, int(np.searchsorted(clock, grid.budget)) + 1)]
    done = data.draw(st.integers(1, len(clock) - 1))
    closed = grid.closed(int(clock[done]))
    assert grid.source(clock[: done + 1])[:closed].tolist() == grid.source(clock)[:closed].tolist()


def test_a_cell_takes_its_last_step_and_an_empty_one_the_step_before():
    grid = StepGrid(cells=4, mapping="committed", budget=8)
    assert grid.source(np.array([0, 1, 6, 7, 8])).tolist() == [1, 1, 1, 3]


def test_after_an_early_end_the_last_step_holds():
    assert StepGrid(cells=4, budget=4).source(np.array([0, 1, 2])).tolist() == [0, 1, 1, 1]


def test_one_step_per_cell_is_the_identity():
    assert StepGrid(cells=5, budget=5).source(np.arange(6)).tolist() == [0, 1, 2, 3, 4]


def test_an_empty_grid_is_refused():
    with pytest.raises(ValueError, match="cells 0"):
        StepGrid(cells=0)
