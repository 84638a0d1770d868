"""Which requests a rule that decides meanwhile has flagged, and with which step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sri_sdk.capture.request_column import RequestColumn
from sri_sdk.capture.stream import SignalStream
from sri_sdk.grid import StepGrid
from sri_sdk.policy import Debounce

if TYPE_CHECKING:
    from sri_sdk.scoring.growing import GrowingSignals
    from sri_sdk.scoring.runtime import Scored
    from sri_sdk.scoring.scorer import Scorer


class Steps(NamedTuple):
    """Steps that closed cells which nobody has looked at yet."""

    done: NDArray[np.int64]
    """[S, R] steps that each request had before each."""
    after: NDArray[np.int64]
    """[S, R] progress after each, as far as it was known then."""
    active: NDArray[np.bool_]
    """[S, R] requests each belongs to."""


class OnlineAlarms:
    """The rule `online`: every length of every request is judged once, as soon as its last cell is closed."""

    def __init__(
        self, scorer: Scorer, stream: SignalStream, grid: StepGrid, found: dict[int, int],
        request: Callable[[], RequestColumn | None] | None, groups: tuple[str | None, ...], debounce: Debounce | None,
    ) -> None:  # fmt: skip
        """Takes what judges.

        Args:
            scorer: of the guard.
            stream: the signals.
            grid: its cells.
            found: gets row -> step that was done when it first alarmed.
            request: gives the requests' column as far as it is known; None = the guard has none.
            groups: the group of each of R requests.
            debounce: alarms it takes; None = one.
        """
        self._scorer, self._stream, self._grid, self._found = scorer, stream, grid, found
        self._request, self._groups, self._debounce = request, groups, debounce
        self._domain = scorer.manifest.signal.domain
        self._judged = [0] * len(groups)
        self._scores: NDArray[np.float32] | None = None
        self._column: RequestColumn | None = None
        self._beside: NDArray[np.float32] | None = None
        self._lies: NDArray[np.float32] | None = None
        self._growing: dict[int, GrowingSignals] = {}

    def look(self, steps: Sequence[Steps], generated: Sequence[int]) -> None:
        """Judges every length that has closed since the last look, so that no alarm depends on when one looks.

        Args:
            steps: those taken since the last look.
            generated: steps that each request has.

        Raises:
            Exception: what the scorer raised of one of them; the alarms of the others are found all the same.
        """
        new, failed = self._new(), list[Exception]()
        try:
            alarming = self._alarming(new)
        except Exception as err:
            if len(new) == 1:
                raise
            # One by one, so that the length that fails takes no other one's alarm with it.
            alarming, failed = [], [err]
            for each in new:
                try:
                    alarming += self._alarming([each])
                except Exception as again:
                    failed.append(again)
        for row, length in alarming:
            # Lengths of a row rise, so its first alarm comes first.
            if row not in self._found:
                self._found[row] = self._closed_by(row, length, steps, generated[row] - 1)
        if failed:
            raise failed[0]

    def look_at_one(self, done: Sequence[int]) -> None:
        """As `look`, where one step was taken since the last look, before which each request had `done` steps."""
        for row, _ in self._alarming(self._new()):
            self._found.setdefault(row, done[row])

    def _new(self) -> list[tuple[int, int]]:
        """Rows and lengths that have closed since the last look."""
        judged, closed = self._judged, self._stream.closed
        if judged == closed:
            return []
        self._judged = closed.copy()
        return [
            (row, length)
            for row, (before, now) in enumerate(zip(judged, closed, strict=True))
            for length in range(before + 1, now + 1)
        ]

    def _alarming(self, new: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Those rows and lengths that alarm."""
        if not new:
            return []
        scorer, values = self._scorer, self._values()
        if len(new) == 1:
            ((row, length),) = new
            growing = self._growing_row(values, row)
            growing.length[0] = length
            scored = scorer.score_prefix(growing, growing.length)
            scored = scored if self._debounce is None else self._debounced_one(row, length, scored)
            return new if scorer.alarm(scored, "online", self._groups[row]) else []
        rows, lengths = np.array([row for row, _ in new]), np.array([length for _, length in new])
        scored = self._debounced(rows, lengths, scorer.score_prefix(values[rows], lengths))
        alarms = scorer.alarms(scored, "online", [self._groups[row] for row, _ in new])
        return [new[at] for at in np.flatnonzero(alarms).tolist()]

    def _growing_row(self, values: NDArray[np.float32], row: int) -> GrowingSignals:
        """The signals [R, T, C] of one request, which lie where they lay the last time, mostly."""
        if self._lies is not values:
            self._lies, self._growing = values, {}
        if row not in self._growing:
            self._growing[row] = self._scorer.growing(values[row : row + 1])
        return self._growing[row]

    def _closed_by(self, row: int, length: int, steps: Sequence[Steps], last: int) -> int:
        """The step that closed the cells up to `length` of a row, among some; at most the `last` that it has."""
        # What a profile defines after the end is no step: an alarm there is one of the last step that ran.
        for done, after, active in steps:
            closes = active[:, row] & (after[:, row] >= self._grid.progress_for(length))
            if closes.any():
                return min(int(done[closes.argmax(), row]), last)
        return last

    def _values(self) -> NDArray[np.float32]:
        """The signals so far with the request's column, where the guard has one, [R, T, C] float32."""
        values = self._stream.logit if self._domain == "logit" else self._stream.sigma
        if self._request is None or (column := self._request()) is None:
            return values
        if self._beside is None or column is not self._column:
            self._column, self._beside = column, column.behind(values, self._domain)
        self._beside[:, :, :-1] = values
        return self._beside

    def _debounced(self, rows: NDArray[np.int64], lengths: NDArray[np.int64], scored: Scored) -> Scored:
        """What was said of the first `lengths` [B] cells of `rows` [B], if it takes more than one alarm."""
        if self._debounce is None:
            return scored
        kept = self._kept(scored)
        kept[rows, lengths - 1] = _or_none(*scored)
        found = self._scorer.debounced(kept, self._debounce)[rows, lengths - 1]
        return found, np.isfinite(found)

    def _debounced_one(self, row: int, length: int, scored: Scored) -> Scored:
        """The same of the first `length` cells of one row, [1] or [1, K], by the cells that count and no others."""
        assert self._debounce is not None
        kept = self._kept(scored)
        kept[row, length - 1] = _or_none(*scored)[0]
        seen = kept[row : row + 1, max(0, length - self._debounce.of) : length]
        found = self._scorer.debounced(seen, self._debounce)[:, -1]
        return found, np.isfinite(found)

    def _kept(self, scored: Scored) -> NDArray[np.float32]:
        """The scores so far, [R, T] or [R, T, K], -inf where there is none."""
        if self._scores is None:
            shape = (len(self._groups), self._scorer.manifest.signal.cells, *scored[0].shape[1:])
            self._scores = np.full(shape, -np.inf, dtype=np.float32)
        return self._scores


def _or_none(score: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Scores [...] where they are valid, else -inf."""
    return np.where(valid, score, np.float32(-np.inf))
