"""Checks of what a hook's steps hold: the tapped module, the mean, padding, company, records."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from sri_sdk.capture.conclude import SILENT
from sri_sdk.capture.watch import watch
from sri_sdk.errors import ConformanceError
from sri_sdk.hook import Capability
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
from sri_sdk.testing._hook_cause import head_of

MEAN = 1e-5
"""Relative: the tap sums in float32, the kit in float64."""
DOUBLED = 0.01
"""Of the logits' size: a linear head doubles them, a soft cap leaves less, a norm in between nothing."""
THE_NORM = (
    "Name the last norm before the head. Where no module puts its result out, as where norm and head are one, put a "
    "torch.nn.Identity between them in the model, and name that."
)
COMPANY = 1e-3
"""Relative: kernels round otherwise for another batch size or width."""


def feeds_the_head(case: HookCase) -> None:
    """The head reads what the tap reads."""
    head = head_of(case)
    if isinstance(head, torch.nn.Embedding):
        # A tied head that a model names so: its weight is read, and what it is called with are token ids.
        head = None
    read: list[torch.Tensor] = []

    def record_input(_module: Any, args: Any, kwargs: Any) -> None:
        read.append((args[0] if args else next(iter(kwargs.values()))).detach().clone())

    handle = None if head is None else head.register_forward_pre_hook(record_input, with_kwargs=True)
    try:
        seen = observe(case)
    finally:
        if handle is not None:
            handle.remove()
    if len(read) != len(seen.passes):
        # A tied head may be no module, or never called as one.
        _scales_the_logits(case)
        return
    for index, (tapped, fed) in enumerate(zip(seen.passes, read, strict=True)):
        if tapped.states is None:
            continue
        gap = float("inf")
        if tapped.states.shape[-1] == fed.shape[-1]:
            rows, wanted = (t.reshape(-1, fed.shape[-1]).float() for t in (tapped.states, fed))
            away = torch.cdist(wanted, rows, compute_mode="donot_use_mm_for_euclid_dist").min(1).values
            gap = float(away.max() / wanted.norm(dim=1).max().clamp(min=1e-12))
        if gap > MEAN:
            raise ConformanceError(
                f"{subject(case)}.final_norm(): module `{module_name(case.hook)}`: in pass {index}, step "
                f"{sum(h.plan is not None for h in seen.passes[:index])}, the head read rows of width {fed.shape[-1]} "
                f"that this module did not put out (nearest {gap:.2g} of their length away, {MEAN:g} allowed). "
                + THE_NORM
            )


def _scales_the_logits(case: HookCase) -> None:
    """Without a head module to watch: a norm behind the tapped module would undo it when its output doubles."""
    norm = case.hook.final_norm()

    def double(_module: Any, _args: Any, output: Any) -> Any:
        return (output[0] * 2, *output[1:]) if isinstance(output, tuple) else output * 2

    with torch.no_grad():
        plain = case.hook.forward(case.encoded.input_ids, case.encoded.attention_mask).logits
        handle = norm.register_forward_hook(double)
        try:
            doubled = case.hook.forward(case.encoded.input_ids, case.encoded.attention_mask).logits
        finally:
            handle.remove()
    finite = torch.isfinite(plain)
    gap = float((doubled - plain)[finite].abs().max() / plain[finite].abs().max().clamp(min=1e-12))
    if gap < DOUBLED:
        raise ConformanceError(
            f"{subject(case)}.final_norm(): module `{module_name(case.hook)}`: when its output doubles in a pass, the "
            f"logits move by {gap:.2g} of their size, {DOUBLED:g} needed. {THE_NORM}"
        )


def phi_is_the_mean(case: HookCase) -> None:
    """The tap's pooling against a float64 mean of the same states."""
    seen = observe(case)
    for row, trace in enumerate(seen.run.traces):
        wanted = _means(case, seen, row)
        if not wanted or len(wanted) != len(trace.phi):
            raise ConformanceError(
                f"{subject(case)}: module `{module_name(case.hook)}`: request {row} has {len(trace.phi)} states, its "
                f"plans name {len(wanted)} steps with rows that predict something."
            )
        for step, (mean, phi) in enumerate(zip(wanted, trace.phi[:, 0], strict=True)):
            gap = relative(phi, mean)
            if not gap <= MEAN:
                raise ConformanceError(
                    f"{subject(case)}.plan(): module `{module_name(case.hook)}`: phi of request {row} at step {step} "
                    f"is {gap:.2g} away from the mean of the rows in `positions` (relative, {MEAN:g} allowed). "
                    "Does `span` name the same rows?"
                )


