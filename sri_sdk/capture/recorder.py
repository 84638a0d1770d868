"""What a run keeps of each step, on the host: vectors if asked for, progress, signals, alarms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from sri_sdk.capture.alarms import OnlineAlarms, Steps
from sri_sdk.capture.flight import Flight, facts_of
from sri_sdk.capture.pool import Pooled
from sri_sdk.capture.request_column import RequestColumn
from sri_sdk.capture.settings import WatchSettings
from sri_sdk.capture.states import StepStates, on_host
from sri_sdk.capture.stream import SignalStream
from sri_sdk.errors import CaptureError

NEEDS_COMMITS = "grid mapping `committed` needs a hook that reads commits; use mapping `step`."
MOST_AT_ONCE = 64
"""Steps beyond the end that are measured in one call."""


class Recorder:
    """The steps of R requests."""

    def __init__(
        self, settings: WatchSettings, requests: int, request: Callable[[], RequestColumn | None] = lambda: None,
        groups: Sequence[str | None] | None = None, *, asked: Callable[[], None] | None = None,
    ) -> None:  # fmt: skip
        """Takes what to keep.

        Args:
            settings: what to measure against.
            requests: R.
            request: gives the requests' column as far as it is known; None = there is none.
            groups: the group of each request, for guards with thresholds by group; None = not named.
            asked: has steps taken that were not given yet, before anybody sees what was found; None = there are none.
        """
        self._asked_for = asked
        self._settings, self._request, grid = settings, request, settings.grid
        self._groups = (None,) * requests if groups is None else tuple(groups)
        self._asked = np.zeros(requests, dtype=np.bool_)
        self._phi: list[torch.Tensor] = []
        self._active: list[Sequence[bool] | NDArray[np.bool_]] = []
        self._before: list[Sequence[int] | NDArray[np.int64]] = []
        self._generated: list[int] | None = None
        # A list: steps that are taken one by one are faster counted without numpy.
        self._done = [0] * requests
        self._alarms: dict[int, int] = {}
        self._stream: SignalStream | None = None
        if settings.anchors is not None and settings.grid is not None:
            self._stream = SignalStream(
                settings.anchors, settings.grid, requests, tau=settings.tau, eps=settings.eps
            )  # fmt: skip
        self._online: OnlineAlarms | None = None
        if self._stream is not None and settings.scorer is not None and settings.policy.rule == "online":
            assert grid is not None and settings.anchors is not None
            self._online = OnlineAlarms(
                settings.scorer, self._stream, grid, self._alarms,
                None if settings.anchors.request is None else request, self._groups, settings.policy.debounce,
            )  # fmt: skip
        self._everyone = np.ones((1, requests), dtype=np.bool_)
        self._all = [True] * requests
        # Asked for at every step.
        self._steps_per_look, self._late = settings.steps_per_look, settings.steps_late
        self._horizon, self._counts = settings.horizon, grid is not None and grid.mapping == "committed"
        self._given = 0
        self._kept: list[Pooled] = []
        self._flight: tuple[Flight, list[Pooled]] | None = None
        self._unjudged: list[Steps] = []

    @property
    def alarms(self) -> dict[int, int]:
        """Row -> step that was done when a rule that decides meanwhile first alarmed, however late one looked."""
        if self._asked_for is not None:
            self._asked_for()
        return self._alarms

    @property
    def stream(self) -> SignalStream | None:
        """The signals so far; None without anchors."""
        if self._asked_for is not None:
            self._asked_for()
        return self._stream

    @property
    def steps(self) -> NDArray[np.int64]:
        """[R] vectors taken per request; a profile may define some beyond the end.

        Those that are kept or on their way (see `take_many`) are not among them yet.
        """
        return np.array(self._done, dtype=np.int64)

    @property
    def full(self) -> NDArray[np.bool_]:
        """[R]: requests of which all steps that the guard judges were taken; all False without a horizon."""
        horizon = self._horizon
        return self.steps >= horizon if horizon is not None else np.zeros(len(self._done), dtype=np.bool_)

    def take(self, pooled: Pooled) -> None:
        """Takes one step; see `take_many`."""
        self.take_many((pooled,))

    def take_many(self, steps: Sequence[Pooled]) -> None:
        """Takes steps in their order, measured in one call; on a CPU with the very numbers that one by one would give.

        With a rule that decides meanwhile, steps are kept until there are as many as the policy looks at together. If
        it need not know an alarm before the next step, the numbers of a CUDA device are read only then.

        Args:
            steps: as they were pooled; nobody may write to their tensors later. None at all = nothing follows: what is
                kept or on its way is taken now.
        """
        if len(steps) == 1 and self._steps_per_look == 1 and not self._kept and on_host(steps[0].phi):
            self._given += 1
            self._land()
            self._take_one(steps[0])
            return
        self._kept.extend(steps)
        self._given += len(steps)
        horizon = self._horizon
        due = not steps or (horizon is not None and self._given >= horizon)
        if due or self._enough():
            self._take_kept()
            if not due:
                return
        self._land()

    def _enough(self) -> bool:
        """Whether the steps that were kept are to be measured now."""
        wanted = self._steps_per_look
        if wanted > 1 and self._late is not None and not on_host(self._kept[0].phi):
            # Their numbers are on their way for one more.
            wanted = self._late
        return len(self._kept) >= wanted

    def finish(self, tail: Iterable[Pooled], whole: NDArray[np.bool_]) -> None:
        """Takes what the profile defines after the end, and fills the grid, for requests that were seen whole ([R])."""
        self.take_many(())
        grid = self._settings.grid
        self._generated = self._done.copy()
        if grid is None or not self._active:
            return
        beyond = iter(tail)
        while steps := list(islice(beyond, MOST_AT_ONCE)):
            active = whole & (self.steps + np.arange(len(steps))[:, None] < grid.budget)
            self._add(steps, active, self._had(active))
        if self._stream is not None:
            self._stream.finish(whole)
            self._look()

    def phi(self, row: int) -> NDArray[np.float32]:
        """[S, C, D] of one request; empty if the states were not kept."""
        pairs = zip(self._phi, self._active, strict=True) if self._keeps else ()
        mine = [phi[row].cpu().numpy() for phi, active in pairs if active[row]]
        return np.stack(mine) if mine else np.empty((0, 0, 0), dtype=np.float32)

    def clock(self, row: int) -> NDArray[np.int64]:
        """[S + 1] progress of one request: before each step, and after the last."""
        before = [b[row] for b, active in zip(self._before, self._active, strict=True) if active[row]]
        grid = self._settings.grid
        by_tokens = grid is not None and grid.mapping == "committed"
        end = grid.budget if grid is not None and by_tokens else len(before)
        return np.array([*before, end], dtype=np.int64)

    @property
    def _keeps(self) -> bool:
        return self._settings.keep_states or self._stream is None

    def _take_kept(self) -> None:
        """Measures the steps that were kept, or has an accelerator begin to."""
        kept, self._kept = self._kept, []
        if not kept:
            return
        waits = self._late is not None and len(kept) > self._late
        if self._stream is None or waits or not self._settings.immediate or on_host(kept[0].phi):
            self._land()
            self._take_now(kept, *_to_host(*facts_of(kept)))
            return
        flight = Flight(kept, self._stream.formula, *self._cells_ahead(len(kept)))
        self._land()
        self._flight = flight, kept

    def _cells_ahead(self, steps: int) -> tuple[int, int]:
        """The cells that the next `steps` steps may be in: the first, and the one behind the last."""
        grid = self._settings.grid
        assert grid is not None
        counts = grid.mapping == "step"
        before = self.steps if counts or not self._before else np.asarray(self._before[-1])
        first = grid.cells_of(int(before.min()), 0)[0]
        if not counts:
            return first, grid.cells
        flying = 0 if self._flight is None else len(self._flight[1])
        last = int(self.steps.max()) + flying + steps
        return first, grid.cells_of(last - 1, last)[1]

    def _land(self) -> None:
        """Takes the steps whose numbers are on their way."""
        if self._flight is None:
            return
        (flight, steps), self._flight = self._flight, None
        landed = flight.land()
        self._take_now(steps, landed.active, landed.committed, landed.states)

    def _take_now(
        self, steps: Sequence[Pooled], active: NDArray[np.bool_] | None, committed: NDArray[np.int64] | None,
        states: Sequence[StepStates] | None = None,
    ) -> None:  # fmt: skip
        """Takes steps of which the host knows, [S, R], what they belong to and what was committed before each."""
        active = np.repeat(self._everyone, len(steps), axis=0) if active is None else active
        if self._horizon is not None:
            # A step beyond the horizon would overwrite the last cell.
            active = active & (self._had(active) < self._horizon)
        self._add(steps, active, self._progress(active, committed), states)
        self._look()

    def _had(self, active: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Steps that each request had before each of S steps, [S, R] int64; `active` [S, R] are those it belongs to."""
        return self.steps[None] if len(active) == 1 else self.steps + (np.cumsum(active, axis=0) - active)

    def _progress(self, active: NDArray[np.bool_], committed: NDArray[np.int64] | None) -> NDArray[np.int64]:
        """Progress before each of S steps, [S, R] int64, from requests each belongs to and tokens committed before."""
        grid = self._settings.grid
        if grid is None or grid.mapping == "step":
            return self._had(active)
        if committed is None:
            raise CaptureError(NEEDS_COMMITS)
        # Some samplers un-commit: progress is the running maximum, or a cell would be filled twice.
        least = self._before[-1] if self._before else committed[0]
        return np.maximum(np.maximum.accumulate(committed, axis=0), least)

    def _add(
        self, steps: Sequence[Pooled], active: NDArray[np.bool_], before: NDArray[np.int64],
        states: Sequence[StepStates] | None = None,
    ) -> None:  # fmt: skip
        """Takes S steps: requests each belongs to and progress before each, [S, R], and states if measured ahead."""
        stream = self._stream
        # How many tokens a step commits shows only at the next one, so its cell stays open until then.
        after = before if self._counts else before + 1
        if self._online is not None:
            self._unjudged.append(Steps(self._had(active), after, active))
        self._done = (self.steps + active.sum(axis=0)).tolist()
        self._active.extend(active)
        self._before.extend(before)
        phi = [each.phi if self._settings.layers else each.phi[:, :0] for each in steps]
        if self._keeps:
            self._phi.extend(phi)
        if stream is None:
            return
        if states is not None:
            for each in zip(states, before, after, active, strict=True):
                stream.add_states(*each)
        elif len(phi) == 1:
            stream.add(phi[0], before[0], after[0], active[0])
        else:
            stream.add_many(phi, before, after, active)

    def _take_one(self, pooled: Pooled) -> None:
        """`_take_now` of one step on the host: what is looked at by itself costs little more than what it computes."""
        phi, active, had, horizon = pooled.phi, self._all, self._done, self._horizon
        if pooled.active is not None:
            active = pooled.active.tolist()
        if horizon is not None:
            active = [on and done < horizon for on, done in zip(active, had, strict=True)]
        before, after = had, had
        if self._counts:
            before = after = self._committed(pooled.committed)
        else:
            after = [done + 1 for done in had]
        self._done = [done + on for done, on in zip(had, active, strict=True)]
        self._active.append(active)
        self._before.append(before)
        if not self._settings.layers:
            phi = phi[:, :0]
        if self._keeps:
            self._phi.append(phi)
        if self._stream is not None:
            self._stream.add_one(phi, before, after, active)
            if self._online is not None:
                self._online.look_at_one(had)

    def _committed(self, committed: torch.Tensor | None) -> list[int]:
        """Progress before a step, in tokens, by those committed before it, [R] int64."""
        if committed is None:
            raise CaptureError(NEEDS_COMMITS)
        found: list[int] = committed.tolist()
        return list(map(max, found, self._before[-1])) if self._before else found

    def judge_requests(self) -> None:
        """Judges what the requests say by themselves, each once it is known; for guards whose rule is `request`."""
        scorer, column = self._settings.scorer, self._request()
        if scorer is None or column is None or not (new := ~np.isnan(column.logit) & ~self._asked).any():
            return
        self._asked |= new
        # Parts that read anything else have no say in this rule, so nothing is put in their columns.
        shape = (len(column.logit), scorer.manifest.signal.cells, len(scorer.manifest.ranges[0]))
        values = np.full(shape, np.nan, dtype=np.float32)
        values[:, :, -1] = column.domain(scorer.manifest.signal.domain)[:, None]
        alarms = scorer.alarms(scorer.score_final(values), "request", self._groups)
        for row in np.flatnonzero(new & alarms).tolist():
            self._alarms.setdefault(row, max(int(self.steps[row]) - 1, 0))

    def _look(self) -> None:
        """Judges what has closed since the last look."""
        if self._online is not None:
            steps, self._unjudged = self._unjudged, []
            self._online.look(steps, self._done if self._generated is None else self._generated)


def to_host(active: torch.Tensor | None, requests: int) -> NDArray[np.bool_]:
    """[R] bool on the host; None = all."""
    return np.ones(requests, dtype=np.bool_) if active is None else active.cpu().numpy()


def _to_host(
    active: torch.Tensor | None, committed: torch.Tensor | None
) -> tuple[NDArray[np.bool_] | None, NDArray[np.int64] | None]:
    """[S, R] bool and [S, R] int64 to the host, together where they are on an accelerator."""
    if active is not None and committed is not None and not on_host(active):
        both = torch.stack([active.long(), committed.long()]).cpu().numpy()
        return both[0].astype(np.bool_), both[1]
    return (
        None if active is None else active.cpu().numpy(),
        None if committed is None else committed.cpu().numpy().astype(np.int64, copy=False),
    )
