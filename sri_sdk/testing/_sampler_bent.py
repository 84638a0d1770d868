"""A hook that answers otherwise for a while: with predictions that the kit planted, or with other special tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from sri_sdk.hook import Hook
from sri_sdk.records import ForwardOutput
from sri_sdk.testing._sampler_case import SamplerCase

SURE = 1e4
"""Logit of a planted prediction; no noise of a usual temperature reaches it."""

Edit = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(token ids [B, L] of a pass, its logits [B, L, V]) -> the logits to give."""


@contextmanager
def answering(hook: Hook, **answers: Callable[..., Any]) -> Iterator[None]:
    """Methods of this one hook, replaced."""
    own = {name: vars(hook)[name] for name in answers if name in vars(hook)}
    vars(hook).update(answers)
    try:
        yield
    finally:
        for name in answers:
            vars(hook).pop(name)
        vars(hook).update(own)


@contextmanager
def predicting(
    case: SamplerCase, edit: Edit, translate: Callable[[torch.Tensor], torch.Tensor] = lambda ids: ids,
    **answers: Callable[..., Any],
) -> Iterator[None]:  # fmt: skip
    """The case's hook, with its logits edited and other answers given; `translate` makes the ids that its model gets
    of those that the sampler passes, [B, L] both."""  # fmt: skip
    inner = case.hook.forward

    def forward(input_ids: torch.Tensor, *args: Any, **options: Any) -> ForwardOutput:
        output = inner(translate(input_ids), *args, **options)
        return replace(output, logits=edit(input_ids, output.logits.clone()))

    with answering(case.hook, forward=forward, **answers):
        yield


def flat(_ids: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """[B, L, V]: every token as likely as any other, so that whatever is drawn shows."""
    return torch.zeros_like(logits)


def sharp(_ids: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """[B, L, V]: the same predictions, without any doubt."""
    return logits * SURE


def favouring(token: int) -> Edit:
    """[B, L, V]: one token everywhere, without any doubt."""

    def edit(_ids: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        logits[..., token] = SURE
        return logits

    return edit


def words(case: SamplerCase) -> list[int]:
    """Tokens that are neither special nor in a prompt of the case."""
    encoded = case.encoded
    with torch.inference_mode():
        size = case.hook.forward(encoded.input_ids, encoded.attention_mask).logits.shape[-1]
    taken = {case.hook.mask_id(), *case.hook.eos_ids(), *encoded.input_ids.flatten().tolist()}
    return [token for token in range(size) if token not in taken]
