"""Passes behind a planned one, over ids of the same shape: each leaves a copy of its tokens, and what states give.

What they were is asked later, and of many at once: of passes that only differ in their tokens (`steady.py`), or of
passes that may be anything (`asked_later.py`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from sri_sdk.canvas import FollowingPasses
from sri_sdk.capture.later import MOST_WAITING
from sri_sdk.capture.pool import Pooled
from sri_sdk.capture.shift_check import ShiftCheck
from sri_sdk.errors import CaptureError
from sri_sdk.hook import Hook
from sri_sdk.records import ForwardCall, StepPlan

MOST_HELD = 64 * 2**20
"""Bytes of states kept for the check of the shift, which looks at the first steps; larger ones are looked at as they
come."""
MOST_TOKENS = 64 * 2**20
"""Bytes of token ids kept; fewer passes in a row where a batch is large."""


class FollowingRun(ABC):
    """Passes in a row behind a planned one, up to where something new begins.

    Attributes:
        open: whether a pass has begun and not reached the last norm.
        room_left: passes that may begin before somebody must look.
        shape: (B, L), of the tokens of each pass.
        states_shape: (B, L, D), of its states.
        asks: whether a family must be asked if a pass goes on; else each of that shape does.
        plan: of the pass before.
        overwritten: whether the model writes its states into memory that it gave out before.
    """

    def __init__(
        self, going: FollowingPasses, plan: StepPlan, input_ids: torch.Tensor, states: torch.Tensor, capacity: int,
        shift: ShiftCheck,
    ) -> None:  # fmt: skip
        """Takes what says whether they go on; of the pass before the plan, tokens [B, L] int64 and states [B, L, D]."""
        self._following, self.plan, self._shift = going, plan, shift
        self.shape, self.states_shape = input_ids.shape, states.shape
        self.asks = type(going).goes_on is not FollowingPasses.goes_on
        self._capacity, self._requests = capacity, len(plan.positions if plan.rows is None else plan.rows)
        self.open = self.overwritten = False
        self._empty(input_ids)

    def _empty(self, input_ids: torch.Tensor) -> None:
        """Begins with nothing behind a pass over [B, L] int64 ids."""
        with torch.inference_mode(False):
            self._ids = input_ids.new_empty((self._capacity + 1, *input_ids.shape))
            self._each = self._ids.unbind(0)
        self._each[0].copy_(input_ids)
        self._begun = self._pooled = 0
        self.room_left = self._capacity
        self._states: list[torch.Tensor] = []
        self._wanted = self._shift.steps_wanted(input_ids, self._requests)
        # The pass before has left its own states.
        last = self._shift.last_states
        self._where = set() if last is None else {last.data_ptr()}

    @property
    @abstractmethod
    def waiting(self) -> int:
        """Steps that were pooled and not taken."""

    @property
    def last_ids(self) -> torch.Tensor:
        """[B, L] int64 tensor: tokens of the last pass."""
        return self._each[self._begun]

    @property
    def full(self) -> bool:
        """Whether there is no room for another pass."""
        return not self.room_left

    @abstractmethod
    def start(self) -> None:
        """From now on the pooler takes states of passes that go on."""

    def takes(self, input_ids: torch.Tensor, kwargs: Mapping[str, Any]) -> bool:
        """Whether a pass over [B, L] int64 ids goes on as those before; the caller then begins it."""
        # The shape first: nothing else says as much for as little.
        return input_ids.shape == self.shape and self._following.goes_on(ForwardCall(input_ids, kwargs))

    def begin(self, input_ids: torch.Tensor) -> None:
        """Another pass, over [B, L] int64 ids, has begun."""
        # A copy: samplers write into their canvas.
        self._each[self._begun + 1].copy_(input_ids)
        self._begun += 1
        self.room_left -= 1
        self.open = True

    def add(self, states: list[torch.Tensor], final: torch.Tensor) -> None:
        """The pass that is open gave C tensors to pool, and `final` after the last norm, each [B, L, D].

        Raises:
            CaptureError: they have another shape than those of the pass before.
        """
        # Blocks may be wider than the last norm.
        self._check(final.shape, self.states_shape)
        for each in states:
            self._check(each.shape[:2], self.states_shape[:2])
        self._put(states)
        self._pooled += 1
        self.open = False
        if self._wanted:
            self._hold(final)

    def add_one(self, final: torch.Tensor) -> None:
        """As `add`, of the states [B, L, D] after the last norm alone, of the shape that is expected."""
        self.add([final], final)

    @abstractmethod
    def _put(self, states: list[torch.Tensor]) -> None:
        """Takes C tensors [B, L, D] of the pass that is open."""

    @staticmethod
    def _check(found: torch.Size, expected: torch.Size) -> None:
        if found != expected:
            raise CaptureError(
                f"states of shape {list(found)} after {list(expected)} in passes over the same number of tokens: which "
                "rows are which cannot be told"
            )

    def _hold(self, states: torch.Tensor) -> None:
        """Keeps the states [B, L, D] of a pass that the check of the shift will look at; no copy."""
        self._wanted -= 1
        where = states.data_ptr()
        if where in self._where:
            # What is kept is not what it was: the check of the shift begins anew, and looks at passes as they come.
            self.overwritten, self._wanted, self.room_left = True, 0, 0
            self._states.clear()
            self._shift.forget()
            return
        self._where.add(where)
        self._states.append(states)

    @abstractmethod
    def take(self) -> list[Pooled]:
        """The steps that were pooled since the last time. Closed, unless they are the last: the caller knows."""

    @abstractmethod
    def look(self) -> list[Pooled]:
        """Looks at everything that was not looked at, once, at the end of this row of passes.

        Returns:
            As `take`.
        """

    @abstractmethod
    def renew(self) -> list[Pooled]:
        """Makes room for as many passes again; all of them were pooled. Returns as `look`."""


def capacity_for(input_ids: torch.Tensor, most: int | None) -> int:
    """How many passes over [B, L] int64 ids may go in a row; `most` = steps of the generation, None = not known."""
    fitting = max(MOST_TOKENS // max(input_ids.numel() * input_ids.element_size(), 1), 1)
    return min(MOST_WAITING, fitting, MOST_WAITING if most is None else max(most, 1))


def holds_too_much(states: torch.Tensor, passes: int) -> bool:
    """Whether keeping the states [B, L, D] of that many passes is too much."""
    return passes * states.numel() * states.element_size() > MOST_HELD


def is_plain(tensors: Iterable[torch.Tensor]) -> bool:
    """Whether tensors of any shape [...] are like any: subclasses need not mix with the tap's own memory."""
    return all(type(each) is torch.Tensor for each in tensors)


def says_how_it_goes_on(hook: Hook) -> bool:
    """Whether `hook.steady` speaks of the `plan` that the hook has: of the same class, and not of a parent's."""
    if "plan" in vars(hook) or "steady" in vars(hook):
        return False
    return _same_hand(type(hook))


def _home(kind: type, name: str) -> type | None:
    for each in kind.__mro__:
        if name in vars(each):
            return each
    return None


def _same_hand(kind: type) -> bool:
    plan, steady = _home(kind, "plan"), _home(kind, "steady")
    if plan is None or steady is None or steady is Hook or not issubclass(steady, plan):
        return False
    # What stands in its place at run time, as a spy, wants to hear of every pass.
    return getattr(vars(plan)["plan"], "__qualname__", "") == f"{plan.__qualname__}.plan"
