"""The toy hook: what it says of each forward pass."""

import pytest
import sri_plugin_toy.model as toy
import torch
from sri_plugin_toy.hook import ToyHook

from sri_sdk import ForwardCall, RunView
from sri_sdk.records import PADDING


@pytest.fixture
def hook() -> ToyHook:
    return ToyHook(toy.build(0))


def plan(hook: ToyHook, run: RunView, *rows: list[int]):
    return hook.plan(ForwardCall(torch.tensor(rows), {}), run)


def test_it_fits_its_own_model_only() -> None:
    assert ToyHook.fits(toy.build(0)).ok
    refusal = ToyHook.fits(torch.nn.Linear(2, 2))
    assert (refusal.ok, refusal.why) == (False, "class Linear, this hook is for ToyModel")


def test_the_norm_sees_every_row_and_the_blocks_are_in_order(hook: ToyHook) -> None:
    seen = []
    hook.final_norm().register_forward_hook(lambda _, __, output: seen.append(tuple(output.shape)))
    hook.model.generate(torch.tensor([[5, 6]]))
    assert seen == [(1, 2 + toy.CANVAS, hook.hidden_size())] * toy.CANVAS
    assert list(hook.layers()) == list(hook.model.blocks)
    assert hook.embedding() is hook.model.embed


def test_positions_count_from_the_first_hole_and_padding_belongs_to_nothing(hook: ToyHook) -> None:
    found = plan(hook, RunView(None), [0, 5, 6, 1, 1], [5, 6, 7, 1, 1])
    assert found.positions.tolist() == [[PADDING, -2, -1, 0, 1], [-3, -2, -1, 0, 1]]
    assert (found.shift, found.canvas) == (0, 2)
    assert not found.committed.any()


def test_the_canvas_stays_where_the_first_pass_had_it(hook: ToyHook) -> None:
    run = RunView(None)
    plan(hook, run, [5, 6, 1, 1])
    second = plan(hook, run, [5, 6, 9, 1])
    assert second.positions.tolist() == [[-2, -1, 0, 1]]
    assert second.committed.tolist() == [[True, False]]


def test_a_pass_over_finished_text_is_not_a_step(hook: ToyHook) -> None:
    assert plan(hook, RunView(None), [5, 6, 9, 8]) is None


def test_two_generations_on_one_hook_do_not_hear_each_other(hook: ToyHook) -> None:
    first, second = RunView(None), RunView(None)
    plan(hook, first, [5, 6, 1, 1])
    plan(hook, second, [5, 1, 1])
    assert plan(hook, first, [5, 6, 9, 1]).canvas == 2
    assert plan(hook, second, [5, 9, 1]).canvas == 2


def test_prompts_are_padded_on_the_left(hook: ToyHook) -> None:
    encoded = hook.encode(toy.ToyTokenizer(), ["ab", "abcd"], system_prompt=None)
    assert encoded.attention_mask.tolist() == [[0, 0, 1, 1], [1, 1, 1, 1]]
    assert hook.decode(toy.ToyTokenizer(), encoded.input_ids) == ["ab", "abcd"]


def test_options_reach_the_model() -> None:
    config = ToyHook.Config(seed=3)
    loaded = ToyHook.load(config)
    assert loaded.source == "toy model, seed 3"
    assert torch.equal(loaded.model.head.weight, toy.build(3).head.weight)
