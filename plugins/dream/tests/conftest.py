"""The structural double, three prompts of different lengths, and a generation under watch."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from sri_plugin_dream.hook import DreamHook
from sri_plugin_dream.stand_ins.model import DreamModel, build

import sri_sdk
from sri_sdk import StepPlan
from sri_sdk.capture.run import Run

TOKENS, STEPS = 12, 6
IDS = torch.tensor([[0, 0, 0, 5, 6], [0, 11, 12, 13, 14], [21, 22, 23, 24, 25]])
ATTENTION = (IDS != 0).long()


@dataclass
class Watched:
    """One watched generation."""

    run: Run
    output: Any
    plans: list[StepPlan | None]

    @property
    def steps(self) -> list[int]:
        return [trace.steps for trace in self.run.traces]

    @property
    def reasons(self) -> set[str]:
        return {reason for trace in self.run.traces for reason in trace.reasons}


def generate(model: Any, ids: torch.Tensor = IDS, attention: torch.Tensor | None = None, **options: Any) -> Any:
    """The model's own call: 12 tokens in 6 steps by entropy, greedy."""
    asked = {"max_new_tokens": TOKENS, "steps": STEPS, "alg": "entropy", **options}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return model.diffusion_generate(
            ids.clone(), attention_mask=ATTENTION if attention is None else attention, **asked
        )


def watched(model: Any, *args: Any, **options: Any) -> Watched:
    """The same under watch, with what the hook said of each pass."""
    hook, plans = DreamHook(model), []
    inner = hook.plan

    def plan(call: Any, run: Any) -> StepPlan | None:
        plans.append(inner(call, run))
        return plans[-1]

    hook.plan = plan
    with sri_sdk.watch(model, hook=hook) as run:
        output = generate(model, *args, **options)
    return Watched(run, output, plans)


@pytest.fixture
def model() -> DreamModel:
    return build(0)
