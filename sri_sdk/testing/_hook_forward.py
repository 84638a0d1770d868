"""Checks of driven passes: `forward()`, and a response that a driver has started."""

from __future__ import annotations

from typing import Any

import torch

from sri_sdk.capture.watch import watch
from sri_sdk.errors import ConformanceError, SriError
from sri_sdk.records import ForwardOutput
from sri_sdk.testing._hook_case import (
    HookCase,
    batch_row,
    by_length,
    module_name,
    recording,
    response,
    subject,
)  # fmt: skip
from sri_sdk.testing._hook_states import COMPANY

SOME = 8
"""Open positions, where no more is asked than whether a pass is refused."""
STARTED = 2
"""Response tokens that are there before the first pass."""


def is_offered(case: HookCase) -> bool:
    """Whether `forward()` does not refuse: families whose passes need more than tokens raise an SriError."""
    try:
        with torch.no_grad():
            case.hook.forward(*first_text(case, SOME))
    except SriError:
        return False
    except Exception:
        return True
    return True


def forward_is_the_model(case: HookCase) -> None:
    """`forward()`: the model's own logits row by row, padding inert, and a cache that holds what was shown."""
    where = f"{subject(case)}.forward()"
    ids, mask = first_text(case, response(case.generate(case.encoded), case.encoded).shape[1])
    output = _forward(case, ids, mask)
    logits = getattr(output, "logits", None)
    if not isinstance(output, ForwardOutput) or logits is None or logits.shape[:2] != ids.shape:
        found = type(output).__name__ if logits is None else f"{type(output).__name__} of {list(logits.shape)}"
        raise ConformanceError(f"{where}: returns {found}; a ForwardOutput with logits {[*ids.shape, 'V']} is needed.")
    _rows_stay(case, ids, mask, logits, where)
    _one_pass_as_it_is(case, ids, mask, where)
    _padding_is_inert(case, ids, mask, logits, where)
    _last_rows_are_the_same(case, ids, mask, logits)
    if case.hook.scheme == "autoregressive":
        _cache_goes_on(case, ids, mask, logits, where)


