"""The requests' own tokens in the passes of one run: where they are, which passes show them, and what was read."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from sri_sdk.capture.locate import shown_requests
from sri_sdk.capture.request import RequestReader, Span
from sri_sdk.capture.request_column import RequestColumn
from sri_sdk.capture.settings import WatchSettings
from sri_sdk.hook import Hook
from sri_sdk.records import ForwardCall, RequestStates, RunView, StepPlan

log = logging.getLogger("sri_sdk.capture")


class RequestPart:
    """Of one run. What fails here costs the request's column, and nothing else.

    Attributes:
        fault: what reading them raised, in words; None = nothing.
    """

    def __init__(self, hook: Hook, settings: WatchSettings, view: RunView, *, locates: bool) -> None:
        """Takes what to read; `locates` = the first pass that shows prompts is searched for them."""
        self._hook, self._settings, self._view = hook, settings, view
        self._locates = locates and settings.tokenizer is not None and bool(settings.request_layers)
        self._reader: RequestReader | None = None
        self._column: RequestColumn | None = None
        self._column_of: tuple[bool, int | None] = (False, None)
        self.fault: str | None = None

    def locate(self, spans: Sequence[Span | None]) -> None:
        """Says where the request of each row is in its prompt, before the first pass."""
        self._locates = False
        self._reader = RequestReader(self._settings.request_layers, spans, last=self._settings.request_tokens)

    @property
    def waits(self) -> bool:
        """Whether a later pass may show more of them."""
        return self.fault is None and (self._locates or (self._reader is not None and self._reader.waits))

    @property
    def done(self) -> bool:
        """Whether nothing more will be read of them: their column, where there is one, is known."""
        return self.fault is not None or (self._reader is not None and not self._reader.waits)

    def begin(self, call: ForwardCall, plan: StepPlan | None = None) -> None:
        """A pass has begun that may show a part of the prompt; asks which, as long as some of it was not seen."""
        # As `waits`, written out: this is asked in every pass that is planned.
        if self.fault is not None or not (self._locates or (self._reader is not None and self._reader.waits)):
            return
        with self._contained():
            columns = self._hook.prompt_columns(call, plan, self._view)
            if self._locates and columns is not None:
                settings, self._locates = self._settings, False
                self.locate(
                    shown_requests(
                        self._hook, settings.tokenizer, call.input_ids, plan, columns, settings.system_prompt
                    )
                )
            if self._reader is not None:
                self._reader.begin(columns, None if plan is None else plan.rows)

    def state(self, layer: str | int, states: torch.Tensor) -> None:
        """A tapped module gave states [B, L, D] in a pass that may show a part of the prompt."""
        if self._reader is None or self.fault is not None:
            return
        with self._contained():
            self._reader.state(layer, states)

    def states(self) -> RequestStates | None:
        """What was read so far; None = nothing is, or the hook failed over it. Waits for the device."""
        return None if self._reader is None or self.fault is not None else self._reader.result()

    def column(self) -> RequestColumn | None:
        """The column of the requests as far as their prompts were read; None = the guard has none.

        Waits for the device where a pass showed more of some request since the last look.
        """
        anchors, failed = self._settings.anchors, self.fault is not None
        if anchors is None or anchors.request is None or self._view.requests is None:
            return None
        seen = (failed, None if self._reader is None else self._reader.read)
        if self._column is None or self._column_of != seen:
            self._column = RequestColumn.of(anchors, self.states(), self._view.requests, failed=failed)
            self._column_of = seen
        return self._column

    @contextmanager
    def _contained(self) -> Iterator[None]:
        """What the block raises costs the request's column and nothing else."""
        try:
            yield
        except KeyboardInterrupt:
            raise
        except BaseException as err:  # A plugin may even call `sys.exit`.
            self.fault = f"{type(err).__name__}: {err}"
            log.warning("%s: the request is not read: %s", type(self._hook).__name__, self.fault)
