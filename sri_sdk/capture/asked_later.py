"""Passes of which the hook is asked later, many at once: blocks that move, and passes that turn out to be no steps.

A pass costs a copy of its tokens and one of its states (or their sum, where rows stay where they are). What it was is
asked when there are many (`sri_sdk.canvas.LaterPasses`), and all looks at the tokens come then, of all of them at once.
Only where nobody decides meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sri_sdk.canvas import LaterPasses
from sri_sdk.capture.coverage import CoverageTracker
from sri_sdk.capture.faults import Faults
from sri_sdk.capture.following import FollowingRun
from sri_sdk.capture.kept import KeptStates, capacity_of
from sri_sdk.capture.pool import Pooled, Pooler, SteadyPool
from sri_sdk.capture.shift_check import ShiftCheck
from sri_sdk.capture.tamper import TamperSigns
from sri_sdk.errors import CaptureError
from sri_sdk.records import RunView, StepPlan

FEWEST = 4
"""Passes in a row for which it pays."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """Who is told what passes were."""

    view: RunView
    coverage: CoverageTracker
    shift: ShiftCheck
    tamper: TamperSigns
    faults: Faults


class AskedLater(FollowingRun):
    """Passes behind a planned one, over ids of the same shape, up to where somebody asks what they were."""

    def __init__(
        self, going: LaterPasses, plan: StepPlan, input_ids: torch.Tensor, states: torch.Tensor, pooler: Pooler,
        room: SteadyPool | None, capacity: int, *, to: Listeners, kept: KeptStates | None, counts: bool,
    ) -> None:  # fmt: skip
        """As `FollowingRun`, behind tokens [B, L] int64 and states [B, L, D].

        Where rows may move, `kept` takes their states, else `room` their sums. `counts` = somebody asks how many
        positions were committed.
        """
        self._later, self._to, self._counts = going, to, counts
        self._pooler, self._room, self._kept = pooler, room, kept
        super().__init__(going, plan, input_ids, states, capacity, to.shift)

    @classmethod
    def of(
        cls, going: LaterPasses, last: tuple[StepPlan, torch.Tensor, list[torch.Tensor], torch.Tensor], pooler: Pooler,
        capacity: int, *, to: Listeners, counts: bool,
    ) -> AskedLater | None:  # fmt: skip
        """Room for up to `capacity` passes behind the `last` one: its plan, ids [B, L], C tensors and final [B, L, D].

        None = there is no room, or the profile must know of each pass what it committed.
        """
        plan, ids, states, final = last
        room: SteadyPool | None = None
        kept: KeptStates | None = None
        if not going.moves:
            room = pooler.steady(states, plan, capacity)
        elif pooler.by_plan_alone and (capacity := capacity_of(states, capacity)) >= FEWEST:
            kept = KeptStates(states, capacity)
        if room is None and kept is None:
            return None
        return cls(going, plan, ids, final, pooler, room, capacity, to=to, kept=kept, counts=counts)

    def _empty(self, input_ids: torch.Tensor) -> None:
        super()._empty(input_ids)
        if self._wanted and self._kept is not None:
            # Nobody knows yet which of them are the steps whose states are wanted.
            self._wanted = self._capacity

    @property
    def waiting(self) -> int:
        """None: what was pooled are no steps yet."""
        return 0

    def start(self) -> None:
        """From now on states go where those of passes go that are asked about later."""
        if self._room is not None:
            self._pooler.room = self._room

    def _put(self, states: list[torch.Tensor]) -> None:
        if self._kept is None:
            self._pooler.add(states, self.plan)
            return
        # The room was made for the first pass: another dtype would be rounded to its.
        if (found := [each.dtype for each in states]) != self._kept.dtypes:
            raise CaptureError(
                f"states of {', '.join(map(str, found))} after {', '.join(map(str, self._kept.dtypes))} in passes over "
                "the same number of tokens: they would be rounded. Generate in one dtype"
            )
        self._kept.add(states)

    def take(self) -> list[Pooled]:
        """Nothing, before somebody looks."""
        return []

    def look(self) -> list[Pooled]:
        """Asks what the passes were, and looks at all of them; returns the steps. At the end of this row of passes."""
        self._pooler.room = None
        count = self._begun
        if count == 0:
            return []
        ids, before, to = self._ids[: count + 1], self.plan, self._to
        plans, read = self._ask(ids[1:])
        to.view.steps -= plans.count(None)
        to.coverage.shown_later(ids, plans, read)
        to.shift.begins_later(ids, [before, *plans], self._states)
        self._states = []
        steps = [index for index, plan in enumerate(plans) if plan is not None]
        if self.open and plans[-1] is None:
            # It owes no states.
            self.open = False
        if not steps:
            return []
        known = [plan for plan in plans if plan is not None]
        self.plan = known[-1]
        to.coverage.planned(self.plan)
        shown = ids[1:]
        to.tamper.shown_later(shown if len(steps) == count else shown[torch.tensor(steps, device=ids.device)], known)
        given = [index for index in steps if index < self._pooled]
        return self._steps(given, known[: len(given)])

    def _ask(self, input_ids: torch.Tensor) -> tuple[list[StepPlan | None], list[bool]]:
        """What the passes over [S, B, L] int64 ids were, and in which of them somebody read a finished text."""
        view, plans, read = self._to.view, list[StepPlan | None](), list[bool]()
        with self._to.faults.isolated():
            for plan in self._later.plans(input_ids):
                plans.append(plan)
                read.append(view.reading is not None)
                view.reading = None
        missing = len(input_ids) - len(plans)
        return plans + [None] * missing, read + [False] * missing

    def _steps(self, passes: list[int], plans: list[StepPlan]) -> list[Pooled]:
        """The steps among the passes that gave states, N of each."""
        if not passes:
            return []
        if self._kept is not None:
            phi = self._kept.pool(passes, plans).unbind(0)
        else:
            assert self._room is not None
            means = self._room.take(0, self._pooled, None, None)
            phi = tuple(means[index].phi for index in passes)
        known = [plan.committed for plan in plans if plan.committed is not None] if self._counts else []
        counts = torch.stack(known).sum(2).unbind(0) if len(known) == len(plans) else (None,) * len(plans)
        return [Pooled(mean, plan.active, count) for mean, plan, count in zip(phi, plans, counts, strict=True)]

    def renew(self) -> list[Pooled]:
        """Makes room for as many passes again; all of them were pooled. Returns as `look`."""
        steps = self.look()
        for room in (self._room, self._kept):
            if room is not None:
                room.renew()
        self._empty(self.last_ids)
        self.start()
        return steps
