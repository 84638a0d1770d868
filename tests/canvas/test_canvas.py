"""The canvas that hooks of masked families share: which row is which position, and what is filled in."""

import pytest
import torch

from sri_sdk.canvas import Canvas
from sri_sdk.records import PADDING, RunView, StepPlan

M, PAD = 9, 0
"""The mask token, and what shorter rows are filled up with."""


def ids(*rows: list[int]) -> torch.Tensor:
    return torch.tensor(rows)


def rows_that_predict(plan: StepPlan) -> list[list[int]]:
    """Per request the rows of the pass that `positions` says predict a canvas position."""
    positions = plan.positions if plan.rows is None else plan.positions[plan.rows]
    target = torch.where(positions == PADDING, positions, positions + plan.shift)
    named = (target >= 0) & (target < (plan.canvas or 1 << 30))
    return [row.nonzero()[:, 0].tolist() for row in named]


# -- a first pass that shows everything ------------------------------------------------------------------------------


def test_the_canvas_is_the_run_of_masks_at_the_end() -> None:
    canvas = Canvas.find(ids([1, 2, 3, M, M], [0, 4, 5, M, M]), M)
    assert (canvas.starts.tolist(), canvas.start, canvas.size, canvas.requests) == ([3, 3], 3, 2, 2)
    assert canvas.rows is None


def test_a_column_has_a_position_in_every_request() -> None:
    canvas = Canvas(torch.tensor([3, 5]), None, M)
    assert canvas.positions(torch.tensor([2, 3, 7])).tolist() == [[-1, 0, 4], [-3, -2, 2]]


def test_masks_inside_the_prompt_belong_to_the_prompt() -> None:
    canvas = Canvas.find(ids([1, M, M, 4, M, M]), M)
    assert (canvas.start, canvas.size) == (4, 2)
    assert canvas.plan(ids([1, M, M, 4, M, M])).positions.tolist() == [[-4, -3, -2, -1, 0, 1]]


def test_a_finished_text_has_a_canvas_of_nothing() -> None:
    canvas = Canvas.find(ids([1, 2, 3]), M)
    assert canvas.size == 0 and not canvas.open(ids([1, 2, 3]))


def test_prompts_of_different_length_share_no_start_and_no_span() -> None:
    first = ids([1, 2, 3, M, M, M], [1, M, M, M, PAD, PAD])
    canvas = Canvas.find(first, M, pad_id=PAD)
    assert (canvas.starts.tolist(), canvas.start, canvas.size) == ([3, 1], None, 3)
    plan = canvas.plan(first)
    assert plan.span is None and rows_that_predict(plan) == [[3, 4, 5], [1, 2, 3]]
    assert plan.positions[1].tolist() == [-1, 0, 1, 2, PADDING, PADDING]
    assert plan.committed.shape == (2, 3) and not plan.committed.any()


def test_without_a_pad_id_a_row_filled_up_on_the_right_has_no_canvas_at_its_end() -> None:
    assert Canvas.find(ids([1, M, M, PAD]), M).size == 0


def test_padding_that_is_also_a_word_of_the_prompt_is_padding_only_behind_the_canvas() -> None:
    canvas = Canvas.find(ids([PAD, PAD, 3, M, M, PAD], [PAD, 2, PAD, 3, M, M]), M, pad_id=PAD)
    assert canvas.starts.tolist() == [3, 4] and canvas.size == 2


def test_the_half_of_guidance_without_a_prompt_is_no_request() -> None:
    first = ids([1, 2, M, M], [3, 4, M, M], [M, M, M, M], [M, M, M, M])
    canvas = Canvas.find(first, M)
    assert (canvas.requests, canvas.start, canvas.size) == (2, 2, 2)
    plan = canvas.plan(first)
    assert plan.rows.tolist() == [0, 1]
    assert plan.positions.tolist() == [[-2, -1, 0, 1]] * 2 + [[PADDING] * 4] * 2
    assert plan.committed.shape == (2, 2) and plan.active.tolist() == [True, True]
    assert rows_that_predict(plan) == [[2, 3]] * 2 == [list(range(*plan.span))] * 2


def test_only_requests_decide_whether_something_is_open() -> None:
    canvas = Canvas.find(ids([1, M], [M, M]), M)
    assert canvas.open(ids([1, M], [M, M])) and not canvas.open(ids([1, 5], [M, M]))


