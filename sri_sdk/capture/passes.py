"""The forward passes of one generation, as they run: from what the tap reports to recorded steps."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from threading import get_ident
from typing import Any

import numpy as np
import torch

from sri_sdk.canvas import LaterPasses, SteadyPasses
from sri_sdk.capture.asked_later import AskedLater, Listeners
from sri_sdk.capture.compiled import is_recorded
from sri_sdk.capture.conclude import OTHER_SYSTEM_PROMPT, SILENT, TWICE
from sri_sdk.capture.coverage import CoverageTracker
from sri_sdk.capture.drafts import VerifiedDrafts
from sri_sdk.capture.faults import Faults
from sri_sdk.capture.following import FollowingRun, capacity_for, holds_too_much, is_plain, says_how_it_goes_on
from sri_sdk.capture.later import AT_ONCE, MOST_WAITING
from sri_sdk.capture.pool import Pooled, Pooler, with_active
from sri_sdk.capture.profile import refuse_other_canvas, refuse_other_start
from sri_sdk.capture.recorder import Recorder, to_host
from sri_sdk.capture.request_part import RequestPart
from sri_sdk.capture.rows import RowReasons
from sri_sdk.capture.settings import WatchSettings
from sri_sdk.capture.shift_check import ShiftCheck
from sri_sdk.capture.stated import SYSTEM_PROMPT, agrees, prompt_rows
from sri_sdk.capture.steady import SteadyRun
from sri_sdk.capture.tamper import TamperSigns
from sri_sdk.capture.weak import weak
from sri_sdk.errors import CaptureError
from sri_sdk.hook import Hook
from sri_sdk.records import ForwardCall, RunView, StepPlan
from sri_sdk.structure import CACHE, with_older_name

log = logging.getLogger("sri_sdk.capture")
_NOTHING: Mapping[str, Any] = {}
_TENSOR = torch.Tensor


class Passes:
    """Of one run; its methods are called in the order in which things happen.

    Attributes:
        request_ids: one per request; None until the first step if the caller gave none.
        groups: the group of each request, as far as the caller named them; None = the guard has none, or none was
            named.
        recorder: the steps so far; None before the first.
        request: what is read of the requests' own tokens.
        drafts: passes that verify drafted tokens.
        stated: fields of the fingerprint that the caller stated and nothing has checked yet.
        shift: compares the plan's shift with the tokens that are filled in.
        tamper: compares what was committed with what is shown later.
        steady: the passes that go on as the one before; None = they are planned one by one.
    """

    def __init__(
        self, hook: Hook, settings: WatchSettings, view: RunView, *, pooler: Pooler, coverage: CoverageTracker,
        rows: RowReasons, faults: Faults, request_ids: Sequence[str] | None, stated: tuple[str, ...],
        locates: bool = False, groups: Sequence[str | None] | None = None, driven: bool = False,
    ) -> None:  # fmt: skip
        self._hook, self._settings, self._view = hook, settings, view
        self._pooler, self._coverage, self._rows, self._faults = pooler, coverage, rows, faults
        self._plan: StepPlan | None = None
        self._kwargs: Mapping[str, Any] = {}
        self._states: dict[str | int, torch.Tensor] = {}
        self._fired: dict[str | int, int] = {}
        self._pooled = False
        self._waiting: list[Pooled] = []
        self._closed = 0
        self._beyond = self._counted = False
        self.request_ids = None if request_ids is None else tuple(request_ids)
        self.groups = None if groups is None else tuple(groups)
        self.recorder: Recorder | None = None
        self.request = RequestPart(hook, settings, view, locates=locates)
        self.drafts = VerifiedDrafts(hook, view)
        self.stated = stated
        self.shift = ShiftCheck(hook)
        self.tamper = TamperSigns(hook, view, settings)
        rows.late = self._report_tampering
        # A driver says of each step at once what became of it, and whoever decides meanwhile wants to know.
        waits = driven and (settings.immediate or settings.horizon is not None)
        # What decides meanwhile by what the tokens show looks at each pass.
        self._may_be_steady = (
            not waits and hook.firings == 1 and not settings.policy.stops_on_tampering and says_how_it_goes_on(hook)
        )
        self._driven = driven
        # By number of the step: requests it belongs to, as the driver says.
        self._closes: dict[int, torch.Tensor | None] = {}
        self._next_close = 0
        self._alone = (settings.layers or ("final",)) == ("final",)
        self._counts = settings.grid is not None and settings.grid.mapping == "committed"
        self._horizon = settings.horizon
        # Steps before they are handed over: each where somebody decides meanwhile, and the recorder counts how many.
        self._looks, policy = settings.immediate, settings.policy
        # Where nothing stops the generation, alarms are found some steps at a time, or when somebody asks.
        self._on_demand = (
            self._looks
            and not (settings.live or driven or policy.stops_on_alarm or policy.stops_on_tampering)
            and settings.horizon is None
        )
        self._look_every = AT_ONCE if self._on_demand else 1 if self._looks else MOST_WAITING
        self._thread = get_ident()
        self.steady: FollowingRun | None = None
        # Whether a pass that goes on needs no more than is written out below: everything is decided at the end, or by
        # the step before, which is then looked at as the next one begins. Known once passes go on.
        self._fast, self._stops = False, policy.stops_on_alarm
        self._last: tuple[StepPlan, torch.Tensor, list[torch.Tensor], torch.Tensor] | None = None
        self._ids: torch.Tensor | None = None

    def _catch_up(self) -> None:
        """Looks at the steps that have run, for whoever asks meanwhile in the thread that generates.

        To others the passes belong to somebody else: they see what was found when steps were looked at last.
        """
        steady = self.steady
        if get_ident() != self._thread or (steady is None and not self._waiting):
            return
        with self._faults.isolated():
            if steady is not None and steady.waiting:
                self._closed_steps(steady.take())
            elif isinstance(steady, AskedLater) and not steady.open:
                self.settle()
            if self._waiting:
                self._record()

    def _report_tampering(self) -> None:
        # What waits to be looked at is looked at here, so that a pass that fits nothing shows here as well.
        try:
            self.tamper.report()
        except BaseException as err:
            if isinstance(err, KeyboardInterrupt):
                raise
            self._faults.isolate(err)

    def enter_forward(self, kwargs: Mapping[str, Any]) -> None:
        """The model's own forward was called with these keyword arguments."""
        # A pass that then goes around the embedding is missing, not the last one's second.
        self._kwargs, self._pooled = with_older_name(kwargs) if CACHE in kwargs else kwargs, False

    def begin(self, input_ids: torch.Tensor) -> None:
        """The embedding ran on [B, L] int64 ids: a forward pass has begun, and the step before is over."""
        if (self.steady is not None or self._may_be_steady) and self._goes_on(input_ids):
            return
        if self._plan is not None:
            self._faults.add(SILENT)
        self._plan, self._states, self._fired, self._pooled, self._last = None, {}, {}, False, None
        call, self._kwargs = ForwardCall(input_ids, self._kwargs), {}
        self._view.forwards += 1
        self._view.reading = None
        plan = self._hook.plan(call, self._view)
        if self.drafts.waiting:
            self.accept(plan)
        # A copy, for all who keep it: samplers write into their canvas.
        kept = input_ids.clone() if self._hook.scheme == "masked" or self._may_be_steady else input_ids
        self._coverage.shown(kept, plan)
        if not self._beyond:
            self.shift.begins(input_ids, plan)
        if self._view.forwards == 1 and SYSTEM_PROMPT in self.stated and self._settings.tokenizer is not None:
            self._check_stated(call, plan)
        self.request.begin(call, plan)
        if plan is None:
            if self.recorder is None:
                self._rows.passed(input_ids)
            return
        self._start(plan, input_ids)
        requests = len(input_ids if plan.rows is None else plan.rows)
        if requests != self._view.requests:
            raise CaptureError(
                f"a pass of {requests} requests after passes of {self._view.requests}: watch one generation at a time"
            )
        if not self._beyond:
            self.tamper.shown(kept, plan)
        self.close_step(plan.committed)
        if self._settings.policy.stops_on_tampering:
            self._rows.found()
        self._plan = plan
        self._coverage.planned(plan)
        self._view.steps += not plan.tentative
        self._ids = kept if self._may_be_steady and not self._beyond else None

    # -- passes that go on as the one before -------------------------------------------------------------------

    def begins_fast(self, input_ids: Any) -> bool:
        """Begins the pass over [B, L] int64 ids if that takes nothing but a copy of them, as nearly always.

        This and `takes_fast` are all that most passes cost, so they are written out, and ask only what may differ.
        """
        steady = self.steady
        if steady is None or not steady.room_left or steady.open or not self._fast:
            return False
        try:
            if input_ids.shape != steady.shape or (input_ids.is_cuda and is_recorded(input_ids)):
                return False
            if steady.asks and not steady.takes(input_ids, self._kwargs):
                return False
            if self._looks and steady.waiting >= self._look_every and not self._goes_on_after_a_look(steady):
                return False
            steady.begin(input_ids)
        except BaseException as err:
            if isinstance(err, KeyboardInterrupt):
                raise
            # It says so once more where it is noted.
            return False
        if not self._alone:
            self._states = {}
        self._kwargs, self._pooled = _NOTHING, False
        self._view.forwards += 1
        self._view.steps += 1
        return True

    def _goes_on_after_a_look(self, steady: FollowingRun) -> bool:
        """Looks at the steps before; says whether nobody is to be asked if the generation goes on."""
        try:
            self._closed_steps(steady.take())
        except BaseException as err:
            if isinstance(err, KeyboardInterrupt):
                raise
            self._faults.isolate(err)
            return False
        return not (self._stops and self.recorder is not None and self.recorder.alarms)

    def takes_fast(self, states: Any) -> bool:
        """Takes what the last norm gave, if it is [B, L, D] of such a pass and nothing else is tapped."""
        steady = self.steady
        if steady is None or not steady.open or not self._fast or not self._alone or type(states) is not _TENSOR:
            return False
        if states.shape != steady.states_shape or states.requires_grad:
            return False
        self._pooled = True
        try:
            steady.add_one(states)
        except BaseException as err:
            if isinstance(err, KeyboardInterrupt):
                raise
            self._faults.isolate(err)
        return True

    def _goes_on(self, input_ids: torch.Tensor) -> bool:
        """Begins the pass over [B, L] int64 ids if it goes on as the one before, which needs no plan."""
        steady = self.steady or self._new_steady(input_ids)
        if steady is None:
            return False
        horizon = self._horizon
        ends = horizon is not None and self._closed + max(steady.waiting, 1) >= horizon
        if ends or steady.open or steady.overwritten or not steady.takes(input_ids, self._kwargs):
            self.settle()
            return False
        if self.steady is None:
            # The planned step before; of these profiles none asks what it committed.
            self.close_step(None)
            self.steady, self._next_close = steady, self._view.steps + 1
            steady.start()
        elif steady.waiting >= self._look_every:
            self._closed_steps(steady.take())
        if steady.full:
            self._closed_steps(steady.renew())
        self._states, self._kwargs, self._pooled = {}, {}, False
        steady.begin(input_ids)
        self._view.forwards += 1
        self._view.steps += 1
        return True

    def _new_steady(self, input_ids: torch.Tensor) -> FollowingRun | None:
        """Room for passes over [B, L] int64 ids behind the last one, which was planned; None = all are planned."""
        last, self._last = self._last, None
        if last is None or self._beyond or last[1].shape != input_ids.shape:
            return None
        if self._settings.request_layers and self.request.waits:
            return None
        plan, ids, states, final = last
        requests = len(plan.positions if plan.rows is None else plan.rows)
        # Of a plan for other rows than the pass has, nobody could say what goes on.
        if len(plan.positions) != len(ids) or any(each.shape[:2] != ids.shape for each in (*states, final)):
            return None
        if not is_plain((ids, *states, final)) or holds_too_much(final, self.shift.steps_wanted(ids, requests)):
            return None
        going = self._hook.steady(plan, self._view)
        if going is None:
            return None
        settings = self._settings
        waits = settings.hold_first_token or settings.horizon is not None
        self._fast = not waits and (self._looks or not self._stops)
        capacity = capacity_for(ids, settings.budget)
        if isinstance(going, LaterPasses):
            # A driver's steps are its own account; who decides meanwhile wants to know at once.
            if self._driven or self._look_every == 1 or self._horizon is not None:
                return None
            capacity = min(capacity, self._look_every)
            to = Listeners(self._view, self._coverage, self.shift, self.tamper, self._faults)
            return AskedLater.of(going, last, self._pooler, capacity, to=to, counts=self._counts)
        room = self._pooler.steady(states, plan, capacity)
        if room is None or not isinstance(going, SteadyPasses):
            return None
        return SteadyRun(
            going, plan, ids, final, self._pooler, room, capacity, coverage=self._coverage, shift=self.shift,
            tamper=self.tamper, counts=self._counts,
        )  # fmt: skip

    def _closed_steps(self, steps: list[Pooled]) -> None:
        """Takes steps behind which another one has begun."""
        if not steps:
            return
        if self._driven:
            first, self._next_close = self._next_close, self._next_close + len(steps)
            steps = with_active(steps, [self._closes.pop(first + index, None) for index in range(len(steps))])
        self._coverage.seen.extend(each.active for each in steps)
        self._waiting.extend(steps)
        self._closed += len(steps)
        if len(self._waiting) >= self._look_every:
            self._record()

    def settle(self) -> None:
        """Looks at everything that has run, so that what is known of the run is known."""
        steady, self.steady = self.steady, None
        if steady is None:
            return
        steps = steady.look()
        if steady.overwritten:
            self._may_be_steady = False
        if steady.open:
            self._closed_steps(steps)
            self._plan = steady.plan
            return
        if self._next_close + len(steps) - 1 in self._closes:
            self._closed_steps(steps)
        elif steps:
            # Nobody has said yet what follows the last one.
            self._closed_steps(steps[:-1])
            self._coverage.seen.append(steps[-1].active)
            self._pooler.reopen(steps[-1])

    def _steady_state(self, steady: FollowingRun, layer: str | int, states: torch.Tensor) -> None:
        """A tapped module gave [B, L, D] in a pass that goes on as the one before."""
        if not steady.open:
            if self._pooled:
                self._faults.add(TWICE)
            return
        if layer != "final":
            if self._alone:
                # Of the request's layers, which no step is made of.
                return
            if layer in self._states:
                self._faults.add(TWICE)
            self._states[layer] = states
            return
        if self._alone:
            found = [states]
        else:
            self._states["final"] = states
            if any(name not in self._states for name in self._settings.layers):
                self._faults.add(SILENT)
                return
            found = [self._states[name] for name in self._settings.layers]
        self._pooled = True
        if states.requires_grad:
            found, states = [each.detach() for each in found], states.detach()
        try:
            steady.add(found, states)
        except BaseException as err:
            if isinstance(err, KeyboardInterrupt):
                raise
            self._faults.isolate(err)

    def _check_stated(self, call: ForwardCall, plan: StepPlan | None) -> None:
        """Looks for the stated system prompt in the tokens of the first pass."""
        settings = self._settings
        # Not the half of guidance that has no prompt.
        requests = None if plan is None else plan.rows
        rows = prompt_rows(settings.tokenizer, call.input_ids, call.kwargs, requests)
        found = agrees(self._hook, settings.tokenizer, settings.system_prompt, rows)
        if found is not None:
            self.stated = tuple(name for name in self.stated if name != SYSTEM_PROMPT)
        if found is False:
            what = (
                "the stated system prompt is missing" if settings.system_prompt else "there is one, and none is stated"
            )
            log.warning("system prompt: %s in the tokens: the run is unmonitored (%s)", what, OTHER_SYSTEM_PROMPT)
            self._faults.add(OTHER_SYSTEM_PROMPT)

    def state(self, layer: str | int, output: Any) -> None:
        """A tapped module ran."""
        # Some blocks return (states, cache), some norms (states, residual): the states come first.
        states = output[0] if isinstance(output, tuple) else output
        if self.steady is not None:
            self._steady_state(self.steady, layer, states)
            return
        if self._plan is None and self._pooled:
            self._faults.add(TWICE)
            return
        fired = self._fired[layer] = self._fired.get(layer, 0) + 1
        if fired >= self._hook.firings:
            self.request.state(layer, states)
        if self._plan is None:
            return
        if fired > self._hook.firings:
            self._faults.add(TWICE)
        if self._beyond:
            self._count(layer)
            return
        self._states[layer] = states
        if layer != "final" or fired < self._hook.firings:
            return
        if any(name not in self._states for name in self._settings.layers):
            # A block ran without its hook firing: the model was compiled before this block was asked for.
            self._plan = None
            self._faults.add(SILENT)
            return
        with self._faults.isolated():
            plan, self._plan, self._pooled = self._plan, None, True
            # A guard that reads requests alone has no layers; the pooler still counts, and the recorder keeps nothing.
            layers = self._settings.layers or ("final",)
            final = states.detach()
            found = [final if name == "final" else self._states[name].detach() for name in layers]
            if plan.tentative:
                self.drafts.verified(plan, found)
                return
            self._pooler.add(found, plan)
            if self._may_be_steady and self._ids is not None:
                self._last, self._ids = (plan, self._ids, found, final), None
            self.shift.ran(final)
            self._coverage.seen.append(plan.active)

    def _count(self, layer: str | int) -> None:
        """Takes a pass beyond the horizon for what it is: one more that was seen, of which nothing is read."""
        if layer == "final" and self._plan is not None and self._fired[layer] >= self._hook.firings:
            if self._plan.tentative:
                self.drafts.verified(self._plan, [])
            else:
                self._coverage.seen.append(self._plan.active)
            self._plan, self._pooled, self._counted = None, True, True

    def accept(self, plan: StepPlan | None = None, tokens: torch.Tensor | None = None) -> None:
        """Makes steps of those rows of the last verifying pass that were kept; see `VerifiedDrafts.kept`.

        `tokens` [R, L] int64.
        """
        for kept, states in self.drafts.kept(plan, tokens):
            self._view.steps += 1
            self.close_step(None)
            if not self._beyond:
                self._pooler.add(states, kept)
            self._coverage.seen.append(kept.active)

    def close_step(self, committed: torch.Tensor | None, active: torch.Tensor | None = None) -> None:
        """Closes the step that is open, now that the canvas after its update is known.

        Args:
            committed: [R, P] bool; None = the hook cannot tell.
            active: [R] bool, requests the step belongs to, where a driven sampler says so; else the hook's word counts.
        """
        if self.steady is not None:
            # Looked at with the others. A copy: a sampler may write into its own.
            self._closes.setdefault(self._view.steps, None if active is None else active.clone())
            return
        counted, self._counted = self._counted, False
        pooled = self._pooler.close_step(committed)
        if active is not None and (counted or pooled is not None):
            known = self._coverage.seen[-1] if pooled is None else pooled.active
            self._coverage.seen[-1] = active if known is None else known & active.to(known.device)
        if pooled is None:
            return
        if active is not None:
            pooled = replace(pooled, active=self._coverage.seen[-1])
        self._waiting.append(pooled)
        self._closed += 1
        horizon = self._settings.horizon
        at_end = horizon is not None and self._closed >= horizon
        if len(self._waiting) >= self._look_every or at_end:
            self._record()
        if self._settings.judges_request and self.recorder is not None:
            self.recorder.judge_requests()
        if at_end and self.recorder is not None:
            # Of these models a row that has ended stays so; others may wait for their neighbours and go on.
            self._beyond = self._hook.scheme == "autoregressive" or bool(self.recorder.full.all())

    def drop(self) -> None:
        """Ends the pass that is open without a step."""
        with self._faults.isolated():
            self.settle()
        self._plan = None

    def close(self, committed: torch.Tensor | None) -> None:
        """Closes the last step, [R, P] bool being the canvas after it; None = all of it is committed."""
        if self.recorder is None:
            return
        if committed is None and self._hook.scheme != "autoregressive":
            committed = torch.ones(len(self.recorder.steps), self._coverage.width_of_canvas(), dtype=torch.bool)
        self.close_step(committed)
        self._record()

    @property
    def beyond(self) -> bool:
        """Whether every step that the guard judges is done: later passes are counted, and not read."""
        return self._beyond

    def going_on(self) -> list[int]:
        """Rows that the pass which has begun takes beyond the horizon. Waits for the device."""
        if self.recorder is None or self._plan is None or not self.recorder.full.any():
            return []
        going = to_host(self._plan.active, len(self.recorder.steps)) & self.recorder.full
        return [int(row) for row in np.flatnonzero(going)]

    @property
    def open(self) -> bool:
        """Whether a step has begun and not reached the last norm."""
        return self._plan is not None or (self.steady is not None and self.steady.open)

    def forget(self) -> None:
        """Lets go of the model's last states: whoever keeps a run keeps its results."""
        self._states, self._waiting, self.steady, self._last, self._ids = {}, [], None, None, None
        self.drafts.forget()
        self.shift.forget()
        self.tamper.forget()

    def _record(self) -> None:
        """Records what was pooled. With the final rule that is once, at the end: no step waits for the device."""
        waiting, self._waiting = self._waiting, []
        if self.recorder is not None:
            self.recorder.take_many(waiting)

    def _start(self, plan: StepPlan, input_ids: torch.Tensor) -> None:
        """The first step says how many requests there are, and whether the generation suits the guard's profile.

        `input_ids` [B, L] int64 are the tokens of its pass.
        """
        if self.recorder is not None:
            return
        requests = len(plan.positions if plan.rows is None else plan.rows)
        if self.request_ids is None:
            self.request_ids = tuple(str(i) for i in range(requests))
        if requests != len(self.request_ids):
            raise CaptureError(
                f"{len(self.request_ids)} request ids, but the model generates {requests} rows; "
                "pass one id per prompt, in the order of the batch. A pipeline that is given a list generates text by "
                "text: pass it batch_size=len(texts)"
            )
        if self.groups is not None and requests != len(self.groups):
            raise CaptureError(
                f"{len(self.groups)} groups, but the model generates {requests} rows; pass one per prompt, in the "
                "order of the batch"
            )
        refuse_other_start(plan, self._view.response, self._hook)
        # A canvas that somebody primed is found too short; that is the better word for it.
        if not self.tamper.began(plan, input_ids):
            refuse_other_canvas(plan, self._settings.canvas, self._hook)
        self._view.requests = requests
        self._rows.began(plan, input_ids)
        self._coverage.began(plan, input_ids)
        self._thread = get_ident()
        if input_ids.device.type != "cpu" and self._on_demand:
            # Each step's numbers are on their way while the next one runs.
            self._on_demand, self._look_every = False, 1
        self.recorder = Recorder(
            self._settings, requests, weak(self.request.column), self.groups,
            asked=weak(self._catch_up) if self._on_demand else None,
        )  # fmt: skip
