"""Pooling: the rows of one forward pass become one vector per request, on the device, in float32.

Which rows count differs between paper and published code, so it is a named, recorded choice:

| profile | scheme | phi_t is the mean of | source |
|---|---|---|---|
| `generated` | masked | states of positions committed after the update of step t | arXiv 2602.02600, 3.1 |
| `response` | masked | states of every canvas position, masked ones too | the authors' LLaDA wrapper |
| `response` | canvas | states of every canvas position of the block in work | as above |
| `predicting` | autoregressive | states that predicted each token so far, the last prompt token first | authors' code |
| `generated` | autoregressive | states of the generated tokens so far; one fewer than tokens | arXiv 2602.02600, 3.1 |

For masked models the state that *predicts* a position stands for it, whatever the family's shift.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from sri_sdk.errors import ConfigError
from sri_sdk.hook import Scheme
from sri_sdk.pooling import PROFILES
from sri_sdk.records import PADDING, StepPlan

# A name of this module is found sooner than one of torch's thousands, which between two layers are in no cache.
_sum, _FLOAT32 = torch.sum, torch.float32


@dataclass(frozen=True, slots=True)
class Pooled:
    """What one step gave."""

    phi: torch.Tensor
    """[R, C, D] float32."""
    active: torch.Tensor | None
    """[R] bool: requests this step belongs to; None = all."""
    committed: torch.Tensor | None
    """[R] int64: committed positions before the step; None = not known."""


class Pooler(ABC):
    """Pools one generation. Every pass goes through `add`, then `close_step` once its commits are known.

    Attributes:
        room: takes the states of steady passes, whose steps are made later; None = passes come one by one.
        by_plan_alone: whether a pass's plan alone says which of its states count.
    """

    room: SteadyPool | None = None
    by_plan_alone = False

    @abstractmethod
    def add(self, states: list[torch.Tensor], plan: StepPlan) -> None:
        """Takes the states of a step: C tensors [B, L, D]."""

    @abstractmethod
    def close_step(self, committed: torch.Tensor | None) -> Pooled | None:
        """Closes the step that `add` opened; `committed` [R, P] bool is the canvas after its update.

        Returns:
            The step's vector, or None if no step is open or the profile has none for it.
        """

    def tail(self, count: int) -> Iterator[Pooled]:
        """States the profile defines after the end of a generation, up to `count` of them."""
        yield from ()

    def steady(self, states: list[torch.Tensor], plan: StepPlan, capacity: int) -> SteadyPool | None:
        """Room for up to `capacity` passes like the last one, whose C tensors `states` are [B, L, D].

        None = this profile must know of each pass what it committed, or shapes do not suit.
        """
        return None

    @abstractmethod
    def reopen(self, pooled: Pooled) -> None:
        """Takes back a step that was pooled elsewhere: `close_step` gives it."""

    def states_for(self, budget: int) -> int:
        """Number of vectors a generation of `budget` steps gives."""
        return budget


class SteadyPool(ABC):
    """Pools passes that differ in their states alone: one reduction each, into memory that is there already.

    A pass costs no look at its tokens; `take` makes steps of several passes at once. Memory that was given out is not
    written again.
    """

    def __init__(self, states: list[torch.Tensor], requests: int, capacity: int) -> None:
        """Takes the C tensors [B, L, D] of a pass, R and the most passes."""
        self._shape = (capacity, requests, states[-1].shape[-1])
        self._homes = [each.device for each in states]
        self._next = 0
        self._rows: list[torch.Tensor] = []
        self._all: torch.Tensor | None = None
        self._each: list[tuple[torch.Tensor, ...]] = []
        self.renew()

    def renew(self) -> None:
        """Makes room for as many passes again, numbered from 0."""
        self._next = 0
        capacity, requests, width = self._shape
        # Written from inside and outside of inference mode.
        with torch.inference_mode(False):
            if len(set(self._homes)) == 1:
                # [S, R, C, D], so that nothing has to be put together.
                shape = (capacity, requests, len(self._homes), width)
                self._all = torch.empty(shape, dtype=torch.float32, device=self._homes[0])
                self._rows = list(self._all.unbind(2))
            else:
                self._rows = [torch.empty(self._shape, dtype=torch.float32, device=home) for home in self._homes]
            self._each = [self._places(rows) for rows in self._rows]

    def _places(self, rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Where each pass writes: S parts of `rows` [S, R, D]."""
        return rows.unbind(0)

    @abstractmethod
    def add(self, states: list[torch.Tensor]) -> None:
        """Takes the C tensors [B, L, D] of the next pass."""

    def add_one(self, states: torch.Tensor) -> None:
        """As `add`, of the only tensor [B, L, D] that a pass has. Most passes cost this, so it may take a short cut."""
        self.add([states])

    @abstractmethod
    def take(self, start: int, stop: int, active: torch.Tensor | None, committed: torch.Tensor | None) -> list[Pooled]:
        """The steps of passes start..stop, each taken once and in order.

        Args:
            start: first of them.
            stop: behind the last.
            active: [S, R] bool; None = all.
            committed: [S, R, P] bool; None = not known.
        """

    def take_one(self, index: int, active: torch.Tensor | None, committed: torch.Tensor | None) -> Pooled:
        """As `take`, of one pass: `active` [1, R] bool, `committed` [1, R, P] bool."""
        return self.take(index, index + 1, active, committed)[0]

    def _stack(self, start: int, stop: int) -> torch.Tensor:
        """[S, R, C, D] of passes start..stop."""
        if self._all is not None:
            return self._all[start:stop]
        home = self._homes[-1]
        return torch.stack([rows[start:stop].to(home) for rows in self._rows], dim=2)


