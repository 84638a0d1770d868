"""One watched generation: what the tap reports becomes steps, and at the end traces, signals and verdicts."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np
import torch

from sri_sdk.canvas import Canvas
from sri_sdk.capture.conclude import (
    HOOK_FAILED,
    INTERRUPTED,
    OTHER_SHIFT,
    SCORER_FAILED,
    SILENT,
    TWICE,
    Coverage,
    conclude_signals,
    conclude_trace,
    conclude_verdicts,
    unseen_trace,
)
from sri_sdk.capture.coverage import CoverageTracker, returned_tokens
from sri_sdk.capture.pool import Pooled, make_pooler
from sri_sdk.capture.profile import refuse_other_canvas, refuse_other_start
from sri_sdk.capture.recorder import Recorder
from sri_sdk.capture.settings import Layers, WatchSettings
from sri_sdk.capture.shift_check import ShiftCheck
from sri_sdk.capture.stream import SignalStream
from sri_sdk.errors import CaptureError, GenerationAborted, SriError
from sri_sdk.hook import Hook
from sri_sdk.policy import Decision
from sri_sdk.records import ForwardCall, RunView, Signals, StepPlan, Trace, Verdict

log = logging.getLogger("sri_sdk.capture")

MOST_WAITING = 64
"""Steps pooled on the device before they move, with the final rule; online each moves at once."""


class Run:
    """One generation under watch. Made by `watch` and `drive`; read it when the generation has ended.

    Attributes:
        request_ids: one per row of the batch; None until the first step if the caller gave none.
        traces: one per request, once finished.
        signals: the requests' SRI signals, once finished; None without anchors.
        verdicts: one per request, once finished; empty without a guard.
        decisions: what the policy makes of each verdict, once finished.
        failure: what the hook raised first; None = nothing.
    """

    def __init__(
        self, hook: Hook, settings: WatchSettings, request_ids: Sequence[str] | None = None, *, driven: bool = False
    ) -> None:
        """Takes what to watch and how; `driven` = a sampler of ours runs the loop, and ends rows one by one."""
        self._hook, self._settings, self._driven = hook, settings, driven
        self._pooler = make_pooler(hook.scheme, settings.pooling)
        self._view = RunView(requests=None if request_ids is None else len(request_ids))
        self._recorder: Recorder | None = None
        self._plan: StepPlan | None = None
        self._kwargs: Mapping[str, Any] = {}
        self._states: dict[str | int, torch.Tensor] = {}
        self._fired: dict[str | int, int] = {}
        self._pooled = False
        self._waiting: list[Pooled] = []
        self._coverage = CoverageTracker(hook, self._view, settings.budget, fixed=settings.fixed)
        self._shift = ShiftCheck(hook)
        self._calling: int | None = None
        self.failure: str | None = None
        self._failures: list[str] = []
        self._finished = False
        self.request_ids: tuple[str, ...] | None = None if request_ids is None else tuple(request_ids)
        self.traces: tuple[Trace, ...] = ()
        self.signals: Signals | None = None
        self.verdicts: tuple[Verdict, ...] = ()
        self.decisions: tuple[Decision, ...] = ()

    def __reduce__(self) -> NoReturn:
        raise CaptureError(
            "a Run belongs to a live model and cannot be copied or pickled. Pass on what it found: run.verdicts, "
            "run.traces, run.signals."
        )

    # -- while the generation runs ---------------------------------------------------------------------------

    @property
    def layers(self) -> Layers:
        """What the tap must read."""
        return self._settings.layers

    @property
    def finished(self) -> bool:
        """Whether the generation has ended; passes no longer count."""
        return self._finished

    @property
    def why(self) -> str:
        """Which hook watches, and why it fits."""
        return f"{type(self._hook).__name__}: {type(self._hook).fits(self._hook.model).why}"

    @property
    def live(self) -> SignalStream | None:
        """The signals so far; None without anchors or before the first step."""
        return None if self._recorder is None else self._recorder.stream

    @property
    def alarms(self) -> dict[str, int]:
        """Requests the online rule has flagged so far -> step that was done when it first did."""
        found = {} if self._recorder is None else self._recorder.alarms
        return {(self.request_ids or ())[row]: step for row, step in found.items()}

    @property
    def stops_blind(self) -> bool:
        """Whether the policy ends this generation because it is known already that nothing it says can be trusted."""
        judged = self._settings.scorer is not None
        return judged and self._settings.policy.stops_when_blind and bool(self._failures)

    @property
    def rows_to_stop(self) -> tuple[int, ...]:
        """Rows that the policy ends before the next step, where a driver can end rows one by one."""
        if self._recorder is None:
            return ()
        if self.stops_blind:
            return tuple(range(len(self._recorder.steps)))
        return tuple(sorted(self._recorder.alarms)) if self._settings.policy.stops_on_alarm else ()

    def enter_forward(self, kwargs: Mapping[str, Any]) -> None:
        """The model's own forward was called with these keyword arguments."""
        # A pass that then goes around the embedding is missing, not the last one's second.
        self._kwargs, self._pooled = kwargs, False

    def begin(self, input_ids: Any) -> None:
        """The embedding ran: a forward pass has begun, and the commits of the step before are known.

        Raises:
            GenerationAborted: the policy stops this generation, and nobody can end its rows one by one.
        """
        if self._finished:
            return
        try:
            self._begin(input_ids)
        except KeyboardInterrupt:
            raise
        except BaseException as err:
            self._isolate(err)
        if self._driven:
            return
        # Only now: what the step before did to the signal shows once this pass tells its commits.
        if self._settings.policy.stops_on_alarm and self.alarms:
            self._plan = None
            raise GenerationAborted(tuple(self.alarms), max(self.alarms.values()))
        if self.stops_blind:
            raise GenerationAborted(self.request_ids or (), self._view.steps - 1, blind=self._failures[0])

    def _begin(self, input_ids: torch.Tensor) -> None:
        if self._plan is not None:
            self.fail(SILENT)
        self._plan, self._states, self._fired, self._pooled = None, {}, {}, False
        call, self._kwargs = ForwardCall(input_ids, self._kwargs), {}
        self._view.forwards += 1
        self._view.reading = None
        plan = self._hook.plan(call, self._view)
        self._coverage.shown(input_ids, plan)
        self._shift.begins(input_ids, plan)
        if plan is None:
            return
        self._start(plan, input_ids)
        self.close_step(plan.committed)
        self._plan = plan
        self._coverage.planned(plan)
        self._view.steps += 1

    def state(self, layer: str | int, output: Any) -> None:
        """A tapped module ran."""
        if self._finished:
            return
        if self._plan is None:
            if self._pooled:
                self.fail(TWICE)
            return
        fired = self._fired[layer] = self._fired.get(layer, 0) + 1
        if fired > self._hook.firings:
            self.fail(TWICE)
        # Some blocks return (states, cache), some norms (states, residual): the states come first.
        self._states[layer] = output[0] if isinstance(output, tuple) else output
        if layer != "final" or fired < self._hook.firings:
            return
        if any(name not in self._states for name in self.layers):
            # A block ran without its hook firing: the model was compiled before this block was asked for.
            self._plan = None
            self.fail(SILENT)
            return
        try:
            plan, self._plan, self._pooled = self._plan, None, True
            self._pooler.add([self._states[name].detach() for name in self.layers], plan)
            self._shift.ran(self._states["final"])
            self._coverage.seen.append(plan.active)
        except KeyboardInterrupt:
            raise
        except BaseException as err:
            self._isolate(err)

    def close_step(self, committed: torch.Tensor | None, active: torch.Tensor | None = None) -> None:
        """Closes the step that is open, now that the canvas after its update is known.

        Args:
            committed: [R, P] bool; None = the hook cannot tell.
            active: [R] bool, requests the step belongs to, where a driven sampler says so; else the hook's word counts.
        """
        pooled = self._pooler.close_step(committed)
        if pooled is None:
            return
        if active is not None:
            both = active if pooled.active is None else pooled.active & active.to(pooled.active.device)
            pooled, self._coverage.seen[-1] = replace(pooled, active=both), both
        self._waiting.append(pooled)
        if self._settings.immediate or len(self._waiting) >= MOST_WAITING:
            self._record()

    def starts(self, column: int, positions: int) -> None:
        """Says where every response lies, for passes whose canvas does not begin as masks; a driver does, beforehand.

        Args:
            column: of the first response position, in every pass.
            positions: P.
        """
        self._view.response = (column, positions)

    def expect(self, steps: Sequence[int]) -> None:
        """Says how many steps each request took, where somebody knows; else the hook's own expectation counts."""
        self._coverage.expected = tuple(steps)

    def returned(self, tokens: torch.Tensor, passes: int | None = None) -> torch.Tensor:
        """Says what the watched call returned, so that coverage can be checked where a family stops when it likes.

            with sri_sdk.watch(model, guard) as run:
                tokens, count = generate(model, ids, threshold=0.9)
                run.returned(tokens, passes=count)

        The model's own methods are read automatically. `passes` settles what tokens cannot: where every pass shows the
        whole canvas, a generation that ended early and a tap that fell silent return alike.

        Args:
            tokens: [R, L] token ids, with or without the prompt.
            passes: forward passes the call made, where it says so; None = not known.

        Returns:
            The same tokens.
        """
        if self._recorder is not None and (reason := self._coverage.returned(tokens, passes)) is not None:
            self.fail(reason)
        self._shift.ends(tokens)
        return tokens

    def enter_call(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
        """One of the model's own generation methods is about to run.

        Returns:
            Whether it is the outermost one; what it calls in turn does not count.

        Raises:
            SriError: it cannot be watched.
        """
        if self._calling is not None or self._finished:
            return False
        try:
            self._hook.on_call(name, args, kwargs, self._view)
        except SriError:
            raise
        except KeyboardInterrupt:
            raise
        except BaseException as err:
            self._isolate(err)
        if self._view.steps:
            self._isolate(CaptureError("a second generation in one watch; watch one generation at a time"))
        self._calling = self._view.forwards
        return True

    def leave_call(self, result: Any, *, raised: bool = False) -> None:
        """The outermost generation method ends; `result` is what it returned."""
        before, self._calling = self._calling, None
        if raised:
            # Whoever catches the error inside the block goes on, but not this generation.
            if self._view.forwards != before:
                self.fail(INTERRUPTED)
            return
        tokens = returned_tokens(result)
        try:
            if tokens is not None and not self._coverage.end_reported:
                self.returned(tokens)
        except KeyboardInterrupt:
            raise
        except BaseException as err:
            self._isolate(err)

    def method_returned(self, name: str, result: Any) -> None:
        """One of the methods that the hook observes has returned."""
        if self._finished:
            return
        try:
            self._hook.on_method_result(name, result, self._view)
        except KeyboardInterrupt:
            raise
        except BaseException as err:
            self._isolate(err)

    def enter_forward_call(self) -> int:
        """Counts a call of the model's own forward, whether or not the tap sees the pass.

        Returns:
            Steps so far, for `leave_forward_call`.
        """
        if not self._finished:
            self._coverage.forward_calls += 1
        return self._view.steps

    def leave_forward_call(self, before: int) -> None:
        """The model's own forward returns; it began after `before` steps. One pass is at most one step."""
        if not self._finished and self._view.steps > before + 1:
            self.fail(TWICE)

    def count_unowned(self, passes: int) -> None:
        """Notes how many passes of this model ran meanwhile that belong to no run."""
        self._coverage.unowned_passes = passes

    def fail(self, reason: str) -> None:
        """Notes why nothing this run says can be trusted."""
        if reason not in self._failures:
            self._failures.append(reason)

    # -- the end ---------------------------------------------------------------------------------------------

    def finish(self, committed: torch.Tensor | None = None) -> None:
        """Closes the run. Calling it again does nothing.

        Args:
            committed: [R, P] bool, the final canvas; None = everything is committed, as after a whole generation.
        """
        if self._finished:
            return
        coverage: list[Coverage] = []
        try:
            self._close(committed)
            coverage = self._fill_grid()
        except KeyboardInterrupt:
            raise
        except BaseException as err:
            self._isolate(err)
        self._finished = True
        # A run that saw nothing still has a verdict: no verdict at all would read as nothing wrong.
        ids = self.request_ids or ("0",)
        if self._recorder is None:
            self.fail(SILENT)
            self.traces = tuple(unseen_trace(i, self._failures) for i in ids)
        else:
            coverage = coverage or self._coverage.coverage(len(ids))
            self.traces = tuple(
                conclude_trace(self._recorder, row, i, coverage[row], self._failures) for row, i in enumerate(ids)
            )
            self.signals = conclude_signals(self._settings, ids, self._recorder.stream)
        # Whoever keeps the run keeps its results, not the model's last states.
        self._states, self._waiting, self._view.taken, self._view.memory = {}, [], None, {}
        self._coverage.forget()
        self._shift.forget()
        try:
            self.verdicts = conclude_verdicts(self._settings, self._recorder, self.signals, self.traces)
        except KeyboardInterrupt:
            raise
        except BaseException as err:
            # The generation is done and its caller wants the tokens: a scorer that fails costs the verdict, not them.
            self._isolate(err, SCORER_FAILED)
            self.verdicts = tuple(Verdict(i, "unmonitored", (SCORER_FAILED,)) for i in ids)
        self.decisions = self._settings.policy.decide(self.verdicts)
        if self._settings.emitter is not None:
            self._settings.emitter.emit(self.verdicts)

    def _close(self, committed: torch.Tensor | None) -> None:
        """Looks for what was missed, and closes the last step; `committed` [R, P] bool is the canvas after it."""
        if self._plan is not None:
            self.fail(SILENT)
        for reason in (self._coverage.missed_passes(), self._coverage.unexplained_passes()):
            if reason is not None:
                self.fail(reason)
        if self._shift.contradicted():
            self.fail(OTHER_SHIFT)
        if self._calling is not None:
            # The block ends while the generation goes on, as in another thread.
            self.fail(INTERRUPTED)
        if (canvas := Canvas.of(self._view)) is not None and canvas.moved():
            self._isolate(CaptureError("another prompt, or a canvas begun anew: watch one generation at a time"))
        if self._recorder is None:
            return
        if committed is None and self._hook.scheme != "autoregressive":
            committed = torch.ones(len(self._recorder.steps), self._coverage.width_of_canvas(), dtype=torch.bool)
        self.close_step(committed)
        self._record()

    def _fill_grid(self) -> list[Coverage]:
        """Per request: how much was seen. What was seen whole also gets the cells that lie behind its end."""
        if self._recorder is None:
            return []
        grid = self._settings.grid
        missing = 0 if grid is None else int(max(grid.budget - self._recorder.steps.min(), 0))
        coverage = self._coverage.coverage(len(self._recorder.steps))
        whole = np.array([not c.reasons() for c in coverage]) & (not self._failures)
        self._recorder.finish(self._pooler.tail(missing), whole)
        return coverage

    def _record(self) -> None:
        """Records what was pooled. With the final rule that is once, at the end: no step waits for the device."""
        waiting, self._waiting = self._waiting, []
        if self._recorder is not None:
            for pooled in waiting:
                self._recorder.take(pooled)

    # -- the first step, and failures ------------------------------------------------------------------------

    def _start(self, plan: StepPlan, input_ids: torch.Tensor) -> None:
        """The first step says how many requests there are, and whether the generation suits the guard's profile.

        `input_ids` [B, L] int64 are the tokens of its pass.
        """
        if self._recorder is not None:
            return
        requests = len(plan.positions if plan.rows is None else plan.rows)
        if self.request_ids is None:
            self.request_ids = tuple(str(i) for i in range(requests))
        if requests != len(self.request_ids):
            raise CaptureError(
                f"{len(self.request_ids)} request ids, but the model generates {requests} rows; "
                "pass one id per prompt, in the order of the batch"
            )
        refuse_other_start(plan, self._view.response, self._hook)
        refuse_other_canvas(plan, self._settings.canvas, self._hook)
        self._view.requests = requests
        self._coverage.began(plan, input_ids)
        self._recorder = Recorder(self._settings, requests)

    def _isolate(self, err: BaseException, reason: str = HOOK_FAILED) -> None:
        """A failure here never alters the generation: the run becomes unmonitored, and the log says why, once."""
        self._plan = None
        if reason not in self._failures:
            self.failure = f"{type(err).__name__}: {err}"
            log.warning("%s: %s: the run is unmonitored: %s", type(self._hook).__name__, reason, self.failure)
        self.fail(reason)
