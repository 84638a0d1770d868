"""What a hook is checked on, and how the kit records every pass itself, next to the tap."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from sri_sdk.capture.run import Run
from sri_sdk.capture.watch import watch
from sri_sdk.errors import ConformanceError
from sri_sdk.hook import Hook
from sri_sdk.records import PADDING, Encoded, ForwardCall, RunView, StepPlan

Generate = Callable[[Encoded], torch.Tensor]
Edit = Callable[[int, torch.Tensor], torch.Tensor | None]
"""(pass, [B, L, D] final-norm output) -> what to put in its place; None = leave it."""


@dataclass(frozen=True, slots=True)
class HookCase:
    """A hook on a small model, and the model's own way to generate. What is None is not checked."""

    hook: Hook
    """Built on a model with few weights; random ones will do, but not ones that always give the same token."""
    encoded: Encoded
    """At least three prompts, of different lengths."""
    generate: Generate
    """The family's own call, greedy: -> [B, L] token ids, with or without the prompt. Autoregressive: one response ends
    before another, or nobody sees whether the hook notices."""
    steps: int | Sequence[int] | None
    """Steps every generation has, or one number per request of `encoded` where a family stops when it likes; None = one
    per token (autoregressive), or unknown."""
    generate_sampled: Generate | None = None
    """The same with sampling; sets its own seed, and gives the same tokens each time."""
    generate_guided: Generate | None = None
    """The same with classifier-free guidance."""
    batched: bool = True
    """False = the family's own call takes one prompt at a time: `encoded` holds one, company and padding go
    unchecked."""
    unembedding: Callable[[], torch.Tensor] | None = None
    """-> [V, D] weight of the head; None = that of `hook.head()`, or of `model.head`."""
    tokenizer: Any = None
    """What `encode`, `tokens` and `decode` are tried with; None = the one that `load()` brings with default options."""


@dataclass(slots=True)
class Pass:
    """One forward pass, as the kit recorded it."""

    view: RunView
    """What the hook was given."""
    plan: StepPlan | None = None
    """What the hook returned; None = no step."""
    active: torch.Tensor | None = None
    """`plan.active` as it was when plan() returned it: a hook may have written into it since."""
    states: torch.Tensor | None = None
    """[B, L, D] output of the tapped module; None = it did not run."""
    failed: bool = False
    """Whether `plan` raised."""
    input_ids: torch.Tensor | None = None
    """[B, L] token ids as the pass began: a model may have written into its own since."""
    written: tuple[str, ...] = ()
    """Inputs of the pass that `plan` changed."""
    accepted: int | None = None
    """Rows of a pass with a `tentative` plan that the hook said were kept; None = it never said."""


@dataclass(frozen=True, slots=True)
class Observed:
    """One watched generation."""

    run: Run
    tokens: torch.Tensor
    """[B, P] response tokens, without the prompt."""
    passes: list[Pass]
    view: RunView | None
    """What the hook was given and noted; None = plan() was never called."""
    with_prompt: bool
    """Whether the call returned the prompt before the response."""

    def lengths(self, hook: Hook) -> list[int]:
        """Tokens of each response up to the one that ended it, also where only the call named that one."""
        return hook.lengths(self.tokens, self.view)

    def steps(self) -> list[tuple[int, StepPlan]]:
        """(pass, plan) of each step. Of a pass that verified drafts: each row that was kept, with a plan of its own."""
        return [
            (index, plan)
            for index, seen in enumerate(self.passes)
            if seen.plan is not None
            for plan in ([seen.plan] if not seen.plan.tentative else _kept_rows(seen.plan, seen.accepted or 0))
        ]


def observe(
    case: HookCase, generate: Generate | None = None, encoded: Encoded | None = None, edit: Edit | None = None
) -> Observed:
    """Generates under watch, and records every pass.

    Args:
        case: hook and model.
        generate: gives [B, L] token ids; None = the case's own.
        encoded: the prompts; None = the case's own.
        edit: replaces [B, L, D] outputs of the final norm; None = they stay as they are.

    Raises:
        ConformanceError: the hook failed while it watched.
    """
    encoded = case.encoded if encoded is None else encoded
    ids = [str(row) for row in range(len(encoded.input_ids))]
    with recording(case.hook, edit) as passes, watch(case.hook.model, hook=case.hook, request_ids=ids) as run:
        tokens = (generate or case.generate)(encoded)
    if run.failure is not None:
        first = next((index for index, seen in enumerate(passes) if seen.failed), len(passes) - 1)
        raise ConformanceError(
            f"{subject(case)}: pass {first} (module `{module_name(case.hook)}`) failed: {run.failure}"
        )
    answer = response(tokens, encoded)
    return Observed(run, answer, passes, passes[0].view if passes else None, answer.shape != tokens.shape)


