"""`Watched`: one batch of requests under a monitor."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

from sri_sdk.capture.run import Run
from sri_sdk.monitor.observing import Texts
from sri_sdk.observation import Observation
from sri_sdk.policy import Decision
from sri_sdk.records import Verdict

if TYPE_CHECKING:
    import torch


class Watched:
    """One batch of requests under `Monitor.watch`.

    Attributes:
        request_ids: one per row.
        run: what the tap saw; None = these requests were not sampled, and nothing watches them.
        observations: what is written down of them, once the block has ended.
        recorded: done once that is on disk; None until the block has ended.
    """

    def __init__(self, request_ids: Sequence[str]) -> None:
        """Use `Monitor.watch`."""
        self.request_ids = tuple(request_ids)
        self.run: Run | None = None
        self.observations: tuple[Observation, ...] = ()
        self.recorded: Future[None] | None = None
        self._decided: tuple[Decision, ...] = ()
        self._texts: dict[int, Texts] = {}

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """One per request, once the block has ended; of a guard with a horizon those that are there already."""
        return tuple(each.verdict for each in self.decisions)

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """What the policy makes of each; in the mode observe nothing is withheld."""
        return self._decided or (() if self.run is None else self.run.decisions)

    def returned(self, tokens: torch.Tensor, passes: int | None = None) -> torch.Tensor:
        """Says what the generation returned, as `Run.returned` does: [R, L] token ids, which it gives back."""
        return tokens if self.run is None else self.run.returned(tokens, passes)

    def says(self, prompts: Sequence[str], responses: Sequence[str]) -> None:
        """Says what was asked and answered, one text per row: kept only where the settings store texts."""
        self._texts = {
            row: Texts(prompt, response) for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True))
        }
