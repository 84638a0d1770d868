"""Masked and canvas models: the mean over positions of the canvas, of one pass."""

from __future__ import annotations

import torch

from sri_sdk.capture.pool import Pooled, Pooler, SteadyPool, steps_of
from sri_sdk.capture.pool_rows import mean_rows, of_requests, on_canvas, span_sum
from sri_sdk.errors import ConfigError
from sri_sdk.records import StepPlan

# A name of this module is found sooner than one of torch's thousands, which between two layers are in no cache.
_sum, _FLOAT32 = torch.sum, torch.float32


class CanvasPooler(Pooler):
    """Masked models: the mean over canvas positions, of one pass."""

    def __init__(self, *, only_committed: bool) -> None:
        self._only_committed = only_committed
        self.by_plan_alone = not only_committed
        self._open: tuple[list[torch.Tensor], StepPlan] | None = None
        self._ready: Pooled | None = None
        self._wanted: _Wanted | None = None

    def add(self, states: list[torch.Tensor], plan: StepPlan) -> None:
        """Pools the C tensors [B, L, D] at once where it can: they are still in the caches of the pass that made them.

        `generated` keeps them until the step's commits are known: no copy, only the tensor the pass made anyway.
        """
        if self.room is not None:
            self.room.add(states)
            return
        self._open, self._ready = ((states, plan), None) if self._only_committed else (None, self._pool(states, plan))

    def close_step(self, committed: torch.Tensor | None) -> Pooled | None:
        """The mean over the positions the profile selects; for `generated`, over those in `committed`, [R, P] bool."""
        if self._open is not None:
            (states, plan), self._open = self._open, None
            return self._pool(states, plan, committed)
        ready, self._ready = self._ready, None
        return ready

    def reopen(self, pooled: Pooled) -> None:
        """Takes back a step that was pooled elsewhere."""
        self._open, self._ready = None, pooled

    def steady(self, states: list[torch.Tensor], plan: StepPlan, capacity: int) -> SteadyPool | None:
        """Passes with the positions of `plan`, like one whose C tensors are [B, L, D]; None for `generated`."""
        return None if self._only_committed else _SteadyCanvas(states, plan, capacity)

    def _pool(self, states: list[torch.Tensor], plan: StepPlan, committed: torch.Tensor | None = None) -> Pooled:
        home = states[-1].device
        if plan.span is not None and not self._only_committed:
            phi = torch.stack([span_sum(s, plan).to(home) for s in states], dim=1) / (plan.span[1] - plan.span[0])
            return Pooled(phi, plan.active, _count(plan.committed))
        if not self._only_committed:
            wanted = self._wanted_by(plan)
            sums = [wanted.sum(of_requests(each, plan)).to(home) for each in states]
            return Pooled(torch.stack(sums, dim=1) / wanted.count_on(home), plan.active, _count(plan.committed))
        if committed is None:
            raise ConfigError(
                "pooling `generated` needs to know which positions were committed; this hook cannot tell. "
                "Use pooling `response`."
            )
        target, on = on_canvas(plan)
        # A last block may reach beyond the response: nothing there counts as committed.
        on &= target < committed.shape[1]
        on &= committed.to(target.device).gather(1, target.clamp(0, committed.shape[1] - 1))
        phi = torch.stack([mean_rows(of_requests(s, plan), on).to(home) for s in states], dim=1)
        return Pooled(phi, plan.active, _count(plan.committed))

    def _wanted_by(self, plan: StepPlan) -> _Wanted:
        """The rows that count in a pass, which stand where those of the pass before stood, mostly."""
        if self._wanted is None or not self._wanted.suits(plan):
            self._wanted = _Wanted(plan)
        return self._wanted


