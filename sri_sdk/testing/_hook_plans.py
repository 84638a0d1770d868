"""The check that a plan stays what it was: a tap may read it again when later passes have run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch

from sri_sdk.capture.watch import watch
from sri_sdk.errors import ConformanceError
from sri_sdk.records import ForwardCall, RunView, StepPlan
from sri_sdk.testing._hook_case import Generate, HookCase, subject


def plans_stay(case: HookCase) -> None:
    """Nothing is written into the tensors of a plan once it was handed over."""
    for generate in (case.generate, case.generate_sampled, case.generate_guided):
        if generate is not None:
            _compare(case, generate)


def _compare(case: HookCase, generate: Generate) -> None:
    hook, given = case.hook, list[tuple[int, StepPlan, Mapping[str, torch.Tensor]]]()
    plan = hook.plan

    def noted(call: ForwardCall, run: RunView) -> StepPlan | None:
        made = plan(call, run)
        if made is not None:
            given.append((run.forwards, made, {name: each.clone() for name, each in _tensors(made).items()}))
        return made

    # A plan of the object's own is asked about every pass.
    vars(hook)["plan"] = noted
    try:
        with watch(hook.model, hook=hook) as run:
            run.returned(generate(case.encoded))
    finally:
        vars(hook).pop("plan", None)
    for number, made, before in given:
        for name, now in _tensors(made).items():
            if not torch.equal(now, before[name]):
                raise ConformanceError(
                    f"{subject(case)}.plan(): `{name}` of pass {number} was {_short(before[name])} when it was handed "
                    f"over, and is {_short(now)} at the end. Nobody writes into the tensors of a plan afterwards: "
                    "make a new one, or hand over a clone()."
                )


def _tensors(plan: StepPlan) -> dict[str, torch.Tensor]:
    values: dict[str, Any] = {each.name: getattr(plan, each.name) for each in fields(plan)}
    return {name: value for name, value in values.items() if isinstance(value, torch.Tensor)}


def _short(tensor: torch.Tensor) -> str:
    """The first row of [R, L] or [R, P], or [R], as far as a message can show it."""
    row = tensor if tensor.dim() < 2 else tensor[0]
    return f"{row[:8].tolist()}{' ...' if len(row) > 8 else ''}"
