"""Checks of what a hook counts: one record per step, and no more of them once a row has ended."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sri_sdk.errors import ConformanceError
from sri_sdk.testing._hook_case import HookCase, Observed, is_active, module_name, observe, subject


def steps_counted(case: HookCase) -> None:
    """One record per step."""
    seen = observe(case)
    expected: list[int] | None = None
    if case.steps is not None:
        expected = [case.steps] * len(seen.run.traces) if isinstance(case.steps, int) else list(case.steps)
    elif case.hook.scheme == "autoregressive":
        expected = seen.lengths(case.hook)
    for row, trace in enumerate(seen.run.traces):
        if trace.steps and (expected is None or trace.steps == expected[row]):
            continue
        no_step = [index for index, each in enumerate(seen.passes) if each.plan is None]
        idle = [index for index, plan in seen.steps() if not is_active(plan, row)]
        silent = [index for index, each in enumerate(seen.passes) if each.states is None]
        raise ConformanceError(
            f"{subject(case)}.plan(): module `{module_name(case.hook)}`: request {row} has {trace.steps} steps, "
            f"{'at least 1' if expected is None else expected[row]} expected, in {len(seen.passes)} passes "
            f"(counted from 0); passes called no step: {_listed(no_step)}; steps of others only: {_listed(idle)}; "
            f"passes in which the module did not run: {_listed(silent)}. {_cure(seen, row, trace.steps, expected)}"
        )


def _cure(seen: Observed, row: int, found: int, expected: list[int] | None) -> str:
    """What to change so that the steps of a request add up, most likely cause first."""
    steps = seen.steps()
    if not seen.passes:
        return "No pass began: embedding() must name the token embedding, which runs first in every pass."
    written = [index for index, plan in steps if not _same(plan.active, seen.passes[index].active)]
    if written:
        return (
            f"Was `active` changed in place? That of pass {_listed(written)} is not what plan() returned: make a new "
            "tensor at each step, such as `active & ~ended`."
        )
    silent = [index for index, _ in steps if seen.passes[index].states is None]
    if silent:
        return f"Name in final_norm() a module that runs in every step, also in pass {_listed(silent)}."
    wanted = found + 1 if expected is None else expected[row]
    own = [index for index, plan in steps if is_active(plan, row)]
    if found > wanted:
        no_step = (
            f"eturn None for a pass that is no step (commit, encoder, verify): look at pass {_listed(own[wanted:])}."
        )
        if expected is None or wanted == max(expected):
            return f"R{no_step}"
        return (
            f"Request {row} has ended before pass {own[wanted]}: let `active` be False for it from there on, by "
            f"eos_ids(); or r{no_step}"
        )
    no_plan = [index for index, each in enumerate(seen.passes) if each.plan is None]
    if no_plan:
        some = "" if len(no_plan) == wanted - found else f"{wanted - found} of "
        return f"Return a StepPlan for {some}pass {_listed(no_plan)}."
    idle = [index for index, _ in steps if index not in own]
    if idle:
        return f"Let `active` be True for request {row} in pass {_listed(idle[: wanted - found])}: it has not ended."
    return "No pass is left to count: look at `steps` and `generate` of the example."


def a_row_ends_early(case: HookCase) -> None:
    """One response ends before another."""
    seen, ends = observe(case), case.hook.eos_ids()
    lengths = seen.lengths(case.hook)
    if min(lengths) < max(lengths):
        return
    raise ConformanceError(
        f"{subject(case)}.example(): module `{module_name(case.hook)}`: the responses have {_listed(lengths)} steps, "
        f"none ends before another (tokens that end one, by eos_ids(): {_listed(ends)}), so nobody sees whether plan() "
        "takes a row that has ended out of `active`. Generate once in example(), and set "
        f"`model.generation_config.eos_token_id` to a token that ends one response only{_suggested(seen.tokens)}."
    )


def _suggested(tokens: torch.Tensor) -> str:
    """A token of [B, P] responses after which one would end while another goes on; empty where there is none."""
    rows = tokens.tolist()
    for at in range(1, tokens.shape[1] - 1):
        for number, row in enumerate(rows):
            if row[at] not in row[:at] and any(row[at] not in other[: at + 1] for other in rows):
                return f", such as {row[at]}, token {at} of request {number}"
    return ""


def _same(now: torch.Tensor | None, then: torch.Tensor | None) -> bool:
    return now is then is None or (now is not None and then is not None and torch.equal(now, then))


def _listed(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:8])) + (", ..." if len(numbers) > 8 else "")
    return shown or "none"
