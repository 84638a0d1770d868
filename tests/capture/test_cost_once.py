"""What watching costs once per generation, in counts: torch operations and Python frames. Seconds depend on the
machine.

Of the second watch of the same model and guard: by then the model is known, and what is read of it is compared.
"""

from typing import Any

import pytest
import torch
from sri_plugin_toy.hook import ToyHook
from sri_plugin_toy.model import ToyConfig, ToyModel, build

import sri_sdk
from sri_sdk.capture.identity import shown

from ..counting import Frames, Operations, counted

MOST_FRAMES = 450
"""Python functions called in a watch of the toy model, from entering it to its verdict, without a pass, with either
release of transformers. Less is welcome; then lower the number here."""
MOST_OPERATIONS = 26
FRAMES_PER_BLOCK, OPERATIONS_PER_BLOCK = 6, 6
"""What a block more adds. It has six modules and six tensors, each read in one operation."""


@pytest.mark.parametrize(("how", "most"), [(Frames, MOST_FRAMES), (Operations, MOST_OPERATIONS)])
def test_a_second_watch_costs_no_more_than_is_stated(how: Any, most: int, toy_guard: Any) -> None:
    model = build(0)

    def watched() -> None:
        with sri_sdk.watch(model, toy_guard):
            pass

    first, second, third = (counted(how, watched) for _ in range(3))
    assert second == third <= most, second
    assert first > 2 * second, "the first watch digests the model"


@pytest.mark.parametrize(("how", "most"), [(Frames, FRAMES_PER_BLOCK), (Operations, OPERATIONS_PER_BLOCK)])
def test_what_a_block_adds_to_a_second_watch(how: Any, most: int) -> None:
    def seen(blocks: int) -> int:
        model = ToyModel(ToyConfig(blocks=blocks)).eval()
        hook = ToyHook(model)
        shown(hook, None)
        return counted(how, lambda: shown(hook, None))

    two, four, twelve = seen(2), seen(4), seen(12)
    assert twelve - four == 4 * (four - two), "as many for each block"
    assert (four - two) / 2 <= most, (four - two) / 2


def test_reading_what_is_known_takes_one_operation_per_tensor_and_one_transfer() -> None:
    model = build(0)
    hook = ToyHook(model)
    shown(hook, None)
    tensors = len(model.state_dict())
    assert tensors < counted(Operations, lambda: shown(hook, None)) <= tensors + 8


def test_what_is_told_of_a_second_watch_is_told_in_inference_mode_too(toy_guard: Any) -> None:
    model = build(0)
    with torch.inference_mode():
        ran = [counted(Operations, lambda: shown(ToyHook(model), None)) for _ in range(3)]
    assert ran[0] > ran[1] == ran[2]