def phi_against_mean(case: HookCase, seen: Observed, request: int) -> list[float]:
    """Per step of a request: how far phi is from the mean, relative. Infinite where one has no counterpart."""
    wanted, phi = _means(case, seen, request), seen.run.traces[request].phi
    if len(wanted) != len(phi):
        return [float("inf")]
    return [relative(found, mean) for found, mean in zip(phi[:, 0], wanted, strict=True)]


def _means(case: HookCase, seen: Observed, request: int) -> list[NDArray[np.float64]]:
    """One [D] per step of a request: the mean of one pass, or of all passes so far where tokens come one by one."""
    made: list[NDArray[np.float64]] = []
    kept: list[NDArray[np.float64]] = []
    for index, plan in seen.steps():
        states, rows = seen.passes[index].states, [row for row, _ in targets(plan, request)]
        if states is None or not rows or not is_active(plan, request):
            continue
        now = list(states[batch_row(plan, request)][rows].double().cpu().numpy())
        kept = [*kept, *now] if case.hook.scheme == "autoregressive" else now
        made.append(np.mean(kept, axis=0))
    return made


def padding_excluded(case: HookCase) -> None:
    """The shortest prompt, padded, against itself without padding."""
    _same_alone(case, by_length(case.encoded)[0], "the padding beside it")


def company_excluded(case: HookCase) -> None:
    """The longest prompt, which is never padded, in company and alone."""
    _same_alone(case, by_length(case.encoded)[-1], "the other requests")


def _same_alone(case: HookCase, row: int, cause: str) -> None:
    together, single = observe(case), observe(case, encoded=alone(case.encoded, row))
    one, two = together.run.traces[row], single.run.traces[0]
    where = f"{subject(case)}: module `{module_name(case.hook)}`: request {row}"
    if one.phi.shape != two.phi.shape:
        raise ConformanceError(f"{where} has phi {one.phi.shape} in a batch, {two.phi.shape} alone: {cause} shows.")
    for step, (a, b) in enumerate(zip(one.phi, two.phi, strict=True)):
        gap = relative(a, b)
        if not gap <= COMPANY:
            raise ConformanceError(
                f"{where}: phi at step {step} moves by {gap:.2g} when it is alone (relative, {COMPANY:g} allowed): "
                f"{cause} shows. Leave rows that belong to nothing out of `positions` (PADDING)."
            )


def records_sane(case: HookCase) -> None:
    """Finite float32 arrays on the host, of the width the hook says."""
    width = case.hook.hidden_size()
    for row, trace in enumerate(observe(case).run.traces):
        where = f"{subject(case)}: module `{module_name(case.hook)}`: request {row}"
        if not isinstance(trace.phi, np.ndarray) or trace.phi.dtype != np.float32:
            raise ConformanceError(f"{where}: phi is no float32 array on the host.")
        if trace.phi.size and trace.phi.shape[1:] != (1, width):
            raise ConformanceError(f"{where}: phi is {trace.phi.shape}, hidden_size() says {width} numbers per state.")
        broken = np.argwhere(~np.isfinite(trace.phi).all(axis=(1, 2)))[:, 0]
        if len(broken):
            raise ConformanceError(f"{where}: {len(broken)} of {len(trace.phi)} states hold NaN, first at {broken[0]}.")
        if trace.reasons:
            raise ConformanceError(f"{where}: the trace cannot be trusted: {', '.join(trace.reasons)}.")


