"""Steering towards refusal, in the unit that a direction brings along: the distance between its two means."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Self

import torch

from sri_sdk.errors import ConfigError
from sri_sdk.hook import Hook
from sri_sdk.steer.direction import Direction
from sri_sdk.steer.operations import Add
from sri_sdk.steer.recovery.leaning import block_of
from sri_sdk.steer.steering import Steering
from sri_sdk.steer.where import Where


def distance(direction: Direction) -> float:
    """How far apart the two means of a direction lie at the block it was read at, in the unit of the model's states.

    Raises:
        ConfigError: the mean with the attribute does not lie ahead: nothing, or the opposite, would be steered.
    """
    block = block_of(direction)
    found = float(direction.means[1, block] - direction.means[0, block])
    if not found > 0:
        raise ConfigError(
            f"direction {direction.name!r}: at block {block} its mean with the attribute lies {found:.3g} ahead of the "
            "one without; more than 0 is needed to steer towards it. Extract it again with `sri steer extract`."
        )
    return found


class Steer:
    """What steers one generation of some rows; a context manager. Nothing is steered but inside `on`."""

    def __init__(self, hook: Hook, direction: Direction, strength: float) -> None:
        """Takes what to add to every block's states: `strength` times the distance of the direction's means.

        Raises:
            ConfigError: this model cannot be steered, as a compiled one; or the means do not lie apart.
        """
        self._steering = Steering(hook, direction, Add(strength * distance(direction)), Where(), rows=[0.0])
        self._stack = ExitStack()
        self._entered = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    @contextmanager
    def on(self, rows: torch.Tensor) -> Iterator[None]:
        """Steers the pass that runs in the block.

        Args:
            rows: [R] bool tensor, the requests that it is about; the others are left alone.

        Raises:
            SteeringError: a block of the model was not reached: the pass was not steered.
        """
        self._steering.rows = rows.float()
        if not self._entered:
            # Not before: a steering that ends without a pass is an error, and this one may never begin.
            self._stack.enter_context(self._steering)
            self._entered = True
        yield
        self._steering.verify()

    @contextmanager
    def off(self) -> Iterator[None]:
        """Leaves the passes of the block as they are."""
        if not self._entered:
            yield
            return
        with self._steering.paused():
            yield
