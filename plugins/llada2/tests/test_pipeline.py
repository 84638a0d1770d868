"""diffusers' LLaDA2Pipeline: its `callback_on_step_end` is an official clock of steps, and the hook's own must agree.

Needs diffusers 0.42, which this project does not install; skipped without it.
"""

from typing import Any

import numpy as np
import pytest
import torch
from sri_plugin_llada2.hook import Llada2Hook
from sri_plugin_llada2.stand_ins.model import BLOCK, END, MASK, LLaDA2MoeModelLM, build

import sri_sdk
from sri_sdk import Encoded
from sri_sdk.testing import HookCase, hook_checks

diffusers = pytest.importorskip("diffusers", minversion="0.42")

PROMPT = torch.arange(5, 18)[None]


class Clock:
    """What the pipeline reports to its callback: one entry per call."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.blocks: list[torch.Tensor] = []

    def __call__(self, _pipe: Any, step: int, _index: int, state: dict[str, Any]) -> dict[str, Any]:
        self.steps.append(step)
        self.blocks.append(state["block_x"].clone())
        return {}


def pipeline(seed: int = 1) -> Any:
    """The real pipeline around the structural double."""
    pipe = diffusers.LLaDA2Pipeline(
        model=build(seed, LLaDA2MoeModelLM), scheduler=diffusers.BlockRefinementScheduler(block_length=BLOCK)
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def run(pipe: Any, ids: torch.Tensor, clock: Clock | None = None, **options: Any) -> torch.Tensor:
    """Greedy: 20 tokens in blocks of 8."""
    profile = {
        "gen_length": 20, "num_inference_steps": BLOCK, "threshold": 0.7, "editing_threshold": 0.5,
        "sampling_method": "greedy", "eos_token_id": END, "mask_token_id": MASK, "output_type": "seq",
    }  # fmt: skip
    return pipe(input_ids=ids, callback_on_step_end=clock, **{**profile, **options}).sequences


@pytest.mark.parametrize("editing", [None, 0.5], ids=["2.0", "2.1"])
@pytest.mark.parametrize("ends", [True, False], ids=["ends", "goes on"])
def test_the_hook_counts_what_the_callback_counts(editing, ends):
    pipe, clock = pipeline(), Clock()
    free = run(pipe, PROMPT, clock, editing_threshold=editing)
    # A token of the response becomes the one that ends it, or none does.
    end = int(free[0, 9]) if ends else END
    clock = Clock()
    free = run(pipe, PROMPT, clock, editing_threshold=editing, eos_token_id=end)
    with sri_sdk.watch(pipe.model, hook=Llada2Hook(pipe.model)) as seen:
        watched = seen.returned(run(pipe, PROMPT, editing_threshold=editing, eos_token_id=end))
    assert torch.equal(free, watched)
    assert seen.traces[0].steps == len(clock.steps) and not seen.traces[0].reasons
    assert clock.steps == list(range(len(clock.steps)))


def test_a_callback_may_close_the_step_and_nothing_changes():
    pipe = pipeline()
    with sri_sdk.watch(pipe.model, hook=Llada2Hook(pipe.model)) as plain:
        run(pipe, PROMPT)
    with sri_sdk.watch(pipe.model, hook=Llada2Hook(pipe.model)) as closed:

        def close(_pipe: Any, _step: int, _index: int, state: dict[str, Any]) -> dict[str, Any]:
            closed.close_step((state["block_x"] != MASK)[:, PROMPT.shape[1] :])
            return {}

        run(pipe, PROMPT, close)
    assert np.array_equal(plain.traces[0].phi, closed.traces[0].phi)


@pytest.mark.parametrize("editing", [None, 0.5], ids=["2.0", "2.1"])
def test_in_a_batch_a_row_counts_the_steps_it_has_alone(editing):
    pipe = pipeline()
    rows = torch.stack([torch.arange(start, start + 13) for start in (5, 22, 39)])
    free = run(pipe, rows, editing_threshold=editing)
    end = int(free[1, 4 if editing is None else 14])
    steps = []
    for row in rows:
        clock = Clock()
        run(pipe, row[None], clock, editing_threshold=editing, eos_token_id=end)
        steps.append(len(clock.steps))
    hook = Llada2Hook(pipe.model)
    pipe.model.config.eos_token_id = end
    with sri_sdk.watch(pipe.model, hook=hook) as together:
        run(pipe, rows, editing_threshold=editing, eos_token_id=end)
    alone = []
    for row in rows:
        with sri_sdk.watch(pipe.model, hook=hook) as single:
            run(pipe, row[None], editing_threshold=editing, eos_token_id=end)
        alone.append(single.traces[0])
    assert [t.steps for t in alone] == steps
    assert [t.steps for t in together.traces] == steps
    assert len(set(steps)) > 1
    for one, two in zip(together.traces, alone, strict=True):
        assert np.allclose(one.phi, two.phi, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("editing", [None, 0.5], ids=["2.0", "2.1"])
def test_the_pipeline_passes_the_kit(editing):
    def make() -> HookCase:
        pipe, clock = pipeline(), Clock()
        run(pipe, PROMPT, clock, editing_threshold=editing)
        encoded = Encoded(PROMPT, torch.ones_like(PROMPT))
        return HookCase(
            Llada2Hook(pipe.model), encoded, lambda e: run(pipe, e.input_ids, editing_threshold=editing),
            steps=[len(clock.steps)], batched=False,
        )  # fmt: skip

    for check in hook_checks(make):
        check()
