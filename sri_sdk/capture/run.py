"""One watched generation: what came of it, and what the policy makes of it while it runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np
import torch

from sri_sdk.canvas import Canvas
from sri_sdk.capture.conclude import (
    INCOMPLETE,
    INTERRUPTED,
    OTHER_CODE,
    OTHER_SHIFT,
    SCORER_FAILED,
    SILENT,
    Coverage,
    conclude_signals,
    conclude_trace,
    conclude_verdicts,
    unseen_trace,
)
from sri_sdk.capture.coverage import CoverageTracker
from sri_sdk.capture.faults import Faults
from sri_sdk.capture.horizon import Horizon
from sri_sdk.capture.passes import Passes
from sri_sdk.capture.poolers import make_pooler
from sri_sdk.capture.request import Span
from sri_sdk.capture.request_column import RequestColumn
from sri_sdk.capture.rows import SPECIAL_TOKEN, RowReasons
from sri_sdk.capture.settings import Layers, WatchSettings
from sri_sdk.capture.stops import Stops
from sri_sdk.capture.stream import SignalStream
from sri_sdk.capture.watched_calls import WatchedCalls
from sri_sdk.capture.weak import weak
from sri_sdk.errors import CaptureError
from sri_sdk.hook import Hook
from sri_sdk.policy import Decision
from sri_sdk.records import ForwardCall, RequestStates, RunView, Signals, Trace, Verdict

log = logging.getLogger("sri_sdk.capture")


class Run:
    """One generation under watch. Made by `watch` and `drive`; read it when the generation has ended.

    Attributes:
        traces: one per request, once finished.
        request: the mean states of the requests' own tokens, once finished; None = they were not read.
        signals: the requests' SRI signals, once finished; None without anchors.
        verdicts: one per request, once finished; empty without a guard. With a horizon, those of the requests that have
            got so far are there at once.
        decisions: what the policy makes of each verdict, as soon as it is there.
        passes: what the tap tells of the passes.
        calls: what the tap tells of calls around the passes.
    """

    def __init__(
        self, hook: Hook, settings: WatchSettings, request_ids: Sequence[str] | None = None, *, driven: bool = False,
        request_spans: Sequence[Span | None] | None = None, groups: Sequence[str | None] | None = None,
    ) -> None:  # fmt: skip
        """Takes what to watch and how.

        Args:
            hook: the model family.
            settings: what to measure against.
            request_ids: one per request; None = not known yet.
            driven: a sampler of ours runs the loop, and ends rows one by one.
            request_spans: one per request, where its tokens are in the prompt; None = the request is not read.
            groups: one per request; left aside where the guard has one threshold for all.
        """
        self._hook, self._settings, self._driven = hook, settings, driven
        self._pooler = make_pooler(hook.scheme, settings.pooling)
        # Where a pass may show a part of the canvas, its masks are fewer than the profile's positions.
        usual = None if settings.canvas is None or hook.block_length() is not None else settings.canvas
        self._view = RunView(requests=None if request_ids is None else len(request_ids), canvas=usual)
        self._rows = RowReasons(hook, self._view)
        self._coverage = CoverageTracker(
            hook, self._view, settings.budget, fixed=settings.fixed, horizon=settings.horizon is not None
        )
        self._faults = Faults(type(hook).__name__)
        self.passes = Passes(
            hook, settings, self._view, pooler=self._pooler, coverage=self._coverage, rows=self._rows,
            faults=self._faults, request_ids=request_ids,
            # A driver encodes the prompts itself, and looks.
            stated=() if driven else settings.stated, locates=not driven, driven=driven,
            groups=groups if settings.groups else None,
        )  # fmt: skip
        self._horizon = Horizon(settings, self.passes, self._coverage, self._rows, self._faults)
        self.calls = WatchedCalls(
            hook, self._view, self._coverage, self._faults, weak(self.returned), self.passes.tamper.called,
            weak(self.catch_up),
        )  # fmt: skip
        self._stops = Stops(settings, self.passes, self._horizon, self._rows, self._faults, driven=driven)
        self._finished = False
        self._tell: Callable[[Run], None] | None = None
        self.traces: tuple[Trace, ...] = ()
        self.request: RequestStates | None = None
        self.signals: Signals | None = None
        self.verdicts: tuple[Verdict, ...] = ()
        self.decisions: tuple[Decision, ...] = ()
        if request_spans is not None and self.reads_requests:
            self.locate_requests(request_spans)

    def __reduce__(self) -> NoReturn:
        raise CaptureError(
            "a Run belongs to a live model and cannot be copied or pickled. Pass on what it found: run.verdicts, "
            "run.traces, run.signals."
        )

    # -- while the generation runs ---------------------------------------------------------------------------

    @property
    def hook(self) -> Hook:
        """The model family."""
        return self._hook

    @property
    def request_ids(self) -> tuple[str, ...] | None:
        """One per row of the batch; None until the first step if the caller gave none."""
        return self.passes.request_ids

    @property
    def failure(self) -> str | None:
        """What went wrong first, as what the hook raised, in words; None = nothing that the reasons do not say."""
        return self._faults.failure or self._rows.why or self.passes.request.fault

    @property
    def stated(self) -> tuple[str, ...]:
        """Fields of the fingerprint that the caller stated and nothing has checked.

        These are `sampler`, and `system_prompt` unless a tokenizer was given that found it.
        """
        return self.passes.stated

    @property
    def layers(self) -> Layers:
        """What the tap must read."""
        # The last norm ends every pass, whatever is read.
        return tuple(dict.fromkeys((*self._settings.layers, *self._settings.request_layers))) or ("final",)

    @property
    def passing_layers(self) -> frozenset[str | int]:
        """Those of `layers` that are read of the requests alone: of no use once these have been read."""
        return frozenset(self._settings.request_layers) - {*self._settings.layers, "final"}

    @property
    def reads_requests(self) -> bool:
        """Whether the states of the requests' own tokens are wanted."""
        return bool(self._settings.request_layers)

    @property
    def request_read(self) -> bool:
        """Whether nothing more will be read of the requests: their column, where there is one, is known."""
        return self.passes.request.done

    def request_so_far(self) -> RequestColumn | None:
        """The column of the requests as far as their prompts were read; None = the guard has none.

        Waits for the device.
        """
        return self.passes.request.column()

    @property
    def driven(self) -> bool:
        """Whether a sampler of the SDK makes the passes; else the caller of the model does."""
        return self._driven

    @property
    def started(self) -> tuple[int, int] | None:
        """(first column, positions) of every response, where a driver said so; None = the canvas shows it."""
        return self._view.response

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
        return None if self.passes.recorder is None else self.passes.recorder.stream

    @property
    def alarms(self) -> dict[str, int]:
        """Requests flagged so far by a rule that decides meanwhile -> step that was done when it first did."""
        return self._stops.alarms

    @property
    def decides_meanwhile(self) -> bool:
        """Whether anything is to be known of this generation before its end."""
        settings = self._settings
        return self._stops.wanted or settings.immediate or settings.judges_request or settings.hold_first_token

    @property
    def rows_to_stop(self) -> tuple[int, ...]:
        """Rows that the policy ends before the next step, where a driver can end rows one by one."""
        return self._stops.rows

    def begin(self, input_ids: Any) -> None:
        """The embedding ran: a forward pass has begun, and the commits of the step before are known.

        Raises:
            GenerationAborted: the policy stops this generation, and nobody can end its rows one by one.
        """
        if self._finished:
            return
        done = self._view.steps
        # Written out: this runs in every pass.
        try:
            self.passes.begin(input_ids)
        except BaseException as err:
            if isinstance(err, KeyboardInterrupt):
                raise
            self._faults.isolate(err)
        if self._stops.wanted:
            self._judge_horizon()
            self._stops.before_step(done)

    def begin_prompt(self, input_ids: Any) -> None:
        """The embedding of a part that only reads prompts ran."""
        if not self._finished:
            self.passes.request.begin(ForwardCall(input_ids, {}))

    def prompt_state(self, layer: str | int, states: torch.Tensor) -> None:
        """A module of that part ran: [B, L, D]."""
        if not self._finished:
            self.passes.request.state(layer, states)

    def state(self, layer: str | int, output: Any) -> None:
        """A tapped module ran.

        Raises:
            GenerationAborted: the policy stops this generation before its first token.
        """
        if self._finished:
            return
        self.passes.state(layer, output)
        if layer == "final" and self._stops.holds:
            self._stops.before_first_token()

    def close_step(self, committed: torch.Tensor | None, active: torch.Tensor | None = None) -> None:
        """Closes the step that is open; a driver says so, see `Passes.close_step`: both [R, P] and [R] bool."""
        self.passes.close_step(committed, active)
        self._judge_horizon()

    def _judge_horizon(self) -> None:
        """Gives the verdicts that are due before the end."""
        with self._faults.isolated(SCORER_FAILED):
            if self._horizon.look():
                self.verdicts = self._horizon.so_far()
                self.decisions = self._settings.policy.decide(self.verdicts)

    def locate_requests(self, spans: Sequence[Span | None]) -> None:
        """Says where the request of each row is in its prompt, before the first pass."""
        self.passes.request.locate(spans)

    def starts(self, column: int, positions: int) -> None:
        """Says where every response lies, for passes whose canvas does not begin as masks; a driver does, beforehand.

        Args:
            column: of the first response position, in every pass.
            positions: P.
        """
        self._view.response = (column, positions)

    def distrust(self, rows: torch.Tensor, reason: str) -> None:
        """Says that some requests, [R] bool, cannot be trusted while the others can; a driver does, beforehand."""
        self._view.distrust(rows, reason)

    def permit(self, opened: torch.Tensor) -> None:
        """Says that the caller of a driven sampler opens positions, [R, P] bool, again; a driver does, beforehand."""
        with self._faults.isolated():
            self.passes.settle()
        self.passes.tamper.permit(opened)

    def expect(self, steps: Sequence[int]) -> None:
        """Says how many steps each request took, where somebody knows; else the hook's own expectation counts."""
        self.catch_up()
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
        self.catch_up()
        with self._faults.isolated():
            self.passes.accept(tokens=tokens)
        if self.passes.recorder is not None and (reason := self._coverage.returned(tokens, passes)) is not None:
            self.fail(reason)
        self.passes.shift.ends(tokens)
        return tokens

    def told_by(self, tell: Callable[[Run], None]) -> None:
        """Has passes told late, by what keeps them on the device meanwhile; it is asked before anybody counts them."""
        self._tell = tell

    def catch_up(self) -> None:
        """Has everything told and looked at that has run so far."""
        with self._faults.isolated():
            if self._tell is not None:
                self._tell(self)
            self.passes.settle()

    def spoilt(self, err: Exception, reason: str) -> None:
        """Notes why nothing this run says can be trusted, and what went wrong in words."""
        self._faults.isolate(err, reason)

    def fail(self, reason: str) -> None:
        """Notes why nothing this run says can be trusted."""
        self._faults.add(reason)

    def steered(self, told: str) -> None:
        """Takes note of a steering that changes the states of this generation.

        One that began before the watch shows among the code of others, and may have been accepted there; one that began
        later did not, and the guard would judge states that it knows nothing of.

        Args:
            told: what is done to them, for people.
        """
        settings = self._settings
        known = bool(settings.foreign_code) or "adapter" in settings.accepted
        if settings.scorer is None or known or OTHER_CODE in self._faults.reasons:
            return
        self.fail(OTHER_CODE)
        log.warning(
            "%s began after the watch. The run is unmonitored (%s). Begin the steering first, and accept `adapter` if "
            "the guard is to judge it.", told, OTHER_CODE,
        )  # fmt: skip

    # -- the end ---------------------------------------------------------------------------------------------

    def finish(self, committed: torch.Tensor | None = None) -> None:
        """Closes the run. Calling it again does nothing.

        Args:
            committed: [R, P] bool, the final canvas; None = everything is committed, as after a whole generation.
        """
        if self._finished:
            return
        coverage: list[Coverage] = []
        with self._faults.isolated():
            self._close(committed)
            coverage = self._fill_grid()
        self._finished = True
        self.calls.ended = True
        self.calls.explain(whole=self.passes.recorder is not None and self._seen_whole(coverage))
        # A run that saw nothing still has a verdict: no verdict at all would read as nothing wrong.
        ids = self.request_ids or ("0",)
        if self.passes.recorder is None:
            self.fail(SILENT)
        if self._settings.foreign_code:
            # Last: whatever else went wrong is the better clue.
            self.fail(OTHER_CODE)
            log.warning(
                "the model runs code that the guard was not fitted with: %s. The run is unmonitored (%s). Take it off, "
                "fit a guard with it, or accept `adapter` if it only looks on.",
                self._settings.foreign_code, OTHER_CODE,
            )  # fmt: skip
        if self.passes.recorder is None:
            rows = self._rows.found()
            self.traces = tuple(unseen_trace(i, [*rows.get(r, ()), *self._faults.reasons]) for r, i in enumerate(ids))
        else:
            coverage = coverage or self._coverage_of(len(ids))
            rows = self._rows.found()
            self.traces = tuple(
                conclude_trace(
                    self.passes.recorder, row, i, coverage[row], [*self._horizon.failures(row), *rows.get(row, ())]
                )
                for row, i in enumerate(ids)
            )
            self.request = self.passes.request.states()
            self.signals = conclude_signals(
                self._settings, ids, self.passes.recorder.stream, self.stated,
                request=self.request, request_failed=self.passes.request.fault is not None,
                groups=self.passes.groups,
            )  # fmt: skip
        # Whoever keeps the run keeps its results, not the model's last states.
        self.passes.forget()
        self._coverage.forget()
        self._view.taken, self._view.memory, self._view.untrusted = None, {}, []
        # The generation is done and its caller wants the tokens: a scorer that fails costs the verdict, not them.
        if self._settings.scorer is not None:
            self.verdicts = tuple(Verdict(i, "unmonitored", (SCORER_FAILED,)) for i in ids)
        with self._faults.isolated(SCORER_FAILED):
            self.verdicts = conclude_verdicts(self._settings, self.passes.recorder, self.signals, self.traces)
        self.decisions = self._settings.policy.decide(self.verdicts)
        if self._settings.emitter is not None:
            self._settings.emitter.emit(self.verdicts)

    def _close(self, committed: torch.Tensor | None) -> None:
        """Looks for what was missed, and closes the last step; `committed` [R, P] bool is the canvas after it."""
        self.passes.settle()
        if self.passes.open and not self.passes.beyond:
            self.fail(SILENT)
        if self.passes.drafts.waiting and not self.passes.beyond:
            self.fail(INCOMPLETE)
        for reason in (self._coverage.missed_passes(), self._coverage.unexplained_passes()):
            if reason is not None:
                self.fail(reason)
        if self.passes.shift.contradicted():
            self.fail(OTHER_SHIFT)
        if self.calls.running:
            # The block ends while the generation goes on, as in another thread.
            self.fail(INTERRUPTED)
        if (canvas := Canvas.of(self._view)) is not None and canvas.moved():
            self._faults.isolate(
                CaptureError(
                    "another prompt, or a canvas begun anew: watch one generation at a time, one request id per row"
                )
            )
        self._horizon.ends(commits_known=committed is not None or self._hook.scheme == "autoregressive")
        self.passes.close(committed)

    def _coverage_of(self, requests: int) -> list[Coverage]:
        """How much was seen of each request; nothing, where that cannot be told."""
        with self._faults.isolated():
            return self._coverage.coverage(requests)
        return [Coverage(0, None, None, ended=False)] * requests

    def _seen_whole(self, coverage: Sequence[Coverage]) -> bool:
        return not self._faults.reasons and not any(each.reasons() for each in coverage)

    def _fill_grid(self) -> list[Coverage]:
        """Per request: how much was seen. What was seen whole also gets the cells that lie behind its end."""
        if self.passes.recorder is None:
            return []
        grid = self._settings.grid
        missing = 0 if grid is None else int(max(grid.budget - self.passes.recorder.steps.min(), 0))
        coverage = self._coverage.coverage(len(self.passes.recorder.steps))
        whole = np.array([not (c.reasons() or self._horizon.failures(row)) for row, c in enumerate(coverage)])
        for row, reasons in self._rows.found().items():
            # A prompt with a mask in it was watched all the same, and may be flagged.
            whole[row] &= reasons == [SPECIAL_TOKEN]
        self.passes.recorder.finish(self._pooler.tail(missing), whole)
        return coverage
