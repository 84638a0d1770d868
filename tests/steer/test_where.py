"""What may be asked for, and what is refused in words."""

import numpy as np
import pytest
import torch
from sri_plugin_lab.hooks import LabCausalHook
from sri_plugin_toy.hook import ToyHook
from sri_plugin_toy.model import build

from sri_sdk import Where
from sri_sdk.errors import ConfigError
from sri_sdk.records import PADDING
from sri_sdk.steer.passes import SeenPass

PLACES = torch.tensor([[PADDING, -1, 0, 1, 2, 3], [-2, -1, 0, 1, 2, 3]])
FIXED = torch.tensor([[False, False, True, False, True, False], [False, False, False, False, False, True]])


@pytest.mark.parametrize(
    ("where", "meant"),
    [
        (Where(positions=("prompt",)), "010000 110000"),
        (Where(positions=("response",)), "001111 001111"),
        (Where(positions=("masked",)), "000101 001110"),
        (Where(positions=("committed",)), "001010 000001"),
        (Where(positions=("prompt", "committed")), "011010 110001"),
        (Where(positions=("masked", "committed")), "001111 001111"),
        (Where(positions=("prompt", "response")), "011111 111111"),
        (Where(blocks=(1, None), block_length=2), "000011 000011"),
        (Where(blocks=(0, 1), block_length=2), "001100 001100"),
        (Where(blocks=(0, 1), block_length=2, positions=("masked",)), "000100 001100"),
        (Where(blocks=(0, 1), block_length=2, positions=("prompt",)), "000000 000000"),
    ],
    ids=str,
)
def test_the_positions_meant(where, meant) -> None:
    found = where.rows(SeenPass(0, PLACES, FIXED))
    assert " ".join("".join(str(int(x)) for x in row) for row in found) == meant


def test_where_it_is_not_known_what_is_fixed_nothing_is_meant_but_the_rest_is() -> None:
    seen = SeenPass(0, PLACES, None)
    assert Where(positions=("masked",)).rows(seen) is None
    assert Where(positions=("response",)).rows(seen).sum() == 8


@pytest.mark.parametrize(
    ("steps", "acts"),
    [((0, 2), [0, 1]), ((2, None), [2, 3, 4, 5, 6, 7]), ((0.0, 0.25), [0, 1]), ((0.5, None), [4, 5, 6, 7]),
     ((0, 1), [0]), ((0.0, 1.0), [*range(8)]), ((0.3, 0.5), [3])],
)  # fmt: skip
def test_steps_are_counted_from_0_or_are_shares_of_the_budget(steps, acts) -> None:
    assert [step for step in range(8) if Where(steps=steps).acts_in(step, 8)] == acts


def test_a_pass_that_is_no_step_is_in_no_window_of_steps() -> None:
    assert not Where(steps=(0, None)).acts_in(None, None) and Where().acts_in(None, None)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sites": ("blocks",)}, "Did you mean 'block'"),
        ({"sites": ()}, "nothing would be steered"),
        ({"positions": ("masks",)}, "Did you mean 'masked'"),
        ({"positions": ()}, "nothing would be steered"),
        ({"layers": ()}, "numbers of blocks"),
        ({"layers": (-1,)}, "numbers of blocks"),
        ({"layers": (True,)}, "numbers of blocks"),
        ({"layers": ("final",)}, "numbers of blocks"),
        ({"steps": (3, 3)}, "stop above start"),
        ({"steps": (None, 3)}, r"\(start, stop\)"),
        ({"steps": 4}, r"\(start, stop\)"),
        ({"steps": (-1, 3)}, r"\(start, stop\)"),
        ({"steps": (0.0, 25.0)}, "at most 1.0"),
        ({"steps": (0.0, float("nan"))}, r"\(start, stop\)"),
        ({"blocks": (0.0, 0.5)}, "whole numbers from 0 on"),
        ({"block_length": 0}, "above 0"),
        ({"sites": None}, "allowed: embedding, attention, mlp, block"),
        ({"positions": 3}, "allowed: prompt, response"),
        ({"layers": 1.5}, "numbers of blocks"),
        ({"layers": "1"}, "numbers of blocks"),
    ],
    ids=str,
)
def test_what_means_nothing_is_refused(options, said) -> None:
    with pytest.raises(ConfigError, match=said):
        Where(**options)


@pytest.mark.parametrize(
    ("where", "hook", "said"),
    [
        (Where(layers=(2,)), ToyHook, "ToyHook has blocks 0 to 1"),
        (Where(steps=(0.0, 0.5)), ToyHook, "Pass budget="),
        (Where(blocks=(0, 1)), ToyHook, "Set block_length"),
        (Where(positions=("masked",)), LabCausalHook, "is autoregressive"),
    ],
    ids=str,
)
def test_what_a_family_cannot_do_is_refused_before_anything_runs(where, hook, said) -> None:
    made = ToyHook(build(0)) if hook is ToyHook else LabCausalHook.example().hook
    with pytest.raises(ConfigError, match=said):
        where.suits(made)


def test_one_name_or_number_need_not_be_in_a_tuple() -> None:
    where = Where(sites="mlp", positions="prompt", layers=3)
    assert (where.sites, where.positions, where.layers) == (("mlp",), ("prompt",), (3,))


def test_numbers_of_numpy_are_numbers() -> None:
    two, half = np.int64(2), np.float32(0.5)
    assert Where(layers=two) == Where(layers=(2,)) and Where(layers=np.arange(3)) == Where(layers=(0, 1, 2))
    assert Where(steps=(np.int64(0), two), block_length=two, blocks=(0, two)).steps == (0, 2)
    assert Where(steps=(0, half)).by_share and Where(steps=(0, half)) == Where(steps=(0, 0.5))
