"""What a run keeps of each step, on the host: vectors if asked for, progress, signals, alarms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from sri_sdk.capture.pool import Pooled
from sri_sdk.capture.request_column import RequestColumn
from sri_sdk.capture.settings import WatchSettings
from sri_sdk.capture.stream import SignalStream
from sri_sdk.errors import CaptureError

if TYPE_CHECKING:
    from sri_sdk.scoring.runtime import Scored
    from sri_sdk.scoring.scorer import Scorer


class Recorder:
    """The steps of R requests.

    Attributes:
        steps: [R] vectors taken per request; a profile may define some beyond the end.
        alarms: row -> step that was done when a rule that decides while a model runs first alarmed.
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
        self._judged = np.zeros(requests, dtype=np.int64)
        self._generated: NDArray[np.int64] | None = None
        self.steps = np.zeros(requests, dtype=np.int64)
        self.alarms: dict[int, int] = {}
        self._scores: NDArray[np.float32] | None = None
        self.stream: SignalStream | None = None
        if settings.anchors is not None and settings.grid is not None:
            self.stream = SignalStream(
                settings.anchors, settings.grid, requests, tau=settings.tau, eps=settings.eps
            )  # fmt: skip

    @property
    def full(self) -> NDArray[np.bool_]:
        """[R]: requests of which all steps that the guard judges were taken; all False without a horizon."""
        horizon = self._settings.horizon
        return self.steps >= horizon if horizon is not None else np.zeros(len(self.steps), dtype=np.bool_)

    def take(self, pooled: Pooled) -> None:
        """Takes one step. Waits for the device only if somebody wants the numbers now."""
        # A step beyond the horizon would overwrite the last cell.
        active = to_host(pooled.active, len(self.steps)) & ~self.full
        self._add(pooled.phi, active, self._progress(pooled))

    def finish(self, tail: Iterable[Pooled], whole: NDArray[np.bool_]) -> None:
        """Takes what the profile defines after the end, and fills the grid, for requests that were seen whole ([R])."""
        grid = self._settings.grid
        self._generated = self.steps.copy()
        if grid is None or not self._active:
            return
        for pooled in tail:
            self._add(pooled.phi, whole & (self.steps < grid.budget), self.steps.copy())
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

    def _progress(self, pooled: Pooled) -> NDArray[np.int64]:
        grid = self._settings.grid
        if grid is None or grid.mapping == "step":
            return self.steps.copy()
        if pooled.committed is None:
            raise CaptureError("grid mapping `committed` needs a hook that reads commits; use mapping `step`.")
        committed = pooled.committed.cpu().numpy().astype(np.int64)
        # Some samplers un-commit: progress is the running maximum, or a cell would be filled twice.
        return np.maximum(committed, self._before[-1]) if self._before else committed

    def _add(self, phi: torch.Tensor, active: NDArray[np.bool_], before: NDArray[np.int64]) -> None:
        phi = phi if self._settings.layers else phi[:, :0]
        self.steps = self.steps + active
        self._active.append(active)
        self._before.append(before)
        if self._keeps:
            self._phi.append(phi)
        if self.stream is not None:
            grid = self._settings.grid
            # How many tokens a step commits shows only at the next one, so its cell stays open until then.
            waits = grid is not None and grid.mapping == "committed"
            self.stream.add(phi, before, before if waits else before + 1, active)
            self._look_for_alarms()

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
        if scorer is None or stream is None or self._settings.policy.rule != "online":
            return
        domain = scorer.manifest.signal.domain
        values = stream.logit if domain == "logit" else stream.sigma
        new = [(r, t) for r in range(len(values)) for t in range(self._judged[r] + 1, stream.lengths[r] + 1)]
        self._judged = stream.lengths.copy()
        if not new:
            return
        if (column := self._request()) is not None:
            values = column.behind(values, domain)
        rows, lengths = (np.array(side, dtype=np.int64) for side in zip(*new, strict=True))
        groups = [self._groups[row] for row in rows]
        scored = self._debounced(scorer, rows, lengths, scorer.score_prefix(values[rows], lengths))
        for row in rows[scorer.alarms(scored, "online", groups)].tolist():
            # What a profile defines after the end is no step: an alarm there is one of the last step that ran.
            done = self.steps if self._generated is None else self._generated
            self.alarms.setdefault(row, int(done[row]) - 1)

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


def to_host(active: torch.Tensor | None, requests: int) -> NDArray[np.bool_]:
    """[R] bool on the host; None = all."""
    return np.ones(requests, dtype=np.bool_) if active is None else active.cpu().numpy()