def first_text(case: HookCase, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and mask [B, L] as a sampler shows them at first: the prompts, and `width` open positions if masked."""
    encoded, hole = case.encoded, case.hook.mask_id()
    ids, mask = encoded.input_ids, encoded.attention_mask
    if case.hook.scheme == "autoregressive" or hole is None:
        return ids, mask
    canvas = ids.new_full((len(ids), width), hole)
    return torch.cat([ids, canvas], dim=1), torch.cat([mask, torch.ones_like(canvas)], dim=1)


def _forward(case: HookCase, *args: Any, **options: Any) -> ForwardOutput:
    try:
        with torch.no_grad():
            return case.hook.forward(*args, **options)
    except Exception as err:
        shapes = ", ".join("None" if x is None else str(list(getattr(x, "shape", [type(x).__name__]))) for x in args)
        raise ConformanceError(
            f"{subject(case)}.forward({shapes}): raised {type(err).__name__}: {err}. Take what the base does, or raise "
            "an SriError at every pass if the family cannot be driven."
        ) from err


def _one_pass_as_it_is(case: HookCase, ids: torch.Tensor, mask: torch.Tensor, where: str) -> None:
    """One pass over [B, L] ids, and the [B, L, V] logits that the model itself put out, where its forward is called."""
    passes: list[None] = []
    own: list[torch.Tensor] = []

    def note(_module: Any, _args: Any, output: Any) -> None:
        found = getattr(output, "logits", output)
        if isinstance(found, torch.Tensor):
            own.append(found)

    handles = [
        case.hook.embedding().register_forward_hook(lambda *_: passes.append(None)),
        case.hook.model.register_forward_hook(note),
    ]
    try:
        given = _forward(case, ids, mask).logits
    finally:
        for handle in handles:
            handle.remove()
    if len(passes) != 1:
        raise ConformanceError(f"{where}: makes {len(passes)} passes. One, or a watch counts steps that are none.")
    # Rows with padding may be laid out in other columns inside.
    row, width = by_length(case.encoded)[-1], ids.shape[1]
    for found in own:
        if found.dim() == 3 and found.shape[1] >= width and not torch.equal(found[row, :width], given[row]):
            raise ConformanceError(
                f"{where}: the model put out logits between {float(found[row, :width].min()):.2g} and "
                f"{float(found[row, :width].max()):.2g} for request {row}, forward() returns numbers between "
                f"{float(given[row].min()):.2g} and {float(given[row].max()):.2g}. Return the model's logits, "
                "unshifted and as they are: samplers divide them by a temperature."
            )


def _padding_is_inert(case: HookCase, ids: torch.Tensor, mask: torch.Tensor, logits: torch.Tensor, where: str) -> None:
    row = by_length(case.encoded)[0]
    real = mask[row].bool()
    own, only = ids[row][real][None], mask[row][real][None]
    single = _forward(case, own, only).logits[0]
    gap = _gap(logits[row][real], single)
    if not gap <= COMPANY:
        raise ConformanceError(
            f"{where}: the logits of request {row}, which has {int((~real).sum())} columns of padding, move by "
            f"{gap:.2g} of their size without it ({COMPANY:g} allowed). Pass `attention_mask` on to the model, and "
            "positions that count from the first real token."
        )
    if not (gap := _gap(_forward(case, own).logits[0], single)) <= COMPANY:
        raise ConformanceError(
            f"{where}: without `attention_mask`, the logits of a prompt without padding move by {gap:.2g} of their "
            f"size ({COMPANY:g} allowed). None means that there is no padding."
        )


def _gap(one: torch.Tensor, two: torch.Tensor) -> float:
    """Largest difference of two [L, V] logits, as a share of the largest; infinite where only one is finite."""
    if one.shape != two.shape or bool((torch.isfinite(one) != torch.isfinite(two)).any()):
        return float("inf")
    finite = torch.isfinite(one)
    return float((one - two)[finite].abs().max() / one[finite].abs().max().clamp(min=1e-12))


def _last_rows_are_the_same(case: HookCase, ids: torch.Tensor, mask: torch.Tensor, logits: torch.Tensor) -> None:
    """Asked for its last rows, a pass gives those of the [B, L, V] logits, whatever it gives before them."""
    with torch.no_grad():
        found = case.hook.forward_last(STARTED, ids, mask).logits
    rows = found.shape[1]
    gap = float("inf") if rows < STARTED else max(
        _gap(one[-STARTED:], two[-STARTED:]) for one, two in zip(logits, found, strict=True)
    )  # fmt: skip
    if not gap <= COMPANY:
        raise ConformanceError(
            f"{subject(case)}.forward_last({STARTED}): returns {rows} rows of logits, and the last {STARTED} are not "
            f"those of forward() ({gap:.2g} of their size, {COMPANY:g} allowed). Count rows from the end, or leave the "
            "method to the base, which goes by forward()."
        )


def _rows_stay(case: HookCase, ids: torch.Tensor, mask: torch.Tensor, logits: torch.Tensor, where: str) -> None:
    """The state of a row makes the [B, L, V] logits of that row."""
    longest, row = by_length(case.encoded)[-1], ids.shape[1] - 2

    def turn(_module: Any, _args: Any, output: Any) -> Any:
        states = (output[0] if isinstance(output, tuple) else output).clone()
        if states.shape[0] > longest and states.shape[1] > row:
            states[longest, row] = -states[longest, row]
        return (states, *output[1:]) if isinstance(output, tuple) else states

    handle = case.hook.final_norm().register_forward_hook(turn)
    try:
        turned = _forward(case, ids, mask).logits
    finally:
        handle.remove()
    moved = (turned[longest] != logits[longest]).any(-1).nonzero()[:, 0].tolist()
    if moved != [row]:
        raise ConformanceError(
            f"{where}: the state of row {row} (module `{module_name(case.hook)}`) makes the logits of row "
            f"{', '.join(map(str, moved)) or 'none'}. Return the model's logits unshifted: samplers go by shift()."
        )


def _cache_goes_on(case: HookCase, ids: torch.Tensor, mask: torch.Tensor, logits: torch.Tensor, where: str) -> None:
    try:
        with torch.no_grad():
            case.hook.forward(ids, mask, use_cache=True)
    except SriError:
        return  # It says that this model cannot be driven.
    except Exception as err:
        raise ConformanceError(f"{where}: with use_cache=True it raised {type(err).__name__}: {err}.") from err
    first = _forward(case, ids[:, :-1], mask[:, :-1], use_cache=True)
    # Another sampler, side by side.
    _forward(case, ids[:, :-1].flip(0), mask[:, :-1].flip(0), use_cache=True)
    then = _forward(case, ids[:, -1:], mask, first.cache, use_cache=True)
    gap = float("inf") if then.logits.shape[1] != 1 else max(
        _gap(one[-1:], two) for one, two in zip(logits, then.logits, strict=True)
    )  # fmt: skip
    if not gap <= COMPANY:
        raise ConformanceError(
            f"{where}: the last token behind a cache of the others gives other logits than a pass over all "
            f"({gap:.2g} of their size, {COMPANY:g} allowed). Hand `cache` and the mask of everything on to the model, "
            "and keep neither on the hook."
        )


def started_response_is_found(case: HookCase) -> None:
    """A response that begins with tokens: `run.response` says where it lies, and masks do not."""
    tokens = response(case.generate(case.encoded), case.encoded)
    width, size = case.encoded.input_ids.shape[1], tokens.shape[1]
    ids, mask = first_text(case, size)
    ids = ids.clone()
    ids[:, width : width + STARTED] = tokens[:, :STARTED]
    requests = [str(row) for row in range(len(ids))]
    with recording(case.hook) as passes, watch(case.hook.model, hook=case.hook, request_ids=requests) as run:
        run.starts(width, size)
        _forward(case, ids, mask)
    where = f"{subject(case)}.plan(): a response of {size} positions from column {width} on, {STARTED} of them given"
    cure = "Where `run.response` is set, that is the canvas: (column, positions)."
    plan = passes[0].plan if passes else None
    if run.failure is not None or plan is None:
        raise ConformanceError(f"{where}: {run.failure or 'plan() calls it no step'}. {cure}")
    for request in range(len(ids)):
        found = plan.positions[batch_row(plan, request), width:].tolist()
        if found != list(range(size)):
            raise ConformanceError(
                f"{where}: request {request} has positions {', '.join(map(str, found[:4]))} ... in these columns, "
                f"0 to {size - 1} expected. {cure}"
            )
        told = None if plan.committed is None else plan.committed[request].nonzero()[:, 0].tolist()
        if told not in (None, list(range(STARTED))):
            raise ConformanceError(f"{where}: `committed` has {told} for request {request}. {cure}")
    if plan.canvas not in (None, size):
        raise ConformanceError(f"{where}: canvas is {plan.canvas}. {cure}")
