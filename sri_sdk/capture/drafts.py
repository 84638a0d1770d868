"""Passes that verify drafted tokens: which of their rows were kept is known only once the model has gone on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from sri_sdk.errors import CaptureError
from sri_sdk.hook import Hook
from sri_sdk.records import RunView, StepPlan


class VerifiedDrafts:
    """The last verifying pass of a run, until the hook says how many of its rows were kept.

    Attributes:
        waiting: whether drafts were verified of which nobody has said how many were kept.
    """

    def __init__(self, hook: Hook, view: RunView) -> None:
        self._hook, self._view = hook, view
        self._last: tuple[StepPlan, list[torch.Tensor]] | None = None
        self.waiting = False

    def verified(self, plan: StepPlan, states: list[torch.Tensor]) -> None:
        """A pass verified the rows of `plan`, and gave C tensors [B, L, D]; none = nobody reads them."""
        # Copies: which of them count is known once the model has gone on.
        self._last, self.waiting = (plan, [each.clone() for each in states]), True

    def kept(
        self, plan: StepPlan | None = None, tokens: torch.Tensor | None = None
    ) -> Iterator[tuple[StepPlan, list[torch.Tensor]]]:
        """The rows that were kept, each as a step: its plan, and C tensors [B, 1, D]. None at all = not known yet.

        Args:
            plan: of the pass that has begun; None = it is no step, or none has begun.
            tokens: [R, L] int64 tensor, what the call returned; None = it goes on.

        Raises:
            CaptureError: a step begins, and nobody has said it; or more rows were kept than there are.
        """
        if self._last is None:
            return
        kept = self._hook.accepted_rows(self._view, tokens)
        if kept is None and plan is None:
            return
        verified, states = self._last
        self.forget()
        rows = verified.positions.shape[1]
        if kept is None or not 0 <= kept <= rows or len(verified.positions) != 1:
            raise CaptureError(
                f"a pass verified {rows} drafted tokens of {len(verified.positions)} requests, and "
                f"{type(self._hook).__name__}.accepted_rows() says {kept}; before the next step, 0 to {rows} of one "
                "request are needed"
            )
        for row in range(kept):
            here = slice(row, row + 1)
            yield replace(verified, positions=verified.positions[:, here]), [each[:, here] for each in states]

    def forget(self) -> None:
        """Lets go of tensors."""
        self._last, self.waiting = None, False