def test_a_second_request_with_a_shorter_prompt_is_no_blind_half() -> None:
    canvas = Canvas.find(ids([1, 2, 3, M, M], [1, 4, M, M, M]), M)
    assert (canvas.requests, canvas.starts.tolist(), canvas.start) == (2, [3, 2], None)


def test_padding_stays_padding_in_the_blind_half() -> None:
    first = ids([PAD, 2, M, M], [3, 4, M, M], [PAD, M, M, M], [M, M, M, M])
    assert Canvas.find(first, M).requests == 2
    filled = ids([1, 2, M, M, PAD], [3, M, M, PAD, PAD], [M, M, M, M, PAD], [M, M, M, PAD, PAD])
    canvas = Canvas.find(filled, M, pad_id=PAD)
    assert canvas.requests == 2 and rows_that_predict(canvas.plan(filled)) == [[2, 3], [1, 2]]


def test_two_prompts_of_one_length_are_no_guidance() -> None:
    assert Canvas.find(ids([1, 2, M], [3, 4, M]), M).requests == 2


def test_it_tells_the_run_where_the_response_begins_and_is_found_again() -> None:
    run = RunView(None)
    assert Canvas.of(run) is None
    canvas = Canvas.find(ids([1, 2, M, M]), M).remember(run)
    assert Canvas.of(run) is canvas and run.prompt == 2
    Canvas.find(ids([1, 2, M], [1, M, PAD]), M, pad_id=PAD).remember(run)
    assert run.prompt is None


# -- the passes after it ---------------------------------------------------------------------------------------------


def test_each_pass_shows_what_is_filled_in_and_what_was_opened_again() -> None:
    canvas = Canvas.find(ids([1, 2, M, M, M]), M)
    seen = [
        canvas.plan(ids([1, 2, *row])).committed.tolist()[0] for row in ([M, M, M], [M, 5, M], [6, 5, M], [6, M, M])
    ]
    assert seen == [[False] * 3, [False, True, False], [True, True, False], [True, False, False]]


def test_a_request_is_active_while_it_has_a_position_to_fill() -> None:
    canvas = Canvas.find(ids([1, M, M], [2, M, M]), M)
    plan = canvas.plan(ids([1, 5, 6], [2, M, 7]))
    assert plan.active.tolist() == [False, True]
    said = torch.tensor([True, False])
    assert canvas.plan(ids([1, 5, 6], [2, M, 7]), active=said).active is said


def test_nothing_of_an_earlier_plan_and_no_input_is_changed() -> None:
    first = ids([1, 2, M, M], [3, 4, M, M])
    canvas, kept = Canvas.find(first, M), first.clone()
    early = canvas.plan(first, shift=1)
    before = [early.committed.clone(), early.positions.clone(), early.active.clone()]
    canvas.plan(ids([1, 2, 5, 6], [3, 4, M, 6]), shift=1)
    assert all(torch.equal(a, b) for a, b in zip([early.committed, early.positions, early.active], before, strict=True))
    assert torch.equal(first, kept) and not canvas.committed.equal(early.committed)


def test_positions_given_are_not_changed() -> None:
    canvas = Canvas.find(ids([1, 2, M, M]), M)
    given = torch.tensor([[3, 1, 7, PADDING]])
    kept = given.clone()
    plan = canvas.plan(ids([M, 5, 6, 1]), positions=given)
    assert torch.equal(given, kept)
    assert plan.positions.tolist() == [[PADDING, 1, PADDING, PADDING]]
    assert plan.span is None and plan.committed.tolist() == [[False, True]]


def test_rows_out_of_order_are_noted_where_they_belong() -> None:
    canvas = Canvas.find(ids([1, M, M, M]), M)
    canvas.plan(ids([M, 7, 8]), positions=torch.tensor([[2, 0, 1]]))
    assert canvas.committed.tolist() == [[True, True, False]]


# -- windows and canvases that grow ----------------------------------------------------------------------------------


def test_a_window_is_numbered_from_the_column_it_begins_at_and_the_rest_is_remembered() -> None:
    canvas = Canvas.find(ids([1, 2, M, M, M, M]), M)
    canvas.plan(ids([1, 2, 5, M, M, M]))
    plan = canvas.plan(ids([6, M]), 3)
    assert plan.positions.tolist() == [[1, 2]] and plan.span == (0, 2)
    assert plan.committed.tolist() == [[True, True, False, False]]


