"""The check that passes read many at once are what they are one by one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sri_sdk.capture.watch import watch
from sri_sdk.errors import ConformanceError
from sri_sdk.hook import Hook
from sri_sdk.records import Trace
from sri_sdk.testing._hook_case import Generate, HookCase, subject


def steady_passes_agree(case: HookCase) -> None:
    """Traces are the same whether the tap asks `plan` about every pass or `steady` about many."""
    if type(case.hook).steady is Hook.steady:
        return
    for generate in (case.generate, case.generate_sampled, case.generate_guided):
        if generate is not None:
            _compare(case, _watched(case, generate, one_by_one=True), _watched(case, generate, one_by_one=False))


def _watched(case: HookCase, generate: Generate, *, one_by_one: bool) -> Sequence[Trace]:
    hook = case.hook
    if one_by_one:
        # A plan of the object's own is one that `steady` says nothing about.
        vars(hook)["plan"] = hook.plan
    try:
        with watch(hook.model, hook=hook) as run:
            run.returned(generate(case.encoded))
    finally:
        vars(hook).pop("plan", None)
    return run.traces


def _compare(case: HookCase, expected: Sequence[Trace], found: Sequence[Trace]) -> None:
    for row, (one, many) in enumerate(zip(expected, found, strict=True)):
        if (one.steps, one.reasons) != (many.steps, many.reasons):
            raise ConformanceError(
                f"{subject(case)}.steady(): request {row} has {one.steps} steps and reasons {list(one.reasons)} where "
                f"plan() is asked about every pass, {many.steps} and {list(many.reasons)} where steady() is asked "
                "about many. `read` must say of each pass what plan() would: who is active, what is committed."
            )
        worst = float(np.abs(one.phi - many.phi).max(initial=0.0)) if one.phi.shape == many.phi.shape else float("inf")
        if not worst <= 1e-5:
            raise ConformanceError(
                f"{subject(case)}.steady(): the states of request {row} differ by {worst:.2g} from those where plan() "
                "is asked about every pass, 1e-05 allowed. Say True in `goes_on` only of passes whose rows stand where "
                "those of the plan before stood."
            )
