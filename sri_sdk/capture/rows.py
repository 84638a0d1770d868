"""Rows of a batch that cannot be trusted while the others can: one request must not take its neighbours' verdicts.

A prompt is written by somebody else. What it holds, the mask token above all, may keep its own generation from being
watched, and no other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch

from sri_sdk.canvas import Canvas
from sri_sdk.hook import Hook
from sri_sdk.records import PADDING, Encoded, RunView, StepPlan

log = logging.getLogger("sri_sdk.capture")

SPECIAL_TOKEN = "special_token_in_prompt"
"""The prompt holds the mask token, so it has holes like a response: the model may fill them in."""


def mask_in_prompt(hook: Hook, encoded: Encoded) -> torch.Tensor:
    """[B] bool: prompts that hold the mask token, which a tokenizer reads out of plain text."""
    mask = hook.mask_id() if hook.scheme == "masked" else None
    if mask is None:
        return torch.zeros(len(encoded.input_ids), dtype=torch.bool)
    return ((encoded.input_ids == mask) & encoded.attention_mask.bool()).any(1)


class RowReasons:
    """Per request of one generation: why it is not trusted, as hooks say and as prompts show.

    Attributes:
        why: what a hook said first about a row that it cannot follow; None = nothing.
        late: adds what was found meanwhile, when somebody asks; None = nobody else looks.
    """

    def __init__(self, hook: Hook, view: RunView) -> None:
        self._hook, self._view = hook, view
        self._read: torch.Tensor | None = None
        self._found: dict[int, list[str]] = {}
        self._taken = 0
        self.late: Callable[[], None] | None = None
        self.why: str | None = None

    def passed(self, input_ids: torch.Tensor) -> None:
        """Takes note of a pass before the first step, as over a prompt that goes into a cache: [B, L] int64."""
        held = self._masks(input_ids)
        if held is None:
            return
        held = held.any(1)
        same = self._read is not None and len(self._read) == len(held)
        self._read = self._read | held if same and self._read is not None else held

    def began(self, plan: StepPlan, input_ids: torch.Tensor) -> None:
        """Takes note of the prompts that the first step shows, [B, L] int64, and of those that were read before it."""
        masks = self._masks(input_ids)
        if masks is None:
            return
        prompt = (plan.positions < 0) & (plan.positions != PADDING)
        held = (masks & prompt.to(masks.device)).any(1)
        if self._read is not None and len(self._read) == len(held):
            held = held | self._read
        self._view.distrust(held if plan.rows is None else held[plan.rows], SPECIAL_TOKEN)
        self._read = None

    def found(self) -> dict[int, list[str]]:
        """Row -> reasons. Waits for the device if there is something new."""
        if self.late is not None:
            self.late()
        new, self._taken = self._view.untrusted[self._taken :], len(self._view.untrusted)
        for rows, reason, why in new:
            for row in rows.nonzero()[:, 0].tolist():
                reasons = self._found.setdefault(row, [])
                if reason in reasons:
                    continue
                reasons.append(reason)
                if why and self.why is None:
                    self.why = why
                    log.warning("%s: row %d: %s: %s", type(self._hook).__name__, row, reason, why)
        return self._found

    def _masks(self, input_ids: torch.Tensor) -> torch.Tensor | None:
        """[B, L] bool: where the mask token is; None = the family has none."""
        if self._hook.scheme != "masked":
            return None
        canvas = Canvas.of(self._view)
        mask = self._hook.mask_id() if canvas is None else canvas.mask_id
        return None if mask is None else input_ids == mask
