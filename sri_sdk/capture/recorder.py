"""What a run keeps of each step, on the host: vectors if asked for, progress, signals, alarms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from sri_sdk.capture.flight import Flight, facts_of
from sri_sdk.capture.pool import Pooled
from sri_sdk.capture.request_column import RequestColumn
from sri_sdk.capture.settings import WatchSettings
from sri_sdk.capture.states import StepStates, on_host
from sri_sdk.capture.stream import SignalStream
from sri_sdk.detector import Domain
from sri_sdk.errors import CaptureError

if TYPE_CHECKING:
    from sri_sdk.scoring.runtime import Scored
    from sri_sdk.scoring.scorer import Scorer


MOST_AT_ONCE = 64
"""Steps beyond the end that are measured in one call."""


class Recorder:
    """The steps of R requests.

    Attributes:
        steps: [R] vectors taken per request; a profile may define some beyond the end. Those that are kept or on their
            way (see `take_many`) are not among them yet.
        alarms: row -> step that was done when a rule that decides while a model runs first alarmed, however late it was
            looked at.
        stream: the signals so far; None without anchors.
    """

    def __init__(
        self, settings: WatchSettings, requests: int, request: Callable[[], RequestColumn | None] = lambda: None,
        groups: Sequence[str | None] | None = None,
    ) -> None:  # fmt: skip
        """Takes what to keep.

        Args:
            settings: what to measure against.
            requests: R.
            request: gives the requests' column as far as it is known; None = there is none.
            groups: the group of each request, for guards with thresholds by group; None = not named.
        """
        self._settings, self._request = settings, request
        self._groups = (None,) * requests if groups is None else tuple(groups)
        self._asked = np.zeros(requests, dtype=np.bool_)
        self._phi: list[torch.Tensor] = []
        self._active: list[NDArray[np.bool_]] = []
        self._before: list[NDArray[np.int64]] = []
        self._judged = [0] * requests
        self._generated: NDArray[np.int64] | None = None
        self.steps = np.zeros(requests, dtype=np.int64)
        self.alarms: dict[int, int] = {}
        self._scores: NDArray[np.float32] | None = None
        self.stream: SignalStream | None = None
        if settings.anchors is not None and settings.grid is not None:
            self.stream = SignalStream(
                settings.anchors, settings.grid, requests, tau=settings.tau, eps=settings.eps
            )  # fmt: skip
        self._judges = (
            self.stream is not None and settings.scorer is not None and settings.policy.rule == "online"
        )  # fmt: skip
        self._everyone = np.ones((1, requests), dtype=np.bool_)
        # Asked for at every step.
        self._steps_per_look, self._late = settings.steps_per_look, settings.steps_late
        self._given = 0
        self._kept: list[Pooled] = []
        self._flight: tuple[Flight, list[Pooled]] | None = None
        self._unjudged: list[_Steps] = []
        self._column: RequestColumn | None = None
        self._beside: NDArray[np.float32] | None = None

    @property
    def full(self) -> NDArray[np.bool_]:
        """[R]: requests of which all steps that the guard judges were taken; all False without a horizon."""
        horizon = self._settings.horizon
        return self.steps >= horizon if horizon is not None else np.zeros(len(self.steps), dtype=np.bool_)

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
        self._kept.extend(steps)
        self._given += len(steps)
        horizon = self._settings.horizon
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
        self._generated = self.steps.copy()
        if grid is None or not self._active:
            return
        beyond = iter(tail)
        while steps := list(islice(beyond, MOST_AT_ONCE)):
            active = whole & (self.steps + np.arange(len(steps))[:, None] < grid.budget)
            self._add(steps, active, self._done(active))
        if self.stream is not None:
            self.stream.finish(whole)
            self._look_for_alarms()

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
        return self._settings.keep_states or self.stream is None

    def _take_kept(self) -> None:
        """Measures the steps that were kept, or has an accelerator begin to."""
        kept, self._kept = self._kept, []
        if not kept:
            return
        waits = self._late is not None and len(kept) > self._late
        if self.stream is None or waits or not self._settings.immediate or on_host(kept[0].phi):
            self._land()
            self._take_now(kept, *_to_host(*facts_of(kept)))
            return
        flight = Flight(kept, self.stream.formula, *self._cells_ahead(len(kept)))
        self._land()
        self._flight = flight, kept

    def _cells_ahead(self, steps: int) -> tuple[int, int]:
        """The cells that the next `steps` steps may be in: the first, and the one behind the last."""
        grid = self._settings.grid
        assert grid is not None
        counts = grid.mapping == "step"
        before = self.steps if counts or not self._before else self._before[-1]
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
        if self._settings.horizon is not None:
            # A step beyond the horizon would overwrite the last cell.
            active = active & (self._done(active) < self._settings.horizon)
        self._add(steps, active, self._progress(active, committed), states)
        self._look_for_alarms()

    def _done(self, active: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Steps that each request had before each of S steps, [S, R] int64; `active` [S, R] are those it belongs to."""
        return self.steps[None] if len(active) == 1 else self.steps + (np.cumsum(active, axis=0) - active)

    def _progress(self, active: NDArray[np.bool_], committed: NDArray[np.int64] | None) -> NDArray[np.int64]:
        """Progress before each of S steps, [S, R] int64, from requests each belongs to and tokens committed before."""
        grid = self._settings.grid
        if grid is None or grid.mapping == "step":
            return self._done(active)
        if committed is None:
            raise CaptureError("grid mapping `committed` needs a hook that reads commits; use mapping `step`.")
        # Some samplers un-commit: progress is the running maximum, or a cell would be filled twice.
        least = self._before[-1] if self._before else committed[0]
        return np.maximum(np.maximum.accumulate(committed, axis=0), least)

    def _add(
        self, steps: Sequence[Pooled], active: NDArray[np.bool_], before: NDArray[np.int64],
        states: Sequence[StepStates] | None = None,
    ) -> None:  # fmt: skip
        """Takes S steps: requests each belongs to and progress before each, [S, R], and states if measured ahead."""
        grid, stream = self._settings.grid, self.stream
        # How many tokens a step commits shows only at the next one, so its cell stays open until then.
        after = before if grid is not None and grid.mapping == "committed" else before + 1
        if self._judges:
            self._unjudged.append(_Steps(self._done(active), after, active))
        self.steps = self.steps + (active[0] if len(active) == 1 else active.sum(axis=0))
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
            self.alarms.setdefault(row, max(int(self.steps[row]) - 1, 0))

    def _look_for_alarms(self) -> None:
        """Judges every length that has closed since the last look, so that no alarm depends on when one looks."""
        scorer, stream = self._settings.scorer, self.stream
        if not self._judges or scorer is None or stream is None:
            return
        steps, self._unjudged = self._unjudged, []
        judged, self._judged = self._judged, stream.lengths.tolist()
        new = [
            (row, length)
            for row, (done, now) in enumerate(zip(judged, self._judged, strict=True))
            for length in range(done + 1, now + 1)
        ]
        if not new:
            return
        rows = np.array([row for row, _ in new])
        lengths = np.array([length for _, length in new])
        values = self._with_request(scorer.manifest.signal.domain)[rows]
        groups = [self._groups[row] for row, _ in new]
        scored = self._debounced(scorer, rows, lengths, scorer.score_prefix(values, lengths))
        for (row, length), alarm in zip(new, scorer.alarms(scored, "online", groups).tolist(), strict=True):
            # Lengths of a row rise, so its first alarm comes first.
            if alarm and row not in self.alarms:
                self.alarms[row] = self._closed_by(row, length, steps)

    def _closed_by(self, row: int, length: int, steps: Sequence[_Steps]) -> int:
        """The step that closed the cells up to `length` of a row, among those taken since the last look."""
        grid = self._settings.grid
        assert grid is not None
        # What a profile defines after the end is no step: an alarm there is one of the last step that ran.
        last = int((self.steps if self._generated is None else self._generated)[row]) - 1
        for done, after, active in steps:
            closes = active[:, row] & (after[:, row] >= grid.progress_for(length))
            if closes.any():
                return min(int(done[closes.argmax(), row]), last)
        return last

    def _with_request(self, domain: Domain) -> NDArray[np.float32]:
        """The signals so far with the request's column, where the guard has one, [R, T, C] float32."""
        assert self.stream is not None
        values, column = self.stream.logit if domain == "logit" else self.stream.sigma, self._request()
        if column is None:
            return values
        if self._beside is None or column is not self._column:
            self._column, self._beside = column, column.behind(values, domain)
        self._beside[:, :, :-1] = values
        return self._beside

    def _debounced(self, scorer: Scorer, rows: NDArray[np.int64], lengths: NDArray[np.int64], scored: Scored) -> Scored:
        """What was said of the first `lengths` [B] cells of `rows` [B], if it takes more than one alarm."""
        debounce = self._settings.policy.debounce
        if debounce is None:
            return scored
        score, valid = scored
        if self._scores is None:
            shape = (len(self.steps), scorer.manifest.signal.cells, *score.shape[1:])
            self._scores = np.full(shape, -np.inf, dtype=np.float32)
        self._scores[rows, lengths - 1] = np.where(valid, score, np.float32(-np.inf))
        found = scorer.debounced(self._scores, debounce)[rows, lengths - 1]
        return found, np.isfinite(found)


class _Steps(NamedTuple):
    """Steps that closed cells which nobody has looked at yet."""

    done: NDArray[np.int64]
    """[S, R] steps that each request had before each."""
    after: NDArray[np.int64]
    """[S, R] progress after each, as far as it was known then."""
    active: NDArray[np.bool_]
    """[S, R] requests each belongs to."""


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
