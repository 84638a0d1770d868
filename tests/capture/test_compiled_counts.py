"""What a watch of a compiled model compiles, in frames and not in seconds: nothing in pieces, nothing twice."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from sri_plugin_causal.stand_ins.example import build, generate, prompts
from torch._dynamo.utils import counters

import sri_sdk
from sri_sdk import registry


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


MASKED = {
    "lab-diffusion": lambda model: model,
    "masked-lm": lambda model: model,
    # The stand-in answers in a form that no compiler follows; its core is what a compiler is given.
    "llada": lambda model: model.model,
}


@pytest.mark.parametrize("family", MASKED)
@pytest.mark.parametrize("taped", [False, True], ids=["operator", "tape"])
def test_a_masked_generation_is_compiled_in_one_piece_and_only_once(family: str, taped: bool) -> None:
    case = registry.load("hooks", family).example()
    model = case.hook.model
    tokens = 40 * case.encoded.input_ids.numel() * 16

    def once() -> Any:
        return case.generate(case.encoded)

    def watched() -> None:
        with sri_sdk.watch(model, hook=case.hook) as run:
            run.returned(once())
        assert [trace.reasons for trace in run.traces] == [()] * len(run.traces) and run.traces[0].steps > 2

    plain = once()
    with contextlib.ExitStack() as stack:
        if taped:
            stack.enter_context(sri_sdk.DeviceTape(model, tokens=tokens, hook=case.hook))
        part = MASKED[family](model)
        part.forward = torch.compile(part.forward, backend="eager")
        alone, first, again = compiles(once), compiles(watched), compiles(watched)
        assert torch.equal(plain, once())
    # With a tape, code is the same with and without a watch; without, the model is compiled once more.
    assert alone and first <= (0 if taped else alone + 2) and again == 0
