"""Checks of what a plan says about the canvas, against the tokens that the model itself put into the pass."""

from __future__ import annotations

from itertools import pairwise

import torch

from sri_sdk.capture.watch import watch
from sri_sdk.errors import ConformanceError
from sri_sdk.records import PADDING, StepPlan
from sri_sdk.testing._hook_case import (
    HookCase,
    Observed,
    alone,
    batch_row,
    by_length,
    is_active,
    module_name,
    observe,
    subject,
    targets,
)  # fmt: skip


def canvas_is_whole(case: HookCase) -> None:
    """`canvas`, `run.prompt` and the rows of every step against the tokens that the call returned."""
    shorter = alone(case.encoded, by_length(case.encoded)[0])
    for encoded in (case.encoded, shorter):
        seen = observe(case, encoded=encoded)
        _canvas_is_the_response(case, seen)
        _prompt_is_the_prompt(case, seen, encoded.input_ids.shape[1])
        for request in range(len(encoded.input_ids)):
            _tokens_stand_where_it_says(case, seen, encoded.input_ids[request].tolist(), request)
            _no_row_is_dropped(case, seen, request)
            _every_position_has_a_step(case, seen, request)


def _where(case: HookCase) -> str:
    return f"{subject(case)}.plan(): module `{module_name(case.hook)}`"


def _canvas_is_the_response(case: HookCase, seen: Observed) -> None:
    length, widths = seen.tokens.shape[1], set[int]()
    for step, (_, plan) in enumerate(seen.steps()):
        if plan.committed is not None:
            widths.add(plan.committed.shape[1])
        if plan.canvas is not None and plan.committed is not None and plan.committed.shape[1] != plan.canvas:
            raise ConformanceError(
                f"{_where(case)}: step {step} has canvas {plan.canvas}, and `committed` for {plan.committed.shape[1]} "
                "positions. Both are the length of the response."
            )
        # A family that may stop early returns what it got to, so only masked canvases are known to be whole.
        if case.hook.scheme == "masked" and plan.canvas is not None and plan.canvas != length:
            raise ConformanceError(
                f"{_where(case)}: step {step} has canvas {plan.canvas}, the call returned responses of {length} "
                "tokens. Let `canvas` be the length of the response, or None where it is not known in advance."
            )
    if case.hook.scheme == "masked" and widths == {length} and any(plan.canvas is None for _, plan in seen.steps()):
        raise ConformanceError(
            f"{_where(case)}: `canvas` is None, but `committed` has {length} positions from the first step to the "
            f"last, as many as the response has tokens. Set `canvas` to {length}: the length is known in advance."
        )


def _prompt_is_the_prompt(case: HookCase, seen: Observed, width: int) -> None:
    told = None if seen.view is None else seen.view.prompt
    fixed = all(plan.canvas is not None for _, plan in seen.steps())
    if not seen.with_prompt or told == width or (told is None and not fixed):
        return
    raise ConformanceError(
        f"{_where(case)}: run.prompt is {told}, but the tokens that the call returned begin with a prompt of {width} "
        f"columns. Set `run.prompt` to {width} with the first step, or the end of a response is looked for elsewhere."
    )


def _tokens_stand_where_it_says(case: HookCase, seen: Observed, prompt: list[int], request: int) -> None:
    """The token of a row is that of its position: of the prompt, or of the response where one follows the other."""
    answer = seen.tokens[request].tolist()
    for index, plan in seen.steps():
        ids, row = seen.passes[index].input_ids, batch_row(plan, request)
        if ids is None or ids.shape != plan.positions.shape or not is_active(plan, request):
            continue
        for at, (position, token) in enumerate(zip(plan.positions[row].tolist(), ids[row].tolist(), strict=True)):
            if -len(prompt) <= position < 0:
                wanted, whose = prompt[position], "prompt"
            elif case.hook.scheme == "autoregressive" and 0 <= position < len(answer):
                wanted, whose = answer[position], "response"
            else:
                continue
            if token != wanted:
                raise ConformanceError(
                    f"{_where(case)}: in pass {index}, row {at} of request {request} is position {position} by the "
                    f"plan, and shows token {token}; the {whose} has {wanted} there. 0 is the first response token, -1 "
                    "the last of the prompt, and padding is PADDING or lies before the prompt."
                )


