"""What a steering reached: passes seen, places that ran in them. A model that was quietly left alone looks like one
that resists, so silence is an error."""

from __future__ import annotations

from collections import Counter

import torch

from sri_sdk.errors import SteeringError
from sri_sdk.hook import Hook
from sri_sdk.steer.one_pass import OnePass
from sri_sdk.steer.places import Place, Point


class Coverage:
    """Of one steering.

    Attributes:
        passes: forward passes seen.
        prompt_passes: those of a part of the model that only reads prompts.
        unowned: passes of other threads and tasks.
        fired: how often the module of each place ran.
        places: all of them, in the order in which they run.
    """

    def __init__(self, hook: Hook, points: list[Point]) -> None:
        self._family, self._firings = type(hook).__name__, hook.firings
        found = [place for point in points for place in point.runs if place is not None]
        self.places = sorted(found, key=lambda place: (place.prompts, -1 if place.block is None else place.block))
        self.fired: Counter[Place] = Counter()
        self.passes = self.prompt_passes = self.unowned = 0
        self._passed_over: Counter[Place] = Counter()
        self._positions: torch.Tensor | int = 0

    def begin(self, *, prompts: bool) -> None:
        """A pass has begun."""
        self.prompt_passes += prompts
        self.passes += not prompts

    def meant(self, positions: torch.Tensor | int) -> None:
        """Counts positions that a pass changes; a tensor [...] of one int64 stays on its device."""
        self._positions = positions + self._positions

    @property
    def positions(self) -> int:
        """Positions that were meant, over all passes. Waits for the device."""
        self._positions = int(self._positions)
        return self._positions

    def close(self, done: OnePass | None) -> None:
        """A pass is over: places that it went past stayed silent."""
        if done is None:
            return
        places = [place for place in self.places if place.prompts == done.prompts and place.block is not None]
        reached = max((place.block or 0 for place in done.fired), default=-1)
        # Those behind the last one may not have been reached: an error, or a guard, ended the pass.
        self._passed_over.update(
            place for place in places if (place.block or 0) < reached and place not in done.fired
        )  # fmt: skip

    def refuse_silence(self) -> None:
        """Whether something was steered.

        Raises:
            SteeringError: no pass was seen, or a place stayed silent.
        """
        if not self.passes and not self.prompt_passes:
            where = (
                f"{self.unowned} passes of this model ran in other threads or contexts. Steer inside the thread, or "
                "start it with Thread(target=contextvars.copy_context().run, args=(generate, ...))."
                if self.unowned
                else "Was the model called inside the block, and not a compiled copy of it?"
            )
            raise SteeringError(f"steer: nothing was steered: no pass of {self._family}'s model was seen. {where}")
        silent = [place for place in self.places if self._due(place) and not self.fired[place]]
        # A guard may stop the only pass as it begins.
        silent = [] if self.passes + self.prompt_passes == 1 and not self.fired else silent
        if silent := silent or list(self._passed_over):
            raise SteeringError(
                f"steer: `{silent[0]}` of {self._family} ran {self.fired[silent[0]]} times in {self._due(silent[0])} "
                "passes, so some went on unsteered. Its module is not called, or compiled code goes around it."
            )

    def verify(self) -> None:
        """Whether every place ran in every pass.

        Raises:
            SteeringError: one did not.
        """
        self.refuse_silence()
        for place in self.places:
            if self.fired[place] != (due := self._due(place)):
                raise SteeringError(
                    f"steer: `{place}` of {self._family} ran {self.fired[place]} times, {due} were due. Did a pass end "
                    "early, or does the model skip blocks?"
                )

    def _due(self, place: Place) -> int:
        return (self.prompt_passes if place.prompts else self.passes) * self._firings
