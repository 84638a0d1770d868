"""What the policy ends before its end: a generation, or some of its rows where a driver can end rows one by one."""

from __future__ import annotations

from sri_sdk.capture.conclude import SCORER_FAILED
from sri_sdk.capture.faults import Faults
from sri_sdk.capture.horizon import Horizon
from sri_sdk.capture.passes import Passes
from sri_sdk.capture.rows import RowReasons
from sri_sdk.capture.settings import WatchSettings
from sri_sdk.errors import GenerationAborted
from sri_sdk.reason_words import TAMPERING


class Stops:
    """Of one run.

    Attributes:
        wanted: whether the policy ends anything between two passes, of a generation whose rows nobody ends one by one.
        holds: whether the requests must be judged before the first token is there, and were not.
    """

    def __init__(
        self, settings: WatchSettings, passes: Passes, horizon: Horizon, rows: RowReasons, faults: Faults, *,
        driven: bool,
    ) -> None:  # fmt: skip
        """Takes what is known of the run; `driven` = a sampler of ours asks for `rows` and ends them."""
        self._settings, self._policy, self._passes = settings, settings.policy, passes
        self._horizon, self._rows, self._faults = horizon, rows, faults
        self.wanted = not driven and (
            settings.horizon is not None or self._policy.stops_on_alarm or self._policy.stops_on_tampering
        )
        self.holds = settings.hold_first_token and not driven

    @property
    def alarms(self) -> dict[str, int]:
        """Requests flagged so far by a rule that decides meanwhile -> step that was done when it first did."""
        found = {} if self._passes.recorder is None else self._passes.recorder.alarms
        return {self._ids[row]: step for row, step in found.items()}

    @property
    def all_blind(self) -> bool:
        """Whether the policy ends the generation because it is known that nothing said of it can be trusted."""
        if self._settings.scorer is None or not self._policy.stops_on_tampering:
            return False
        recorder = self._passes.recorder
        return (self._policy.stops_when_blind and bool(self._faults.reasons)) or (
            recorder is not None and len(self._blind) == len(recorder.steps)
        )

    @property
    def rows(self) -> tuple[int, ...]:
        """Rows that the policy ends before the next step."""
        recorder = self._passes.recorder
        if recorder is None:
            return ()
        if self.all_blind:
            return tuple(range(len(recorder.steps)))
        alarms = recorder.alarms if self._policy.stops_on_alarm else {}
        return tuple(sorted({*alarms, *self._blind, *self._horizon.flagged(), *self._horizon.reached()}))

    def before_step(self, done: int) -> None:
        """Another pass has begun, behind `done` steps.

        Raises:
            GenerationAborted: the policy stops the generation.
        """
        # Only now: what the step before did to the signal shows once this pass tells its commits.
        if self._policy.stops_on_alarm and (alarms := self.alarms):
            self._passes.drop()
            raise GenerationAborted(tuple(alarms), max(alarms.values()))
        ids, last = self._ids, (self._settings.horizon or 1) - 1
        if stopped := self._horizon.flagged():
            self._passes.drop()
            raise GenerationAborted(tuple(ids[row] for row in stopped), last)
        if self._horizon.reached() and (going := self._passes.going_on()):
            self._passes.drop()
            raise GenerationAborted(tuple(ids[row] for row in going), last, beyond=True)
        if self.all_blind:
            faults = self._faults.reasons if self._policy.stops_when_blind else []
            reasons = [*faults, *(reason for row in self._blind.values() for reason in row)]
            raise GenerationAborted(ids, done - 1, blind=reasons[0])

    def before_first_token(self) -> None:
        """Judges the requests inside the first step's pass, before it gives any logits.

        Raises:
            GenerationAborted: the policy stops the generation.
        """
        recorder = self._passes.recorder
        if recorder is None or self._passes.open:
            return
        self.holds = False
        with self._faults.isolated(SCORER_FAILED):
            recorder.judge_requests()
        if self._policy.stops_on_alarm and (alarms := self.alarms):
            raise GenerationAborted(tuple(alarms), -1)
        # A response cannot begin before its prompt was read: what is not known by now never will be.
        column = self._passes.request.column()
        missing = [] if column is None else [why for why in column.missing if why is not None]
        blind = [
            *self._faults.reasons,
            *(missing if column is not None and len(missing) == len(column.missing) else ()),
        ]
        if self._policy.stops_when_blind and blind:
            raise GenerationAborted(self._ids, -1, blind=blind[0])

    @property
    def _ids(self) -> tuple[str, ...]:
        return self._passes.request_ids or ()

    @property
    def _blind(self) -> dict[int, list[str]]:
        """Rows of which it is known already that nothing said of them can be trusted, where the policy ends such."""
        if self._settings.scorer is None or not self._policy.stops_on_tampering:
            return {}
        found = self._rows.found()
        if self._policy.stops_when_blind:
            return found
        signs = {row: [reason for reason in reasons if reason in TAMPERING] for row, reasons in found.items()}
        return {row: reasons for row, reasons in signs.items() if reasons}
