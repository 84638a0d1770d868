"""The passes of a generation that is made again: each canvas goes through the model unsteered, and its run measures it.

In a steered step it goes through once more, steered and unheard, and the sampler gets those logits. So the guard never
reads a state that was steered, and the steering still decides what is said.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from sri_sdk.capture.tap import tap_of
from sri_sdk.hook import Hook
from sri_sdk.records import ForwardOutput
from sri_sdk.steer.recovery.steering import Steer


@dataclass(frozen=True, slots=True)
class Course:
    """What is asked of one row."""

    steered: range = range(0)
    """Steps that are steered."""
    kept: tuple[int, ...] = ()
    """Tokens of the first steps, of an autoregressive row that goes on from there."""


class _Caches:
    """What stands for the model's cache where a generation has two: of unsteered and of steered passes."""

    def __init__(self, plain: Any, steered: Any) -> None:
        self.plain, self.steered = plain, steered


class Passes:
    """Runs the passes that a sampler asks for; for its eyes it is the hook.

    Attributes:
        step: the step that runs, counted from 0; whoever drives the sampler sets it.
        calls: passes that the sampler asked for so far.
    """

    def __init__(self, hook: Hook, courses: list[Course], steer: Steer | None) -> None:
        """Takes the hook, one course per row, and what steers; None = nothing does."""
        self._hook, self._courses, self._steer = hook, courses, steer
        self.step = self.calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._hook, name)

    def cost(self, row: int) -> int:
        """Forward passes that a pass of this step takes of a row: two where it is steered."""
        return 1 + (self._steer is not None and self.step in self._courses[row].steered)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, cache: Any = None,
        *, use_cache: bool = False,
    ) -> ForwardOutput:  # fmt: skip
        """One pass as `Hook.forward` has it, [B, L] int64 tokens; B may be twice the rows under guidance."""
        return self._pass(self._hook.forward, input_ids, attention_mask, cache, use_cache)

    def forward_last(
        self, last: int, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, cache: Any = None,
        *, use_cache: bool = False,
    ) -> ForwardOutput:  # fmt: skip
        """One pass as `Hook.forward_last` has it, [B, L] int64 tokens."""
        return self._pass(partial(self._hook.forward_last, last), input_ids, attention_mask, cache, use_cache)

    def _pass(
        self, forward: Callable[..., ForwardOutput], input_ids: torch.Tensor, attention_mask: torch.Tensor | None,
        cache: Any, use_cache: bool,
    ) -> ForwardOutput:  # fmt: skip
        self.calls += 1
        now = [self._steer is not None and self.step in course.steered for course in self._courses]
        plain_cache, steered_cache = (cache.plain, cache.steered) if isinstance(cache, _Caches) else (cache, None)
        if any(now) and steered_cache is None and plain_cache is not None:
            # Nothing was steered so far, so both generations have read the same.
            steered_cache = copy.deepcopy(plain_cache)
        with nullcontext() if self._steer is None else self._steer.off():
            plain = forward(input_ids, attention_mask, plain_cache, use_cache=use_cache)
        if self._steer is None or not any(now):
            # A cache of steered passes that missed one is of no use.
            return ForwardOutput(self._kept(plain.logits), _Caches(plain.cache, None) if use_cache else None)
        rows = torch.tensor(now, device=input_ids.device)
        with tap_of(self._hook.model).unheard(), self._steer.on(rows):
            steered = forward(input_ids, attention_mask, steered_cache, use_cache=use_cache)
        # Under guidance every row stands there twice.
        on = rows.repeat(len(input_ids) // len(now))[:, None, None]
        logits = torch.where(on.to(plain.logits.device), steered.logits, plain.logits)
        return ForwardOutput(self._kept(logits), _Caches(plain.cache, steered.cache) if use_cache else None)

    def _kept(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits [B, L, V] under which every row that goes on from somewhere says again what it has said."""
        again = [(row, each.kept[self.step]) for row, each in enumerate(self._courses) if self.step < len(each.kept)]
        if not again:
            return logits
        logits = logits.clone()
        for row, token in again:
            logits[row, -1] = float("-inf")
            logits[row, -1, token] = 0.0
        return logits
