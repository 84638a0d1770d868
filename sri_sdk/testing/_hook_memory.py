"""The check that a hook object and its class stay as they are while a generation runs: one object serves many."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch

from sri_sdk.errors import ConformanceError
from sri_sdk.hook import Hook
from sri_sdk.records import ForwardCall, RunView, StepPlan
from sri_sdk.testing._hook_case import HookCase, alone, by_length, observe, subject

DEPTH = 3
"""How far into containers and plain objects values are compared."""


def nothing_is_kept_on_the_hook(case: HookCase) -> None:
    """Between the passes of a generation, neither the hook's attributes nor those of its class change."""
    # What is kept for good, such as a module looked up once, is there after a generation.
    observe(case)
    hook, inner = case.hook, case.hook.plan
    seen: list[tuple[int, dict[str, Any]]] = [(-1, _state(hook))]

    def plan(call: ForwardCall, view: RunView) -> StepPlan | None:
        made = inner(call, view)
        seen.append((view.forwards - 1, _state(hook)))
        return made

    vars(hook)["plan"] = plan
    try:
        for row in by_length(case.encoded)[:2]:
            observe(case, encoded=alone(case.encoded, row))
    finally:
        vars(hook).pop("plan", None)
    seen.append((-1, _state(hook)))
    for (_, before), (index, after) in pairwise(seen):
        changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
        if changed:
            when = "between two passes" if index < 0 else f"in pass {index} of a generation"
            raise ConformanceError(
                f"{subject(case)}: `{changed[0]}` changes {when}. One hook object serves several generations, also at "
                "the same time: keep what belongs to one of them in `run.memory`, never on the hook or its class."
            )


def _state(hook: Hook) -> dict[str, Any]:
    """Name -> value of everything that a hook and its classes hold, in a form that can be compared later."""
    found = {
        f"self.{name}": _plain(value)
        for name, value in vars(hook).items()
        if name not in ("model", "plan", "accepted_rows")
    }
    for kind in type(hook).__mro__:
        if kind is Hook:
            break
        found |= {
            f"{kind.__name__}.{name}": _plain(value) for name, value in vars(kind).items() if not name.startswith("__")
        }
    return found


def _plain(value: Any, depth: int = DEPTH) -> Any:
    if value is None or isinstance(value, str | int | float | bool | bytes):
        return value
    if isinstance(value, torch.nn.Module | Hook) or callable(value) or not depth:
        return id(value)
    if isinstance(value, torch.Tensor):
        return (str(value.dtype), tuple(value.shape), repr(value.tolist()) if value.numel() < 4096 else id(value))
    if isinstance(value, Mapping):
        return tuple((str(key), _plain(each, depth - 1)) for key, each in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return (len(value), tuple(_plain(each, depth - 1) for each in value))
    held = getattr(value, "__dict__", None)
    return id(value) if held is None else (id(value), _plain(dict(held), depth - 1))
