"""Verdicts as soon as the first N steps are done, of a guard that judges no more than these.

Later passes are counted and not read. What they show may take a verdict back, as a pass that was missed: it may have
been one of the first N.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sri_sdk.capture.conclude import INTERRUPTED, conclude_signals, conclude_trace, conclude_verdicts
from sri_sdk.capture.coverage import CoverageTracker
from sri_sdk.capture.faults import Faults
from sri_sdk.capture.passes import Passes
from sri_sdk.capture.rows import RowReasons
from sri_sdk.capture.settings import WatchSettings
from sri_sdk.records import Verdict


class Horizon:
    """Of one run; without a horizon there is never anything to decide.

    Attributes:
        verdicts: row -> its verdict, of the rows whose first N steps are done.
    """

    def __init__(
        self, settings: WatchSettings, passes: Passes, coverage: CoverageTracker, rows: RowReasons, faults: Faults
    ) -> None:
        self._settings, self._passes = settings, passes
        self._coverage, self._rows, self._faults = coverage, rows, faults
        self._settled: NDArray[np.bool_] | None = None
        self._over = settings.horizon is None or settings.scorer is None
        self.verdicts: dict[int, Verdict] = {}

    def look(self) -> bool:
        """Judges the rows whose first N steps are done since the last look; says whether there were any."""
        recorder, ids = self._passes.recorder, self._passes.request_ids
        if self._over or recorder is None or ids is None:
            return False
        self._over = self._passes.beyond
        new = [int(row) for row in np.flatnonzero(recorder.full) if row not in self.verdicts]
        if not new:
            return False
        coverage, reasons = self._coverage.coverage(len(ids)), self._rows.found()
        traces = [
            conclude_trace(recorder, row, i, coverage[row], [*self.failures(row), *reasons.get(row, ())])
            for row, i in enumerate(ids)
        ]
        signals = conclude_signals(
            self._settings, ids, recorder.stream, self._passes.stated, request=self._passes.request.states(),
            request_failed=self._passes.request.fault is not None, groups=self._passes.groups,
        )  # fmt: skip
        # All of them, since alarms go by row; the others have no verdict yet.
        judged = conclude_verdicts(self._settings, recorder, signals, traces)
        self.verdicts.update({row: judged[row] for row in new})
        return True

    def so_far(self) -> tuple[Verdict, ...]:
        """The verdicts there are, in the order of the rows."""
        return tuple(verdict for _, verdict in sorted(self.verdicts.items()))

    def flagged(self) -> list[int]:
        """Rows with an alarm that the policy stops."""
        if self._settings.policy.flagged == "report":
            return []
        return sorted(row for row, verdict in self.verdicts.items() if verdict.status == "flagged")

    def reached(self) -> list[int]:
        """Rows that the policy stops because nobody would judge what follows."""
        recorder, wanted = self._passes.recorder, self._settings.policy.stops_at_horizon
        if self._settings.scorer is None or recorder is None or not wanted:
            return []
        return [int(row) for row in np.flatnonzero(recorder.full)]

    def failures(self, row: int) -> Sequence[str]:
        """Why nothing of the run can be trusted, as far as it concerns a row: its end does not, behind the horizon."""
        settled = self._done() if self._settled is None else self._settled
        free = bool(settled[row]) if row < len(settled) else False
        return [reason for reason in self._faults.reasons if not (free and reason == INTERRUPTED)]

    def ends(self, *, commits_known: bool) -> None:
        """The run ends, and its last step is about to be closed.

        Where nobody knows what that step committed, as after an interruption, it does not count as done.
        """
        self._settled = None if commits_known else self._done()

    def _done(self) -> NDArray[np.bool_]:
        """[R]: rows of which every step that is judged is done."""
        recorder = self._passes.recorder
        if recorder is None:
            return np.zeros(0, dtype=np.bool_)
        return np.ones(len(recorder.steps), dtype=np.bool_) if self._passes.beyond else recorder.full