class _Wanted:
    """The rows of a pass that predict canvas positions."""

    def __init__(self, plan: StepPlan) -> None:
        self._of = plan.positions, _writes_to(plan.positions), plan.rows, plan.shift, plan.canvas
        _, wanted = on_canvas(plan)
        self._out, self._count = ~wanted[..., None], wanted.sum(1).clamp(min=1)[:, None, None]

    def suits(self, plan: StepPlan) -> bool:
        """Whether they are those of another plan too, as far as that shows without a look at a tensor."""
        positions, writes, rows, shift, canvas = self._of
        same = positions is plan.positions and rows is plan.rows and (shift, canvas) == (plan.shift, plan.canvas)
        # A hook may not write into what it has handed over; most that do are noticed here.
        return same and writes == _writes_to(positions)

    def sum(self, states: torch.Tensor) -> torch.Tensor:
        """[R, L, D] states -> [R, D] float32. Other rows are cleared, since padding may hold NaN."""
        # A model spread over devices has its norm elsewhere than its embedding, where the plan was made.
        return states.masked_fill(self._out.to(states.device), 0).sum(1, dtype=torch.float32)

    def count_on(self, device: torch.device) -> torch.Tensor:
        """[R, 1, 1]: how many they are."""
        return self._count.to(device)


def _writes_to(positions: torch.Tensor) -> int | None:
    """How often something was written into a tensor [R, L]; None = it does not count that."""
    return None if positions.is_inference() else positions._version


class _SteadyCanvas(SteadyPool):
    """The mean over canvas positions that stay where they are."""

    def __init__(self, states: list[torch.Tensor], plan: StepPlan, capacity: int) -> None:
        requests, batch, length = len(plan.positions if plan.rows is None else plan.rows), *states[-1].shape[:2]
        super().__init__(states, requests, capacity)
        self._plan = plan
        self._span: tuple[int, int] | None = None
        self._unwanted: list[torch.Tensor] = []
        self._count: torch.Tensor | int
        # Of rows that are all requests, as nearly always: slices, which copy nothing.
        self._all_rows = plan.rows is None and requests == batch
        if plan.span is not None:
            self._count = plan.span[1] - plan.span[0]
            self._span = None if plan.span == (0, length) else (plan.span[0], self._count)
            return
        _, wanted = on_canvas(plan)
        if not bool(wanted.all()):
            self._unwanted = [~wanted.to(each.device)[..., None] for each in states]
        self._count = wanted.sum(1).clamp(min=1).to(states[-1].device)[None, :, None, None]

    def add(self, states: list[torch.Tensor]) -> None:
        """Sums the rows of each of the C tensors [B, L, D]."""
        index, self._next = self._next, self._next + 1
        for layer, each in enumerate(states):
            if self._span is not None:
                each = each.narrow(1, *self._span)
            if not self._all_rows:
                each = of_requests(each, self._plan)
            if self._unwanted:
                each = each.masked_fill(self._unwanted[layer], 0)
            torch.sum(each, 1, dtype=torch.float32, out=self._each[layer][index])

    def add_one(self, states: torch.Tensor) -> None:
        """Sums the rows of [B, L, D]."""
        if self._unwanted or not self._all_rows:
            self.add([states])
            return
        index, self._next = self._next, self._next + 1
        if self._span is not None:
            states = states.narrow(1, *self._span)
        _sum(states, 1, dtype=_FLOAT32, out=self._each[0][index])

    def take(self, start: int, stop: int, active: torch.Tensor | None, committed: torch.Tensor | None) -> list[Pooled]:
        """The means of passes start..stop; `active` [S, R] and `committed` [S, R, P]."""
        phi = (self._stack(start, stop) / self._count).unbind(0)
        counts = None if committed is None else committed.sum(2)
        return steps_of(phi, active, counts)

    def take_one(self, index: int, active: torch.Tensor | None, committed: torch.Tensor | None) -> Pooled:
        """As `take`, of one pass: `active` [1, R] bool, `committed` [1, R, P] bool."""
        if self._all is None or isinstance(self._count, torch.Tensor):
            return super().take_one(index, active, committed)
        counts = None if committed is None else _count(committed[0])
        return Pooled(self._all[index] / self._count, None if active is None else active[0], counts)


def _count(committed: torch.Tensor | None) -> torch.Tensor | None:
    """[R, P] bool -> [R] positions that are committed."""
    return None if committed is None else committed.sum(1)