def make_pooler(scheme: Scheme, profile: str) -> Pooler:
    """The pooler of a profile.

    Raises:
        ConfigError: the scheme has no such profile.
    """
    if profile not in PROFILES[scheme]:
        raise ConfigError(
            f"pooling {profile!r} is not defined for {scheme} models; allowed: {', '.join(PROFILES[scheme])}."
        )
    if scheme != "autoregressive":
        return CanvasPooler(only_committed=profile == "generated")
    return RunningPooler(ahead=profile == "predicting")


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
            phi = torch.stack([_span_sum(s, plan).to(home) for s in states], dim=1) / (plan.span[1] - plan.span[0])
            return Pooled(phi, plan.active, _count(plan.committed))
        if not self._only_committed:
            wanted = self._wanted_by(plan)
            sums = [wanted.sum(_of_requests(each, plan)).to(home) for each in states]
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
        phi = torch.stack([_mean(_of_requests(s, plan), on).to(home) for s in states], dim=1)
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
                each = _of_requests(each, self._plan)
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
        return _steps(phi, active, counts)

    def take_one(self, index: int, active: torch.Tensor | None, committed: torch.Tensor | None) -> Pooled:
        """As `take`, of one pass: `active` [1, R] bool, `committed` [1, R, P] bool."""
        if self._all is None or isinstance(self._count, torch.Tensor):
            return super().take_one(index, active, committed)
        counts = None if committed is None else _count(committed[0])
        return Pooled(self._all[index] / self._count, None if active is None else active[0], counts)


