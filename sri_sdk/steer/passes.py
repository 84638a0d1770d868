"""What the rows of each forward pass are, for steerings that act on some of them only.

The hook's own `plan` says so, on a `RunView` that is the steering's and not a watch's: a generation may be steered and
watched at once, and neither disturbs what the other remembers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from sri_sdk.canvas import Canvas
from sri_sdk.errors import SriError, SteeringError
from sri_sdk.hook import Hook
from sri_sdk.records import ForwardCall, RunView, StepPlan
from sri_sdk.structure import with_older_name


@dataclass(frozen=True, slots=True)
class SeenPass:
    """What is known of one forward pass, before it runs."""

    step: int | None = None
    """Number of its step, counted from 0; None = it is no step."""
    places: torch.Tensor | None = None
    """[B, L] int64 tensor: canvas position of each row's own token, negative = prompt, `PADDING` = nobody's; None = not
    known."""
    fixed: torch.Tensor | None = None
    """[B, L] bool tensor: whether the position of each row's token was fixed before this pass; None = not known."""
    owners: torch.Tensor | None = None
    """[B] int64 tensor: request of each batch row, -1 = none, as the unconditional half of guidance; None = not known.
    """
    requests: int | None = None
    """R; None = not known."""


class PassReader:
    """Reads the passes of one generation after the other."""

    def __init__(self, hook: Hook, *, strict: bool) -> None:
        """Takes the family; `strict` = a pass that the hook cannot read is an error, and not merely unknown."""
        self._hook, self._strict = hook, strict
        self._shows_prompts = "request" in hook.capabilities
        self.renew()

    def renew(
        self, requests: int | None = None, response: tuple[int, int] | None = None, *, told: bool = False
    ) -> None:
        """Another generation begins.

        Args:
            requests: how many there are; None = not known.
            response: (first column, positions) of every response that a driver started; None = the hook finds it.
            told: whether somebody says where each generation ends, so that one that begins anew unsaid is no worry.
        """
        self._view = RunView(requests=requests, response=response)
        self._told, self._blind, self._tentative = told, False, False
        self._last = SeenPass()
        self._filled: torch.Tensor | None = None
        self._emptied: torch.Tensor | None = None

    def start(self, call: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """One of the model's own generation methods is about to run.

        Raises:
            SriError: the hook cannot follow what was asked for (beam search), and would have to.
        """
        try:
            self._hook.on_call(call, args, with_older_name(kwargs), self._view)
        except SriError:
            if self._strict:
                raise
            self._blind = True
        except KeyboardInterrupt:
            raise
        except BaseException as err:
            self._fails(f"on_call({call!r})", err)

    def method_returned(self, call: str, result: Any) -> None:
        """One of the methods that the hook observes has returned."""
        try:
            self._hook.on_method_result(call, result, self._view)
        except KeyboardInterrupt:
            raise
        except BaseException as err:
            self._fails(f"on_method_result({call!r})", err)

    def read(self, call: ForwardCall) -> SeenPass:
        """What a pass is that has just begun.

        Raises:
            SteeringError: the hook cannot say it, and would have to.
        """
        if self._blind:
            return SeenPass()
        view = self._view
        view.forwards += 1
        view.reading = view.shown = None
        try:
            plan = self._hook.plan(call, view)
            if self._tentative and (accepted := self._hook.accepted_rows(view)) is not None:
                view.steps, self._tentative = view.steps + accepted, False
            if plan is None:
                return self._read_no_step(call)
        except KeyboardInterrupt:
            raise
        except BaseException as err:  # A plugin may even call `sys.exit`.
            self._fails("plan()", err)
            return SeenPass()
        step, view.steps = view.steps, view.steps + (not plan.tentative)
        self._tentative |= plan.tentative
        requests = len(plan.positions if plan.rows is None else plan.rows)
        if view.requests is None:
            view.requests = requests
        self._compare(plan)
        places, owners = plan.positions if plan.places is None else plan.places, _owners(plan)
        # Decoded tokens are fixed as soon as they are shown.
        fixed = places >= 0 if self._hook.scheme == "autoregressive" else _fixed(places, plan.committed, owners)
        self._last = SeenPass(step, places, fixed, owners, requests)
        return self._last

    def read_prompt(self, call: ForwardCall) -> SeenPass:
        """What a pass is of a part of the model that only reads prompts.

        Raises:
            SteeringError: the hook cannot say it, and would have to.
        """
        if self._blind:
            return SeenPass()
        self._view.shown = None
        try:
            return self._read_no_step(call)
        except KeyboardInterrupt:
            raise
        except BaseException as err:
            self._fails("prompt_columns()", err)
            return SeenPass()

    def _read_no_step(self, call: ForwardCall) -> SeenPass:
        """A pass that is no step may still show what can be placed: a prompt being stored, a block that is done."""
        view, owners, requests = self._view, self._last.owners, self._last.requests
        if owners is None or len(owners) != len(call.input_ids):
            # Rows leave a batch behind such a pass, and not before it.
            owners = requests = None
        unknown = SeenPass(owners=owners, requests=requests)
        if view.reading is not None:
            return unknown
        columns = None
        if view.shown is None and self._shows_prompts:
            columns = self._hook.prompt_columns(call, None, view)
        if view.shown is not None:
            places, told = view.shown
            told = _all_in_order(places) if told is None else told
            return SeenPass(None, places, places >= 0, told, self._last.requests or len(places))
        if columns is None:
            return unknown
        if (canvas := Canvas.of(view)) is not None:
            places = columns - canvas.starts[:, None]
            return SeenPass(None, places, _fixed(places, canvas.committed, _all_in_order(places)), owners, requests)
        # Nothing was generated yet, so all of it is prompt; where it ends is not known.
        return unknown if view.steps else SeenPass(None, torch.full_like(columns, -1))

    def check(self) -> None:
        """Whether what was read was one generation. Waits for the device.

        Raises:
            SteeringError: it was not, so some positions were taken for others.
        """
        canvas = Canvas.of(self._view)
        moved = (canvas is not None and canvas.moved()) or (self._emptied is not None and bool(self._emptied))
        if self._strict and not self._told and moved:
            raise SteeringError(
                "steer: another prompt or an empty canvas came in the middle: a second generation in one block, whose "
                "steps and positions were taken for those of the first. Call steering.begins() before each."
            )

    def _compare(self, plan: StepPlan) -> None:
        """Notes on the device whether a canvas that had tokens has none any more."""
        if plan.committed is None:
            return
        filled = plan.committed.any()
        if self._filled is not None:
            now = self._filled & ~filled
            self._emptied = now if self._emptied is None else self._emptied | now
        self._filled = filled

    def _fails(self, what: str, err: BaseException) -> None:
        if not self._strict:
            self._blind = True
            return
        raise SteeringError(
            f"steer: {type(self._hook).__name__}.{what} cannot say what the rows of a pass are ({type(err).__name__}: "
            f"{err}), and this steering acts on some of them only. Generate one batch at a time, or leave steps, "
            "blocks and positions out of `where`."
        ) from err


def _all_in_order(places: torch.Tensor) -> torch.Tensor:
    """[B] int64: row i of `places`, [B, L], is request i."""
    return torch.arange(len(places), device=places.device)


def _owners(plan: StepPlan) -> torch.Tensor:
    """[B] int64: request of each batch row; -1 = none."""
    if plan.owners is not None:
        return plan.owners
    inside = _all_in_order(plan.positions)
    if plan.rows is None:
        return inside
    return torch.full_like(inside, -1).scatter(0, plan.rows, inside[: len(plan.rows)])


def _fixed(places: torch.Tensor, committed: torch.Tensor | None, owners: torch.Tensor) -> torch.Tensor | None:
    """Which rows of a pass show a position that was fixed before it.

    Args:
        places: [B, L] int64 tensor, where each row stands.
        committed: [R, P] bool tensor; None = not known.
        owners: [B] int64 tensor, request of each batch row; -1 = none.

    Returns:
        [B, L] bool tensor; None = not known.
    """
    if committed is None:
        return None
    width = committed.shape[1]
    if not width:
        return torch.zeros_like(places, dtype=torch.bool)
    inside = (places >= 0) & (places < width) & (owners >= 0)[:, None]
    return inside & committed[owners.clamp(min=0)].gather(1, places.clamp(0, width - 1))
