"""Signs that somebody interferes with a masked generation, from outside the model.

Attacks on masked models prime the canvas with an answer, or take refusal tokens out of it again once the model has
committed them (arXiv 2604.08557). Both show in what the passes hold:

* `canvas_primed`: positions of the response hold tokens at the first step, and nobody declared a started response;
* `canvas_rewritten`: a position that was committed is a hole again, or holds another token.

Neither is a matter of taste where the guard's own sampler keeps what it commits, and begins with an empty canvas. A
scheme that opens positions by itself says so (`Sampler.keeps_commits`), a family that edits its text too
(`Hook.edits_tokens`), and neither is accused of it.

Nothing waits for the device before the end, unless the policy stops such generations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from sri_sdk.canvas import Canvas, after_each
from sri_sdk.capture.later import active_in, enough
from sri_sdk.capture.settings import WatchSettings
from sri_sdk.hook import Hook
from sri_sdk.reason_words import CANVAS_PRIMED, CANVAS_REWRITTEN
from sri_sdk.records import RunView, StepPlan

UNSEEN = -1
"""In place of a token: nobody knows yet what stands there, or it may change."""
PROMPTS = ("input_ids", "inputs", "prompt")
"""Names that generation methods have for the tokens they are given."""


class TamperSigns:
    """Of one run; its methods are called in the order in which things happen."""

    def __init__(self, hook: Hook, view: RunView, settings: WatchSettings) -> None:
        self._hook, self._view, self._settings = hook, view, settings
        self._looks = settings.keeps_commits and hook.scheme == "masked"
        self._mask: int | None = None
        self._given: int | None = None
        self._tokens: torch.Tensor | None = None
        self._where: tuple[torch.Tensor, torch.Tensor] | None = None
        self._width = 0
        self._undone: torch.Tensor | None = None
        self._waiting: list[tuple[torch.Tensor, StepPlan]] = []
        self._end_ids: tuple[tuple[int, ...], torch.Tensor] | None = None

    def called(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """One of the model's own generation methods begins: how long the prompts are that it was given."""
        candidates = [*args, *(kwargs[name] for name in PROMPTS if name in kwargs)]
        found = [each for each in candidates if isinstance(each, torch.Tensor) and each.dim() == 2]
        self._given = found[0].shape[1] if found else None

    def began(self, plan: StepPlan, input_ids: torch.Tensor) -> bool:
        """Looks at the first step's canvas.

        Args:
            plan: of that step.
            input_ids: [B, L] int64 tensor, tokens of its pass.

        Returns:
            Whether every request's canvas was primed. Waits for the device.
        """
        size, mask = self._settings.canvas, self._mask_id()
        if self._hook.scheme != "masked" or size is None or mask is None or input_ids.shape[1] < size:
            return False
        if self._view.response is not None or self._hook.block_length() is not None:
            return False
        ids = input_ids if plan.rows is None else input_ids[plan.rows.to(input_ids.device)]
        holes = ids[:, -size:] == mask
        if self._given is not None and self._given + size == ids.shape[1]:
            primed = ~holes.all(1)
        else:
            # How long the prompts are is not known. A shorter canvas may be another profile; one with tokens between
            # its holes, or beside rows whose canvas is whole, is not.
            behind = holes.flip(1).long().cumprod(1).sum(1)
            short = (behind > 0) & (behind < size)
            primed = short & ((holes.sum(1) > behind) | (behind == size).any())
        self._view.distrust(
            primed, CANVAS_PRIMED,
            "the response holds tokens at the first step, and none was declared: let every response begin empty, or "
            "drive it with Prompt.prefill",
        )  # fmt: skip
        return bool(primed.all())

    def shown(self, input_ids: torch.Tensor, plan: StepPlan) -> None:
        """Takes a step's tokens [B, L] int64, into which nobody writes, to be compared with what was committed before.

        Steps whose rows stand where those of the step before stood are compared together.
        """
        if not self.looks_at(plan):
            return
        waiting = self._waiting
        if enough(len(waiting), input_ids) or (waiting and not _stands(plan, waiting[-1][1])):
            self._look()
        self._waiting.append((input_ids, plan))

    def shown_steady(self, input_ids: torch.Tensor, plan: StepPlan, active: torch.Tensor | None) -> None:
        """Takes the tokens [S, B, L] int64 of S steps whose rows are those of `plan`; `active` [S, R], None = all."""
        if self.looks_at(plan):
            self._look()
            self._compare(input_ids, plan, active)

    def shown_later(self, input_ids: torch.Tensor, plans: Sequence[StepPlan]) -> None:
        """Takes the tokens [S, B, L] int64 of S steps, whose rows may stand in other places each time."""
        last = plans[-1]
        if not self.looks_at(last):
            return
        self._look()
        active = active_in(plans)
        if all(plan.positions is last.positions for plan in plans):
            self._compare(input_ids, last, active)
            return
        assert last.committed is not None
        ids, positions = input_ids, torch.stack([plan.positions for plan in plans])
        if last.rows is not None:
            ids, positions = ids[:, last.rows.to(ids.device)], positions[:, last.rows.to(positions.device)]
        width = last.committed.shape[1]
        on = (positions >= 0) & (positions < width)
        tokens = self._wide(width, ids[0])[:, :width]
        after = after_each(tokens, ids, torch.where(on, positions, width))
        before = torch.cat([tokens[None], after[:-1]]).gather(2, positions.clamp(0, width - 1))
        self._note_changes(ids, before.masked_fill(~on, UNSEEN), active)
        self._tokens = after[-1]

    def looks_at(self, plan: StepPlan) -> bool:
        """Whether a step's tokens are compared at all."""
        return self._looks and plan.committed is not None and self._mask_id() is not None

    def _look(self) -> None:
        """Compares the steps that wait."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        plan = waiting[-1][1]
        if len(waiting) == 1:
            self._compare(waiting[0][0][None], plan, None if plan.active is None else plan.active[None])
            return
        active = [each.active for _, each in waiting if each.active is not None]
        self._compare(torch.stack([ids for ids, _ in waiting]), plan, torch.stack(active) if active else None)

    def _compare(self, input_ids: torch.Tensor, plan: StepPlan, active: torch.Tensor | None) -> None:
        assert plan.committed is not None
        ids = input_ids if plan.rows is None else input_ids[:, plan.rows.to(input_ids.device)]
        places, width = self._places(plan), plan.committed.shape[1]
        tokens = self._wide(width, ids[0])
        before = tokens.gather(1, places)[None]
        if len(ids) > 1:
            # What is not on the canvas is never compared.
            before = torch.cat([before, ids[:-1].masked_fill(places == width, UNSEEN)])
        self._note_changes(ids, before, active)
        # What is not on the canvas is written behind it, and cut off again.
        self._tokens = tokens.scatter(1, places, ids[-1])[:, :width]

    def _note_changes(self, ids: torch.Tensor, before: torch.Tensor, active: torch.Tensor | None) -> None:
        """Takes note of requests that `ids`, [S, R, L] int64, show undone of what stood there `before`, the same.

        `active` [S, R] bool are those still generating; None = all.
        """
        mask = self._mask_id()
        assert mask is not None
        changed = (before != UNSEEN) & (before != mask)
        changed &= (ids == mask) if self._hook.edits_tokens else (ids != before)
        if (ends := self._ends(ids.device)) is not None:
            # Loops fill up what is behind an end token.
            changed &= ~torch.isin(ids, ends)
        if active is not None:
            # What is written into a row that has ended is no generation.
            changed &= active.to(ids.device)[:, :, None]
        undone = changed.any(2).any(0)
        self._undone = undone if self._undone is None else self._undone | undone

    def permit(self, opened: torch.Tensor) -> None:
        """Positions [R, P] bool that the caller of a driven sampler opens again."""
        self._look()
        if self._tokens is not None:
            width = min(opened.shape[1], self._tokens.shape[1])
            known, rest = self._tokens[:, :width], self._tokens[:, width:]
            self._tokens = torch.cat([known.masked_fill(opened[:, :width].to(known.device), UNSEEN), rest], dim=1)

    def report(self) -> None:
        """Passes on what was found since the last time, without waiting for the device."""
        self._look()
        undone, self._undone = self._undone, None
        if undone is not None:
            self._view.distrust(undone, CANVAS_REWRITTEN, "committed positions were opened again, or hold other tokens")

    def forget(self) -> None:
        """Lets go of tensors."""
        self._tokens, self._where, self._undone, self._waiting = None, None, None, []

    def _ends(self, device: torch.device) -> torch.Tensor | None:
        """[E] int64 tensor, ids that end a response; None = there are none."""
        ends = tuple(self._hook.eos_ids() if self._view.eos_ids is None else self._view.eos_ids)
        if self._end_ids is None or self._end_ids[0] != ends:
            self._end_ids = ends, torch.tensor(ends, device=device)
        return self._end_ids[1] if ends else None

    def _mask_id(self) -> int | None:
        if self._mask is None and self._hook.scheme == "masked":
            # A call may name another one than the model's config.
            canvas = Canvas.of(self._view)
            self._mask = self._hook.mask_id() if canvas is None else canvas.mask_id
        return self._mask

    def _places(self, plan: StepPlan) -> torch.Tensor:
        """[R, L] int64: canvas position of each row, or the column behind the canvas. Mostly the same in every pass."""
        assert plan.committed is not None
        width = plan.committed.shape[1]
        if self._where is None or self._where[0] is not plan.positions or self._width != width:
            rows = plan.positions if plan.rows is None else plan.positions[plan.rows.to(plan.positions.device)]
            on = (rows >= 0) & (rows < width)
            self._where, self._width = (plan.positions, torch.where(on, rows, width)), width
        return self._where[1]

    def _wide(self, width: int, ids: torch.Tensor) -> torch.Tensor:
        """[R, width + 1] int64: the tokens seen so far, as wide as the canvas is now."""
        known = self._tokens
        seen = 0 if known is None else known.shape[1]
        new = ids.new_full((len(ids), width + 1 - seen), UNSEEN)
        return new if known is None else torch.cat([known, new], dim=1)


def _stands(plan: StepPlan, before: StepPlan) -> bool:
    """Whether the rows of two steps are the same, as far as that shows without a look at a tensor."""
    assert plan.committed is not None and before.committed is not None
    return (
        plan.positions is before.positions
        and plan.rows is before.rows
        and plan.committed.shape == before.committed.shape
        and (plan.active is None) == (before.active is None)
    )