def capabilities_delivered(case: HookCase) -> None:
    """Every word of `capabilities` is kept."""
    claimed, seen = case.hook.capabilities, observe(case)
    where = f"{subject(case)}.capabilities: module `{module_name(case.hook)}`"
    requests = len(seen.run.traces)
    strange = sorted(set(claimed) - set(get_args(Capability)))
    if strange or "phi" not in claimed:
        raise ConformanceError(
            f"{where}: {', '.join(sorted(claimed)) or 'none'} claimed; `phi` is always needed, and allowed are "
            f"{', '.join(get_args(Capability))}."
        )
    for step, (index, plan) in enumerate(seen.steps()):
        given, ids = plan.committed, seen.passes[index].input_ids
        if "committed" in claimed and given is None:
            raise ConformanceError(f"{where}: `committed` is claimed, but at step {step} plan.committed is None.")
        if given is not None and (given.dtype != torch.bool or given.shape[0] != requests or given.dim() != 2):
            raise ConformanceError(
                f"{where}: plan.committed of step {step} is {given.dtype} {list(given.shape)}; "
                f"bool [{requests}, {plan.canvas}] is needed."
            )
        if "input_ids" in claimed and (ids is None or ids.dim() != 2 or ids.is_floating_point()):
            raise ConformanceError(
                f"{where}: `input_ids` is claimed, but embedding() does not receive token ids [B, L] at step {step}."
            )
    _steps_expected(case, seen, where)
    if "draft" in claimed:
        _draft_is_readable(case, seen, where)
    for row, trace in enumerate(seen.run.traces):
        if "clock" in claimed and (len(trace.clock) != len(trace.phi) + 1 or (np.diff(trace.clock) < 0).any()):
            raise ConformanceError(
                f"{where}: `clock` is claimed, but request {row} has {len(trace.clock)} readings for "
                f"{len(trace.phi)} states, lowest rise {np.diff(trace.clock).min(initial=0)}."
            )


def _steps_expected(case: HookCase, seen: Observed, where: str) -> None:
    """`expected_steps`, for budgets of several sizes, against what the example takes."""
    hook, steps = case.hook, case.steps
    taken = sorted({steps} if isinstance(steps, int) else set(steps or (trace.steps for trace in seen.run.traces)))
    for budget in sorted({1, *taken, 2 * max(taken, default=8) + 1}):
        found = hook.expected_steps(budget)
        # One number per request: this model of the family may stop early, and then None is right.
        unknown = found is None and not isinstance(steps, int | None)
        if "budget" in hook.capabilities and found != budget and not unknown:
            raise ConformanceError(f"{where}: `budget` is claimed, but expected_steps({budget}) is {found}.")
        if found is not None and not 0 < found <= budget:
            raise ConformanceError(
                f"{subject(case)}.expected_steps({budget}): says {found}. Return what a generation with this budget "
                "takes, or None where the family may stop early."
            )
    if len(taken) > 1 and hook.expected_steps(max(taken)) is not None:
        raise ConformanceError(
            f"{subject(case)}.expected_steps({max(taken)}): says {hook.expected_steps(max(taken))}, but one call of "
            f"the example takes {', '.join(map(str, taken))} steps: the family may stop early, so return None"
            f"{' and do not claim `budget`' if 'budget' in hook.capabilities else ''}."
        )


def _draft_is_readable(case: HookCase, seen: Observed, where: str) -> None:
    """At every step a row predicts each canvas position."""
    for step, (_, plan) in enumerate(seen.steps()):
        if plan.canvas is None:
            raise ConformanceError(
                f"{where}: `draft` is claimed, but step {step} has no canvas: no pass predicts the whole response."
            )
        for request in range(len(seen.tokens)):
            missing = set(range(plan.canvas)) - {at for _, at in targets(plan, request)}
            if is_active(plan, request) and missing:
                raise ConformanceError(
                    f"{where}: `draft` is claimed, but at step {step} no row predicts position {min(missing)} of "
                    f"request {request} ({len(missing)} of {plan.canvas} have none)."
                )


def silence_is_reported(case: HookCase) -> None:
    """A run that saw nothing says so, and the tapped module does run."""
    with watch(case.hook.model, hook=case.hook, request_ids=["a", "b"]) as run:
        pass
    if any(SILENT not in trace.reasons for trace in run.traces):
        raise ConformanceError(f"{subject(case)}: the model never ran, and the run does not say `{SILENT}`.")
    fired: list[None] = []
    handle = case.hook.final_norm().register_forward_hook(lambda _m, _a, _o: fired.append(None))
    try:
        case.generate(case.encoded)
    finally:
        handle.remove()
    if not fired:
        raise ConformanceError(
            f"{subject(case)}.final_norm(): module `{module_name(case.hook)}` ran 0 times in a whole generation: every "
            f"run would be unmonitored (`{SILENT}`). Name a module whose own forward is called."
        )


def relative(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    """Largest difference between two arrays of one shape [..., D], as a share of the largest number wanted."""
    return float(np.abs(found - wanted).max() / max(float(np.abs(wanted).max()), 1e-12))