def test_a_window_that_begins_in_the_prompt_spans_its_canvas_rows_only() -> None:
    canvas = Canvas.find(ids([1, 2, 3, M, M]), M)
    plan = canvas.plan(ids([2, 3, M, M]), 1)
    assert plan.positions.tolist() == [[-2, -1, 0, 1]] and plan.span == (2, 4)


@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize(("first", "stop"), [(0, 8), (0, 5), (2, 8), (3, 6), (4, 8), (7, 8), (0, 4)])
def test_the_span_names_the_rows_that_positions_name(shift: int, first: int, stop: int) -> None:
    text = [1, 2, 3, M, M, M, M, 8]
    canvas = Canvas(torch.tensor([3]), 4, M)
    plan = canvas.plan(ids(text[first:stop]), first, shift=shift)
    assert rows_that_predict(plan) == [[] if plan.span is None else list(range(*plan.span))]


@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize(("first", "stop"), [(0, 5), (0, 8), (3, 6), (5, 8)])
def test_the_span_of_a_growing_canvas_names_the_same_rows_too(shift: int, first: int, stop: int) -> None:
    canvas = Canvas(torch.tensor([3]), None, M)
    plan = canvas.plan(ids([1, 2, 3, M, M, M, M, M][first:stop]), first, shift=shift)
    assert rows_that_predict(plan) == [list(range(*plan.span))]


def test_a_prompt_alone_predicts_nothing_of_an_unshifted_canvas() -> None:
    canvas = Canvas(torch.tensor([3]), 4, M)
    assert canvas.plan(ids([1, 2, 3])).span is None
    assert canvas.plan(ids([1, 2, 3]), shift=1).span == (2, 3)


def test_a_canvas_of_unknown_size_grows_with_what_passes_show() -> None:
    canvas = Canvas(torch.tensor([2, 2]), None, M)
    widths = []
    for shown in ([1, 2, M, M], [1, 2, 5, M], [1, 2, 5, 6, M, M]):
        plan = canvas.plan(ids(shown, shown))
        widths.append(plan.committed.shape[1])
        assert plan.canvas is None and plan.span == (2, len(shown))
    assert widths == [2, 2, 4] and canvas.committed[0].tolist() == [True, True, False, False]


def test_a_growing_canvas_keeps_its_width_when_a_pass_shows_less() -> None:
    canvas = Canvas(torch.tensor([1]), None, M)
    canvas.plan(ids([1, 5, 6, M]))
    assert canvas.plan(ids([6, 7]), 2).committed.tolist() == [[True, True, True]]


def test_rows_of_a_growing_canvas_may_begin_in_different_columns() -> None:
    canvas = Canvas(torch.tensor([3, 1]), None, M)
    plan = canvas.plan(ids([1, 2, 3, 5, M], [1, M, 6, 7, M]))
    assert plan.positions.tolist() == [[-3, -2, -1, 0, 1], [-1, 0, 1, 2, 3]] and plan.span is None
    assert plan.committed.tolist() == [[True, False, False, False], [False, True, True, False]]
    other = canvas.plan(ids([M, M], [8, M]), positions=torch.tensor([[1, PADDING], [3, 4]]))
    assert other.committed.tolist() == [[True] + [False] * 4, [False, True, True, True, False]]


def test_a_window_over_the_prompt_alone_leaves_the_canvas_as_it_was() -> None:
    canvas = Canvas.find(ids([1, 2, 3, M, M]), M)
    canvas.plan(ids([1, 2, 3, 5, M]))
    assert canvas.see(ids([1, M])).tolist() == [[-3, -2]]
    assert canvas.committed.tolist() == [[True, False]]
    grows = Canvas(torch.tensor([4]), None, M)
    assert grows.plan(ids([1, 2])).committed.shape == (1, 0)


def test_no_random_number_is_drawn() -> None:
    torch.manual_seed(1)
    wanted = torch.rand(1)
    torch.manual_seed(1)
    canvas = Canvas.find(ids([1, M, M], [M, M, M]), M)
    canvas.plan(ids([1, 5, M], [M, M, M]))
    assert torch.equal(torch.rand(1), wanted)
