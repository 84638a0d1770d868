"""What a first watch of a compiled causal model compiles, in frames and not in seconds."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from sri_plugin_causal.stand_ins.example import build, generate, prompts
from torch._dynamo.utils import counters

import sri_sdk


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compiles(run: Callable[[], Any]) -> int:
    """Frames that a run compiles; none of them in pieces."""
    counters.clear()
    run()
    assert not counters["graph_break"]
    return int(counters["frames"]["ok"])


def compile_in_place(model: Any) -> None:
    model.compile(backend="eager")


def compile_forward(model: Any) -> None:
    model.forward = torch.compile(model.forward, backend="eager")


# torch warns of its own autograd function where it traces the masks of transformers 4.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("how", [compile_in_place, compile_forward])
def test_a_first_watch_compiles_the_model_once_more_and_nothing_to_look_at_it(how: Callable[[Any], None]) -> None:
    model, encoded = build(), prompts()
    how(model)

    def once() -> None:
        generate(model, encoded, max_new_tokens=3)

    def watched() -> None:
        with sri_sdk.watch(model) as run:
            once()
        assert [trace.steps for trace in run.traces] == [3, 3, 3] and run.failure is None

    alone, first, again = compiles(once), compiles(watched), compiles(watched)
    # The root's own hook may be two small frames beside the model's: one per shape of its arguments.
    assert alone and first <= alone + 2 and again == 0
