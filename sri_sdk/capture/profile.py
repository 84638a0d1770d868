"""Whether a generation, as its first step shows it, is one that the guard and the driver speak of."""

from __future__ import annotations

from sri_sdk.errors import CaptureError
from sri_sdk.hook import Hook
from sri_sdk.records import StepPlan


def refuse_other_start(plan: StepPlan, response: tuple[int, int] | None, hook: Hook) -> None:
    """A hook that looks for masks takes a started response for prompt: only part of its states would be pooled.

    Args:
        plan: of the first step.
        response: (first column, number of positions) of every response, where a driver started some; None = it did not.
        hook: whose plan it is.

    Raises:
        CaptureError: the plan places the responses elsewhere.
    """
    if response is None or hook.block_length() is not None:
        return
    column, positions = response
    found = plan.positions if plan.rows is None else plan.positions[plan.rows]
    if plan.canvas not in (None, positions) or bool((found[:, column] != 0).any()):
        raise CaptureError(
            f"the responses start at column {column} with {positions} positions, {type(hook).__name__} plans "
            f"{plan.canvas} that start elsewhere: its plan() must go by RunView.response where that is set"
        )


def refuse_other_canvas(plan: StepPlan, wanted: int | None, hook: Hook) -> None:
    """Responses of another length than the guard was fitted on have other states at the same progress.

    Args:
        plan: of the first step.
        wanted: response positions of the guard's profile; None = not compared.
        hook: whose plan it is.

    Raises:
        CaptureError: a response has another length.
    """
    if wanted is None or plan.canvas is None or hook.block_length() is not None:
        return
    # Row by row: beside others that begin empty, a response that its caller started is found too short.
    found = sorted({plan.canvas, *_shown(plan)})
    if found != [wanted]:
        raise CaptureError(
            f"the response has {' or '.join(map(str, found))} positions, the guard's profile {wanted}: "
            "generate as the guard was fitted, with responses that begin empty and prompts that do not end in the mask "
            "token, or fit one for this length"
        )


def _shown(plan: StepPlan) -> list[int]:
    """Per request: how many positions of its canvas this pass shows."""
    assert plan.canvas is not None
    positions = plan.positions if plan.rows is None else plan.positions[plan.rows]
    shown: list[int] = ((positions >= 0) & (positions < plan.canvas)).sum(1).tolist()
    return shown