@contextmanager
def recording(hook: Hook, edit: Edit | None = None) -> Iterator[list[Pass]]:
    """Records every pass that the tap plans inside the block; `edit` replaces [B, L, D] outputs of the final norm."""
    passes: list[Pass] = []
    inner, own = hook.plan, vars(hook).get("plan")
    say, own_say = hook.accepted_rows, vars(hook).get("accepted_rows")

    def accepted_rows(run: RunView, tokens: torch.Tensor | None = None) -> int | None:
        kept = say(run, tokens)
        for each in passes:
            if each.plan is not None and each.plan.tentative and each.accepted is None:
                # The first that waits: the pass that has begun may be the next one.
                each.accepted = kept
                break
        return kept

    def plan(call: ForwardCall, view: RunView) -> StepPlan | None:
        passes.append(Pass(view, input_ids=call.input_ids.clone()))
        given = _tensors(call)
        try:
            made = inner(call, view)
        except Exception:
            passes[-1].failed = True
            raise
        passes[-1].plan = made
        passes[-1].written = tuple(name for name, (now, then) in given.items() if not torch.equal(now, then))
        passes[-1].active = None if made is None or made.active is None else made.active.clone()
        return made

    def record_output(_module: Any, _args: Any, output: Any) -> Any:
        states = output[0] if isinstance(output, tuple) else output
        if not passes:
            return None
        changed = None if edit is None else edit(len(passes) - 1, states)
        if passes[-1].states is None:
            # A copy: models write into their own buffers once they no longer need them.
            passes[-1].states = (states if changed is None else changed).detach().clone()
        if changed is None:
            return None
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    handle = hook.final_norm().register_forward_hook(record_output)
    vars(hook).update(plan=plan, accepted_rows=accepted_rows)
    try:
        yield passes
    finally:
        handle.remove()
        for name, before in (("plan", own), ("accepted_rows", own_say)):
            vars(hook).pop(name)
            if before is not None:
                vars(hook)[name] = before


def _kept_rows(plan: StepPlan, kept: int) -> list[StepPlan]:
    """One plan for each of the first rows of a pass that verified drafts."""
    columns = torch.arange(plan.positions.shape[1], device=plan.positions.device)
    return [
        replace(plan, positions=plan.positions.masked_fill(columns != row, PADDING), tentative=False)
        for row in range(kept)
    ]


def _tensors(call: ForwardCall) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Inputs of a pass by name, such as [B, L] token ids, each with a copy."""
    given = {"input_ids": call.input_ids, **call.kwargs}
    return {name: (value, value.clone()) for name, value in given.items() if isinstance(value, torch.Tensor)}


def subject(case: HookCase) -> str:
    """How messages call the hook."""
    return type(case.hook).__name__


def module_name(hook: Hook) -> str:
    """The tapped module's place in the model, as `named_modules` writes it."""
    norm = hook.final_norm()
    return next((name for name, module in hook.model.named_modules() if module is norm), "no module of this model")


def copy_of(encoded: Encoded) -> Encoded:
    """The same prompts in tensors of their own."""
    return Encoded(encoded.input_ids.clone(), encoded.attention_mask.clone())


def alone(encoded: Encoded, row: int) -> Encoded:
    """One prompt without company, and so without padding."""
    real = encoded.attention_mask[row].bool()
    return Encoded(encoded.input_ids[row][real][None], encoded.attention_mask[row][real][None])


def by_length(encoded: Encoded) -> list[int]:
    """Rows from the shortest prompt to the longest."""
    lengths = encoded.attention_mask.sum(1).tolist()
    return sorted(range(len(lengths)), key=lambda row: lengths[row])


def response(tokens: torch.Tensor, encoded: Encoded) -> torch.Tensor:
    """[B, P]: what follows the prompt, or everything where the call gives no prompt back."""
    width = encoded.input_ids.shape[1]
    whole = tokens.shape[1] >= width and torch.equal(tokens[:, :width], encoded.input_ids)
    return tokens[:, width:] if whole else tokens


def batch_row(plan: StepPlan, request: int) -> int:
    """Row of the batch that the plan gives to a request."""
    return request if plan.rows is None else int(plan.rows[request])


def targets(plan: StepPlan, request: int) -> list[tuple[int, int]]:
    """(row of the pass, canvas position it predicts), of one request, as the plan says."""
    own = plan.positions[batch_row(plan, request)].tolist()
    planned = [(row, position + plan.shift) for row, position in enumerate(own) if position != PADDING]
    return [(row, at) for row, at in planned if at >= 0 and (plan.canvas is None or at < plan.canvas)]


def is_active(plan: StepPlan, request: int) -> bool:
    """Whether the plan counts this pass as a step of the request."""
    return plan.active is None or bool(plan.active[request])
