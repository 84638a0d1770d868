"""The check of the capability `request`: what a run reads of each prompt, against the model's own states.

No repeated token stands in a prompt here, so the tokens of a pass say by themselves which places are which of its
columns. Each reading is compared with the states of that very generation: to some models a padded prompt is another one
than the same without padding, as where blocks are counted over padding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

import numpy as np
import torch

from sri_sdk.capture.request import Span
from sri_sdk.capture.run import Run
from sri_sdk.capture.settings import Layers
from sri_sdk.capture.watch import watch
from sri_sdk.errors import ConformanceError
from sri_sdk.records import Encoded
from sri_sdk.testing._hook_case import Generate, HookCase, alone, by_length, copy_of, response, subject
from sri_sdk.testing._hook_forward import STARTED, first_text, is_offered
from sri_sdk.testing._hook_request_passes import (
    Enough,
    Part,
    Reading,
    first_places,
    free_tokens,
    prompts_of,
    recording,
    without_repeats,
)
from sri_sdk.testing._hook_request_said import why
from sri_sdk.testing._hook_states import MEAN, relative

FINAL: Layers = ("final",)


def claims_requests(case: HookCase) -> bool:
    """Whether the hook says that it can tell which tokens of a prompt a pass shows."""
    return "request" in case.hook.capabilities


def request_is_the_mean(case: HookCase) -> None:
    """Mean states of requests in a batch, alone, driven, under guidance and before a response that was started."""
    case = replace(case, encoded=without_repeats(case))
    tokens, plain, parts, layers = _plain(case)
    inner = [part.inner() for part in parts]
    read, run = _read(case, "in the batch", inner, stops=False)
    _nothing_changes(case, (plain, tokens), (run, read))
    _read(case, "in the batch, of other layers as well", parts, layers=layers)
    if case.batched:
        order = by_length(case.encoded)
        for row, how in ((order[0], "alone and without its padding"), (order[-1], "alone")):
            single = alone(case.encoded, row)
            _read(replace(case, encoded=single), how, [Part(0, 0, single.input_ids.shape[1])])
    if case.generate_guided is not None:
        _read(replace(case, generate=case.generate_guided), "under guidance", inner)
    _driven(case, response(tokens, case.encoded).shape[1])


def _plain(case: HookCase) -> tuple[torch.Tensor, Run, list[Part], Layers]:
    """[B, L] tokens without a look at the requests, the run, where each whole prompt stands, and what can be read.

    That is the last norm, with the first and the last block where their states have the same width: a guard has one.
    """
    layers: Layers = tuple(dict.fromkeys((0, len(case.hook.layers()) - 1, "final")))
    with recording(case.hook, layers) as passes, _watch(case, None) as run:
        tokens = case.generate(copy_of(case.encoded))
    widths = {layer: {each.states[layer].shape[-1] for each in passes if layer in each.states} for layer in layers}
    layers = tuple(layer for layer in layers if widths[layer] == widths["final"])
    prompts, parts = prompts_of(case.encoded), []
    for request, prompt in enumerate(prompts):
        places = first_places(passes, prompts, request)
        # A token that the response has as well is no sign that its prompt was shown.
        last = max((place.index for place in places[1:] if place is not None), default=len(passes))
        lost = [at for at, place in enumerate(places) if place is None or (not at and place.index > last)]
        start = places[0]
        if lost or start is None:
            raise ConformanceError(
                f"{subject(case)}: no pass shows token {lost[0]} of the prompt of request {request} ({len(lost)} of "
                f"{len(prompt)} are missing). Name the embedding that reads prompts in embedding(), or in "
                "prompt_modules() where it is another one; and let the call of the example show whole prompts."
            )
        # A family's own call may pad otherwise than it is given prompts, on the right or up to whole blocks: what the
        # passes show counts. Behind the first pass they are parts of the prompt, one after the other.
        first = start.place + sum(len(each.ids[0]) for each in passes[: start.index])
        parts.append(Part(first, 0, len(prompt)))
    return tokens, run, parts, layers


def _watch(
    case: HookCase, spans: Sequence[Span] | None, layers: Layers = FINAL
) -> AbstractContextManager[Run]:  # fmt: skip
    ids = [str(row) for row in range(len(case.encoded.input_ids))]
    return watch(case.hook.model, hook=case.hook, request_ids=ids, request_spans=spans, layers=layers)


def _read(
    case: HookCase, how: str, parts: Sequence[Part], *, layers: Layers = FINAL, stops: bool = True,
    begin: Callable[[Run], None] = lambda run: None,
) -> tuple[torch.Tensor | None, Run]:  # fmt: skip
    """Reads a part of each prompt and compares.

    Args:
        case: hook, prompts and call.
        how: the reading, in words.
        parts: one per prompt.
        layers: what is read.
        stops: whether the generation may stop once the prompts were read; it costs time and shows nothing new.
        begin: called before the first pass.

    Returns:
        [B, L] tokens of the call, None where it was stopped; and the run.

    Raises:
        ConformanceError: what was read is not the mean of the states, or reading failed.
    """
    prompts = prompts_of(case.encoded)
    tokens: torch.Tensor | None = None
    with recording(case.hook, layers, prompts if stops else None) as passes:
        try:
            with _watch(case, [part.span for part in parts], layers) as run:
                begin(run)
                tokens = case.generate(copy_of(case.encoded))
        except Enough:
            pass
    if run.request is None and stops and tokens is None:
        # The prompt is read long before the first step, and without one a run has read nothing.
        return _read(case, how, parts, layers=layers, stops=False, begin=begin)
    _compare(case, Reading(how, prompts, parts, layers, passes), run)
    return tokens, run


def _compare(case: HookCase, reading: Reading, run: Run) -> None:
    """What a run read of each request against a float64 mean of the states that the kit recorded."""
    where = f"{subject(case)}.prompt_columns(): {reading.how}"
    found = run.request
    if found is None or (run.failure is not None and not found.complete.all()):
        raise ConformanceError(f"{where}: requests cannot be read: {run.failure or 'no pass was a step'}.")
    for request, part in enumerate(reading.parts):
        if None in reading.places(request)[part.begin : part.end]:
            raise ConformanceError(f"{where}: no pass shows all of the prompt of request {request}.")
        gap = float("inf")
        if found.complete[request]:
            gap = max(
                relative(found.states[request, at], np.mean(reading.states(request, layer), axis=0))
                for at, layer in enumerate(reading.layers)
            )
        if gap <= MEAN:
            continue
        far = "was not read" if gap == float("inf") else f"is {gap:.2g} away from its mean ({MEAN:g} allowed)"
        raise ConformanceError(
            f"{where}: the part of request {request} at columns {part.span[0]} to {part.span[1] - 1} {far}. "
            f"{why(reading, request)}"
        )


def _nothing_changes(
    case: HookCase, plain: tuple[Run, torch.Tensor], read: tuple[Run, torch.Tensor | None]
) -> None:  # fmt: skip
    """Reading requests costs neither tokens [B, L] nor the signal."""
    where, cure = f"{subject(case)}.prompt_columns()", "Change neither what it is given nor what plan() goes by."
    if read[1] is None or not torch.equal(plain[1], read[1]):
        raise ConformanceError(f"{where}: the tokens are others when the requests are read. {cure}")
    for row, (one, other) in enumerate(zip(plain[0].traces, read[0].traces, strict=True)):
        if one.reasons != other.reasons or not np.array_equal(one.phi, other.phi, equal_nan=True):
            raise ConformanceError(
                f"{where}: the signal of request {row} is another when the requests are read: {one.steps} steps "
                f"({', '.join(one.reasons) or 'nothing to doubt'}) without, {other.steps} with "
                f"({', '.join(other.reasons) or 'nothing to doubt'}). {cure}"
            )


def _driven(case: HookCase, size: int) -> None:
    """Passes of a driver: the prompt whole, and before a response of `size` positions that was started."""
    hook, width = case.hook, case.encoded.input_ids.shape[1]
    masks, started = case.encoded.attention_mask.tolist(), free_tokens(case)[:STARTED]
    parts = [Part(mask.index(1), 0, sum(mask)) for mask in masks]
    if hook.scheme == "autoregressive":
        more = torch.tensor([started] * len(masks), device=case.encoded.input_ids.device)
        longer = Encoded(
            torch.cat([case.encoded.input_ids, more], 1),
            torch.cat([case.encoded.attention_mask, torch.ones_like(more)], 1),
        )
        _read(replace(case, encoded=longer), "before a response that was started", parts)
    if hook.scheme == "canvas" or not is_offered(case):
        return
    ids, seen = first_text(case, size)
    _read(replace(case, generate=_one_pass(case, ids, seen)), "in one pass of forward()", parts)
    if hook.scheme == "masked" and hook.block_length() is None:
        ids = ids.clone()
        ids[:, width : width + STARTED] = ids.new_tensor(started)
        _read(
            replace(case, generate=_one_pass(case, ids, seen)), "before a response that was started", parts,
            begin=lambda run: run.starts(width, size),
        )  # fmt: skip


def _one_pass(case: HookCase, ids: torch.Tensor, seen: torch.Tensor) -> Generate:
    """`forward()` over [B, L] ids, `seen` [B, L] being 0 at padding, as something that is called with prompts."""

    def run_once(_prompts: Encoded) -> torch.Tensor:
        with torch.no_grad():
            return case.hook.forward(ids, seen).logits.argmax(-1)

    return run_once