class RunningPooler(Pooler):
    """Autoregressive models: the running mean over tokens; a row that has ended keeps its last state."""

    def __init__(self, *, ahead: bool) -> None:
        self._ahead = ahead
        self._passes = 0
        self._sum: torch.Tensor | None = None
        self._last: torch.Tensor | None = None
        self._count: torch.Tensor | None = None
        self._open: Pooled | None = None

    def add(self, states: list[torch.Tensor], plan: StepPlan) -> None:
        """Adds the states of this pass, C tensors [B, L, D], to the mean."""
        if self.room is not None:
            self.room.add(states)
            return
        added, rows = self._added(states, plan)
        counts = rows > 0 if plan.active is None else (rows > 0) & plan.active.to(rows.device)
        if self._sum is None or self._last is None or self._count is None:
            self._sum, self._last = torch.zeros_like(added), torch.zeros_like(added)
            self._count = torch.zeros_like(rows)[:, None, None]
        keep, many = counts[:, None, None], rows[:, None, None]
        self._sum = torch.where(keep, self._sum + added, self._sum)
        self._last = torch.where(keep, added / many.clamp(min=1), self._last)
        self._count = torch.where(keep, self._count + many, self._count)
        # The prompt's pass predicts the first token but holds no state of a generated one.
        self._open = self._mean_now(counts) if self._ahead or self._passes else None
        self._passes += 1

    def _added(self, states: list[torch.Tensor], plan: StepPlan) -> tuple[torch.Tensor, torch.Tensor]:
        """[R, C, D] sum over the rows the profile wants of this pass, and [R] how many they are."""
        home = states[-1].device
        if plan.span is not None and self._ahead:
            added = torch.stack([_span_sum(s, plan).to(home) for s in states], dim=1)
            return added, torch.full((len(added),), plan.span[1] - plan.span[0], device=home)
        positions = _of_requests(plan.positions, plan)
        wanted = (positions != PADDING) & (positions + (plan.shift if self._ahead else 0) >= 0)
        added = torch.stack([sum_rows(_of_requests(s, plan), wanted).to(home) for s in states], dim=1)
        return added, wanted.sum(1).to(home)

    def close_step(self, committed: torch.Tensor | None) -> Pooled | None:
        """The mean after this pass. These models commit what they predict, so `committed` [R, P] is not read."""
        opened, self._open = self._open, None
        return opened

    def reopen(self, pooled: Pooled) -> None:
        """Takes back a step that was pooled elsewhere."""
        self._open = pooled

    def steady(self, states: list[torch.Tensor], plan: StepPlan, capacity: int) -> SteadyPool | None:
        """Passes of one generated token each, C tensors [B, 1, D]; None where there are others."""
        one_each = plan.positions.shape[1] == states[-1].shape[1] == 1 and plan.rows is None
        return _SteadyTokens(self, states, capacity) if one_each and self._sum is not None else None

    def take(self, states: torch.Tensor, active: torch.Tensor | None) -> list[Pooled]:
        """Adds the states [S, R, C, D] of passes of one token each, of which `active` [S, R] bool count, None = all."""
        assert self._sum is not None and self._last is not None and self._count is not None
        self._passes += len(states)
        if active is None and len(states) == 1:
            self._last = states[0]
            self._sum, self._count = self._sum + self._last, self._count + 1
            return [Pooled(self._sum / self._count, None, None)]
        if active is None:
            sums, added = _running(self._sum, states), _one_to(len(states), states.device)
            return self._taken(sums, self._count + added, states[-1], None)
        home = states.device
        active = active.to(home)
        sums = _running(self._sum, states.masked_fill(~active[:, :, None, None], 0))
        # The last pass that each row was active in; none = what it was before.
        latest = (active * torch.arange(1, len(active) + 1, device=home)[:, None]).amax(0)
        picked = states[(latest - 1).clamp(min=0), torch.arange(len(latest), device=home)]
        last = torch.where((latest > 0)[:, None, None], picked, self._last)
        return self._taken(sums, self._count + active.cumsum(0)[:, :, None, None], last, active)

    def _taken(
        self, sums: torch.Tensor, counts: torch.Tensor, last: torch.Tensor, active: torch.Tensor | None
    ) -> list[Pooled]:
        """The means of `sums` [S, R, C, D] over `counts` [S, R, 1, 1] tokens; `last` [R, C, D], `active` [S, R]."""
        self._sum, self._count, self._last = sums[-1], counts[-1], last
        return _steps((sums / counts.clamp(min=1)).unbind(0), active, None)

    def tail(self, count: int) -> Iterator[Pooled]:
        """`predicting` only: after the end the last state repeats and the mean keeps moving (authors' code)."""
        if not self._ahead or self._sum is None or self._last is None or self._count is None:
            return
        for _ in range(count):
            self._sum = self._sum + self._last
            self._count = self._count + 1
            yield self._mean_now(None)

    def states_for(self, budget: int) -> int:
        """`generated` has no state for the last token: it is never fed back."""
        return budget if self._ahead else max(budget - 1, 1)

    def _mean_now(self, active: torch.Tensor | None) -> Pooled:
        assert self._sum is not None and self._count is not None
        return Pooled(self._sum / self._count.clamp(min=1), active, None)