def _no_row_is_dropped(case: HookCase, seen: Observed, request: int) -> None:
    """While a pass shows the same window, the same rows have positions: what was committed is still on the canvas."""
    for (before, one), (after, two) in pairwise(seen.steps()):
        if not (is_active(one, request) and is_active(two, request)):
            continue
        had, has = (plan.positions[batch_row(plan, request)] for plan in (one, two))
        if had.shape != has.shape:
            continue
        common = (had != PADDING) & (has != PADDING)
        moved = bool((had[common] != has[common]).any()) or not common.any()
        lost = ((had != PADDING) != (has != PADDING)).nonzero()[:, 0].tolist()
        if case.hook.block_length() is not None:
            # The block in work moves within a pass that shows more: what lies at its edge may be another block's.
            lost = [row for row in lost if any(_between(rows, row) for rows in (had, has))]
        if lost and not moved:
            row = lost[0]
            at = int(had[row]) if had[row] != PADDING else int(has[row])
            raise ConformanceError(
                f"{_where(case)}: row {row} of request {request} is position {at} in only one of the passes {before} "
                f"and {after}, which show the same window (so are {len(lost)} rows). A position that is committed "
                "stays on the canvas: give it its row in every pass that shows it, and say so in `committed` alone."
            )


def _between(positions: torch.Tensor, row: int) -> bool:
    """Whether a row has none of the positions [L], and rows on both sides of it have some."""
    on = positions >= 0
    return not on[row] and bool(on[:row].any()) and bool(on[row + 1 :].any())


def _every_position_has_a_step(case: HookCase, seen: Observed, request: int) -> None:
    if case.hook.scheme != "autoregressive" and any(plan.canvas is None for _, plan in seen.steps()):
        return  # Behind a shift, the pass that commits a block decides the first token of the next, and is no step.
    named = {at for _, plan in seen.steps() if is_active(plan, request) for _, at in targets(plan, request)}
    missing = sorted(set(range(seen.lengths(case.hook)[request])) - named)
    if missing:
        raise ConformanceError(
            f"{_where(case)}: in no step does a row predict position {missing[0]} of request {request} "
            f"({len(missing)} of its {seen.lengths(case.hook)[request]} tokens have none). Look at `positions`, "
            "`shift` and `canvas`."
        )


def shift_agrees(case: HookCase) -> None:
    """`shift()` and `StepPlan.shift` are one number."""
    for step, (_, plan) in enumerate(observe(case).steps()):
        if plan.shift != case.hook.shift():
            raise ConformanceError(
                f"{subject(case)}.shift(): says {case.hook.shift()}, the plan of step {step} says {plan.shift}. A "
                "driven sampler goes by the first and the tap by the second: return the same number."
            )


