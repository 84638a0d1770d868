"""Which columns a pass shows, from what each family reveals about it."""

import pytest
import torch

from sri_sdk.canvas import Window, block_in_work, replaced_columns
from sri_sdk.errors import SriError
from sri_sdk.records import RunView


def test_behind_a_prefix_cache_a_pass_shows_the_rest() -> None:
    window = Window(width=20)
    assert window.rest(12) == window.behind(8, 12) == 8


def test_a_pass_and_a_cache_that_do_not_fill_the_width_are_refused() -> None:
    with pytest.raises(SriError, match="a pass of 4 tokens behind a cache of 8, and 20 are in work"):
        Window(width=20).behind(8, 4)


def test_behind_a_dual_cache_each_whole_pass_begins_the_next_block() -> None:
    window = Window(width=14, start=6)
    shown = []
    for _ in range(2):
        shown += [window.whole(), window.block(4), window.block(4)]
    assert shown == [0, 6, 6, 0, 10, 10]


def test_in_a_canvas_that_grows_a_pass_stands_behind_what_was_stored() -> None:
    window = Window()
    assert window.behind(0, 8) == 0
    window.store(8)
    window.store(4)
    # Without sight of the cache, what was stored decides.
    assert window.behind(12, 4) == window.behind(None, 4) == 12


def test_another_cache_than_the_one_stored_into_is_refused() -> None:
    window = Window()
    window.store(8)
    with pytest.raises(SriError, match="behind 4 cached tokens, 8 were stored so far"):
        window.behind(4, 4)


def test_a_generation_keeps_its_own_window() -> None:
    one, other = RunView(None), RunView(None)
    window = Window().remember(one)
    assert Window.of(one) is window and Window.of(other) is None


def test_replaced_columns_are_read_off_their_mark_row_by_row() -> None:
    mark = torch.zeros(2, 8, dtype=torch.bool)
    mark[0, 2:5] = mark[1, 4:7] = True
    assert replaced_columns(mark, 3).tolist() == [[2, 3, 4], [4, 5, 6]]


def test_a_row_works_on_the_block_of_its_leftmost_mask_or_on_the_last_one() -> None:
    open_ = torch.tensor([[0, 0, 0, 0, 0, 1, 0, 1], [0, 1, 0, 0, 0, 0, 0, 1], [0] * 8], dtype=torch.bool)
    assert block_in_work(open_, 4)[:, 0].tolist() == [4, 0, 4]


def test_blocks_are_counted_from_the_first_token_of_each_row() -> None:
    open_ = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]], dtype=torch.bool)
    before = torch.tensor([[3], [2]])
    # Row 0: tokens 4 to 7 are its second block, columns 1 to 4. Row 1: its first block begins before column 0.
    assert block_in_work(open_, 4, before)[:, 0].tolist() == [1, -2]
