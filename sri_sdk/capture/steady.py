"""Steady passes of a run: per pass one copy of the tokens and one reduction; all looks at them come later, at once.

A pass that goes on as the one before (`sri_sdk.canvas.SteadyPasses`) means nothing new. So its tokens are copied into
memory that is there already, its states are pooled, and that is all. What they say is read in one go: who is still
generating, what was committed, signs of tampering, the check of the shift, whether a finished text was changed. It
comes to the same as asking pass by pass, and is read before anybody is told anything.
"""

from __future__ import annotations

import torch

from sri_sdk.canvas import SteadyPasses
from sri_sdk.capture.coverage import CoverageTracker
from sri_sdk.capture.following import FollowingRun
from sri_sdk.capture.pool import Pooled, Pooler, SteadyPool
from sri_sdk.capture.shift_check import ShiftCheck
from sri_sdk.capture.tamper import TamperSigns
from sri_sdk.records import StepPlan


class SteadyRun(FollowingRun):
    """Passes that are steps and differ in their tokens alone."""

    def __init__(
        self, going: SteadyPasses, plan: StepPlan, input_ids: torch.Tensor, states: torch.Tensor, pooler: Pooler,
        room: SteadyPool, capacity: int, *, coverage: CoverageTracker, shift: ShiftCheck, tamper: TamperSigns,
        counts: bool,
    ) -> None:  # fmt: skip
        """As `FollowingRun`, behind tokens [B, L] int64 and states [B, L, D].

        `counts` = somebody asks how many positions were committed.
        """
        self._going, self._pooler, self._room = going, pooler, room
        self._coverage, self._tamper, self._counts = coverage, tamper, counts
        super().__init__(going, plan, input_ids, states, capacity, shift)

    def _empty(self, input_ids: torch.Tensor) -> None:
        super()._empty(input_ids)
        self._given = 0
        self._active: list[torch.Tensor] = []

    @property
    def waiting(self) -> int:
        """Passes that were pooled and not taken."""
        return self._pooled - self._given

    def start(self) -> None:
        """From now on the pooler takes states of passes that go on."""
        self._pooler.room = self._room

    def add_one(self, final: torch.Tensor) -> None:
        """The pass that is open gave [B, L, D] after the last norm, of the shape that is expected, and that is all."""
        # Nearly every pass comes by here, so it is written out.
        self._room.add_one(final)
        self._pooled += 1
        self.open = False
        if self._wanted:
            self._hold(final)

    def _put(self, states: list[torch.Tensor]) -> None:
        self._pooler.add(states, self.plan)

    def take(self) -> list[Pooled]:
        """The steps that were pooled since the last time. Closed, unless they are the last: the caller knows."""
        start, self._given = self._given, self._pooled
        if start == self._given:
            return []
        active, committed = self._read(start, self._given)
        # Only where the look waits for no device: what is pooled of all rows costs less.
        if active is not None and active.device.type == "cpu" and bool(active.all()):
            active = None
        if self._given - start == 1:
            return [self._room.take_one(start, active, committed)]
        return self._room.take(start, self._given, active, committed)

    def _read(self, start: int, stop: int) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        said = self._going.read(self._ids[start + 1 : stop + 1])
        if said.active is not None:
            self._active.append(said.active)
        return said.active, said.committed if self._counts else None

    def look(self) -> list[Pooled]:
        """Looks at everything that was not looked at, once, at the end of this row of passes.

        Returns:
            As `take`.
        """
        steps = self.take()
        self._pooler.room = None
        if self.open:
            # It began, so what it showed counts; it gave no states, so it is no step.
            self._read(self._begun - 1, self._begun)
        ids, plan = self._ids[: self._begun + 1], self.plan
        if self._begun == 0:
            return steps
        active = (self._active[0] if len(self._active) == 1 else torch.cat(self._active)) if self._active else None
        self._going.verify(ids[1:])
        self._coverage.shown_steady(ids, active)
        self._shift.begins_steady(ids, plan, active, self._states)
        self._tamper.shown_steady(ids[1:], plan, active)
        self._states, self._active = [], []
        return steps

    def renew(self) -> list[Pooled]:
        """Makes room for as many passes again; all of them were pooled. Returns as `look`."""
        steps = self.look()
        self._room.renew()
        self._empty(self.last_ids)
        self.start()
        return steps