def block_is_in_work(case: HookCase) -> None:
    """With `block_length()`: no pass shows what lies behind the block of its first hole, counted from the prompt."""
    block, lengths = case.hook.block_length(), case.encoded.attention_mask.sum(1).tolist()
    assert block is not None
    seen, mask = observe(case), case.hook.mask_id()
    for index, plan in seen.steps():
        for request, length in enumerate(lengths):
            shown = _tokens_shown(seen, index, plan, request) if is_active(plan, request) else []
            holes = [at for at, token in shown if token == mask]
            if not holes or max(holes) < (end := ((min(holes) + length) // block + 1) * block - length):
                continue
            raise ConformanceError(
                f"{subject(case)}.block_length(): says {block}, but pass {index} shows request {request}, whose prompt "
                f"has {length} tokens, open positions {min(holes)} to {max(holes)}; its block ends before {end}. None "
                "where every pass sees the whole canvas."
            )


def committed_is_shown(case: HookCase) -> None:
    """`committed` and `mask_id()` against the tokens in the pass."""
    _the_mask_is_what_gets_filled_in(case)
    seen = observe(case)
    mask = _mask_of_the_model(case, seen)
    plans: dict[int, int] = {}
    for step, (index, plan) in enumerate(seen.steps()):
        if plan.committed is None:
            continue
        if (first := plans.setdefault(id(plan), index)) != index:
            raise ConformanceError(
                f"{_where(case)}: pass {index} gets the very plan of pass {first}. Make a new StepPlan at each pass: "
                "the tokens have changed."
            )
        for request in range(len(seen.tokens)):
            wrong = _misread(seen, index, plan, request, mask) if is_active(plan, request) else []
            if wrong:
                raise ConformanceError(
                    f"{_where(case)}: at step {step}, `committed` is {not wrong[0][1]} for position {wrong[0][0]} of "
                    f"request {request}, where the pass shows token {wrong[0][2]} (the mask is {mask}); "
                    f"{len(wrong)} positions are wrong. {_which_way(seen, step, request, mask)}"
                )


def _the_mask_is_what_gets_filled_in(case: HookCase) -> None:
    """Unwatched: with a wrong mask a hook may find no canvas, and then its run fails without naming the cause."""
    passes: list[torch.Tensor] = []
    handle = case.hook.embedding().register_forward_pre_hook(lambda _, args: passes.append(args[0].clone()))
    try:
        case.generate(case.encoded)
    finally:
        handle.remove()
    pairs = [(one, other) for one, other in pairwise(passes) if one.shape == other.shape]
    replaced = {token for one, other in pairs for token in one[one != other].tolist()}
    if replaced and case.hook.mask_id() not in replaced:
        raise ConformanceError(
            f"{subject(case)}.mask_id(): says {case.hook.mask_id()}, which nothing replaces; tokens that others "
            f"replace: {', '.join(map(str, sorted(replaced)[:5]))}. Return the token that stands for an open position."
        )


def _mask_of_the_model(case: HookCase, seen: Observed) -> int:
    """The token at every canvas position when nothing has been decided yet."""
    if not seen.steps():
        raise ConformanceError(f"{_where(case)}: no pass is a step, in {len(seen.passes)} passes.")
    index, plan = seen.steps()[0]
    request = next((row for row in range(len(seen.tokens)) if is_active(plan, row)), 0)
    mask, answer = case.hook.mask_id(), seen.tokens[request].tolist()
    places = _tokens_shown(seen, index, plan, request)
    shown = {token for _, token in places}
    # The pass before, which is no step, may have decided a token of this one.
    strange = [at for at, token in places if token != mask and at < len(answer) and token != answer[at]]
    if mask is None or mask not in shown or strange:
        raise ConformanceError(
            f"{subject(case)}.mask_id(): says {case.hook.mask_id()}; in the first step, pass {index}, the canvas rows "
            f"of request {request} show {', '.join(map(str, sorted(shown))) or 'no token'}. Return the token "
            "that stands for an open position, or let `positions` begin where the response does."
        )
    return mask


def _tokens_shown(seen: Observed, index: int, plan: StepPlan, request: int) -> list[tuple[int, int]]:
    """(canvas position, token) of the rows of a pass."""
    row, ids = batch_row(plan, request), seen.passes[index].input_ids
    if ids is None or ids.shape != plan.positions.shape:
        return []
    pairs = zip(plan.positions[row].tolist(), ids[row].tolist(), strict=True)
    return [(at, token) for at, token in pairs if at >= 0]


def _misread(seen: Observed, index: int, plan: StepPlan, request: int, mask: int) -> list[tuple[int, bool, int]]:
    """(position, whether it is fixed, token) where `committed` says otherwise."""
    assert plan.committed is not None
    said: list[bool] = plan.committed[request].tolist()
    shown = _tokens_shown(seen, index, plan, request)
    return [
        (at, token != mask, token) for at, token in shown if at < len(said) and bool(said[at]) != (token != mask)
    ]  # fmt: skip


def _which_way(seen: Observed, step: int, request: int, mask: int) -> str:
    steps = seen.steps()

    def fits(plan_of: int, pass_of: int) -> bool:
        return not _misread(seen, steps[pass_of][0], steps[plan_of][1], request, mask)

    index, plan = steps[step]
    flipped = StepPlan(plan.positions, plan.shift, plan.rows, ~_given(plan.committed))
    if not _misread(seen, index, flipped, request, mask):
        return "It looks inverted: True is for positions that hold no mask."
    if step and fits(step, step - 1):
        return "It is one pass late: read the tokens of this pass, not of the one before."
    if step + 1 < len(steps) and fits(step, step + 1):
        return "It is one pass early: say what was fixed before the pass, not after it."
    return "True is for positions that held no mask before this pass."


def _given(tensor: torch.Tensor | None) -> torch.Tensor:
    assert tensor is not None
    return tensor


def finished_text_is_no_step(case: HookCase) -> None:
    """A pass over the finished text, as commits and verifications are, counts for nobody."""
    seen = observe(case)
    text, mask = _finished_text(case, seen)
    before = [trace.steps for trace in seen.run.traces]
    ids = [str(row) for row in range(len(text))]
    with watch(case.hook.model, hook=case.hook, request_ids=ids) as run:
        case.generate(case.encoded)
        try:
            with torch.no_grad():
                case.hook.forward(text, mask)
        except Exception:
            return  # What forward() cannot do is another check's matter.
    for row, trace in enumerate(run.traces):
        if trace.steps > before[row] and not trace.reasons:
            raise ConformanceError(
                f"{_where(case)}: request {row} has {before[row]} steps, and {trace.steps} once its finished text is "
                "read again in one more pass: nothing is open there, so it is no step. Return None for it (it may be a "
                "commit or a verification), or raise."
            )


def _finished_text(case: HookCase, seen: Observed) -> tuple[torch.Tensor, torch.Tensor]:
    """Prompt and response [B, L], and its mask of padding. No row is open, whatever a call leaves behind an end.

    A sampler that stops in the middle of a block returns masks behind the end token, or numbers that are no token.
    """
    answer = seen.tokens.clone()
    for row, length in enumerate(seen.lengths(case.hook)):
        answer[row, length:] = answer[row, max(length - 1, 0)]
    real = torch.nn.functional.pad(case.encoded.attention_mask, (0, answer.shape[1]), value=1)
    return torch.cat([case.encoded.input_ids, answer], dim=1), real