class _SteadyTokens(SteadyPool):
    """Keeps the state of each token; the running mean is made when steps are taken."""

    def __init__(self, pooler: RunningPooler, states: list[torch.Tensor], capacity: int) -> None:
        super().__init__(states, len(states[-1]), capacity)
        self._pooler = pooler

    def _places(self, rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """[R, 1, D] each, as states are: nothing has to be cut out of these."""
        return rows[:, :, None].unbind(0)

    def add(self, states: list[torch.Tensor]) -> None:
        """Copies the C tensors [B, 1, D]."""
        index, self._next = self._next, self._next + 1
        for room, each in zip(self._each, states, strict=True):
            room[index].copy_(each)

    def add_one(self, states: torch.Tensor) -> None:
        """Copies [B, 1, D]."""
        index, self._next = self._next, self._next + 1
        self._each[0][index].copy_(states)

    def take(self, start: int, stop: int, active: torch.Tensor | None, committed: torch.Tensor | None) -> list[Pooled]:
        """The running means after passes start..stop; `active` [S, R], and `committed` is not read."""
        return self._pooler.take(self._stack(start, stop), active)


def _one_to(count: int, home: torch.device) -> torch.Tensor:
    """[S, 1, 1, 1]: 1 to `count`."""
    return torch.arange(1, count + 1, device=home)[:, None, None, None]


def _running(first: torch.Tensor, added: torch.Tensor) -> torch.Tensor:
    """[R, C, D] and [S, R, C, D] float32 -> [S, R, C, D]: the sum after each, added up one after the other."""
    sums = torch.empty_like(added, memory_format=torch.contiguous_format)
    if added.device.type == "cpu" and first.device.type == "cpu" and added.dtype == first.dtype == _FLOAT32:
        # Rounded after each, as below, and in one call.
        numbers = sums.numpy()
        numbers[...] = added.numpy()
        numbers[0] += first.numpy()
        np.add.accumulate(numbers, axis=0, out=numbers)
        return sums
    for each, total in zip(added.unbind(0), sums.unbind(0), strict=True):
        first = torch.add(first, each, out=total)
    return sums


def _steps(phi: tuple[torch.Tensor, ...], active: torch.Tensor | None, counts: torch.Tensor | None) -> list[Pooled]:
    """S steps of `phi`, S of [R, C, D], `active` and `counts` [S, R]."""
    none = (None,) * len(phi)
    each_active = none if active is None else active.unbind(0)
    each_count = none if counts is None else counts.unbind(0)
    return [Pooled(*each) for each in zip(phi, each_active, each_count, strict=True)]


def with_active(steps: Sequence[Pooled], active: Sequence[torch.Tensor | None]) -> list[Pooled]:
    """Steps of which somebody else says as well which requests they belong to: for each [R] bool, None = all."""
    known = [each for each in (*active, *(step.active for step in steps)) if each is not None]
    if not known:
        return list(steps)
    every = torch.ones_like(known[0])
    theirs, ours = (
        torch.stack([every if each is None else each.to(every.device) for each in said])
        for said in ([step.active for step in steps], active)
    )
    return [replace(step, active=each) for step, each in zip(steps, (theirs & ours).unbind(0), strict=True)]


def on_canvas(plan: StepPlan) -> tuple[torch.Tensor, torch.Tensor]:
    """[R, L] int64 position that each row predicts, and [R, L] bool whether it lies on the canvas.

    [S, R, L] each for a plan that has such positions, of S passes, and no `rows`.
    """
    positions = _of_requests(plan.positions, plan)
    target = torch.where(positions == PADDING, positions, positions + plan.shift)
    return target, target >= 0 if plan.canvas is None else (target >= 0) & (target < plan.canvas)


def _of_requests(rows: torch.Tensor, plan: StepPlan) -> torch.Tensor:
    """[B, ...] -> [R, ...]: drops unconditional and foreign rows."""
    return rows if plan.rows is None else rows[plan.rows.to(rows.device)]


def _span_sum(states: torch.Tensor, plan: StepPlan) -> torch.Tensor:
    """[B, L, D] -> [R, D] float32: the sum over the rows of the plan's span."""
    assert plan.span is not None
    return _of_requests(states[:, plan.span[0] : plan.span[1]], plan).sum(1, dtype=torch.float32)


def _count(committed: torch.Tensor | None) -> torch.Tensor | None:
    """[R, P] bool -> [R] positions that are committed."""
    return None if committed is None else committed.sum(1)


def sum_rows(states: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """[R, L, D] states and [R, L] bool -> [R, D] float32. Unwanted rows are cleared, since padding may hold NaN."""
    # A model spread over devices has its norm elsewhere than its embedding, where the plan was made.
    return states.masked_fill(~wanted.to(states.device)[..., None], 0).sum(1, dtype=torch.float32)


def _mean(states: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """[R, L, D] states and [R, L] bool -> [R, D] float32; zero where nothing is wanted."""
    return sum_rows(states, wanted) / wanted.sum(1).clamp(min=1).to(states.device)[:, None]
