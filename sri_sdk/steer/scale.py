"""Strengths in the scale of a direction: 0 = where prompts without the attribute lie, 1 = where those with it do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from sri_sdk.errors import ConfigError
from sri_sdk.steer.direction import Direction
from sri_sdk.steer.operations import Ablate, Add, Clamp, DeadZone, Operation
from sri_sdk.steer.steering import steer
from sri_sdk.steer.where import Where

AtBlock = Callable[[float, float], Operation]
"""From the mean projections at a block, without and with the attribute, to what is done there."""


def ablate() -> AtBlock:
    """Takes the direction out, the same at every block."""
    return lambda _without, _having: Ablate()


def add(times: float) -> AtBlock:
    """Adds so many times the distance between the two kinds of prompts; negative = the other way."""
    return lambda without, having: Add(times * (having - without))


def clamp(at: float) -> AtBlock:
    """Puts every state at one point of the scale: 0 = as prompts without the attribute, 1 = as those with it."""
    return lambda without, having: Clamp(without + at * (having - without))


def dead_zone(above: float) -> AtBlock:
    """Takes back what lies beyond a point of the scale, as seen from prompts without the attribute."""
    return lambda without, having: DeadZone(without + above * (having - without))


def blocks_for(direction: Direction, layers: Sequence[int] | None, *, own: bool) -> tuple[int, ...]:
    """The blocks at which something is done.

    Args:
        direction: whose.
        layers: as asked; None = all, or its own.
        own: whether None means the block that the direction was read at, if any: adding at every block adds up.

    Raises:
        ConfigError: a block that the direction lacks, or none at all.
    """
    count = direction.means.shape[1]
    if layers is not None:
        if not layers:
            raise ConfigError("layers: none, so nothing would be steered. Name some; None = all of them, or its own.")
        if strange := [layer for layer in layers if not 0 <= layer < count]:
            raise ConfigError(f"layers: {strange[0]}; direction {direction.name!r} has blocks 0 to {count - 1}.")
        return tuple(dict.fromkeys(layers))
    return (direction.block,) if own and direction.block is not None else tuple(range(count))


@contextmanager
def steered_by(model: Any, direction: Direction, operation: AtBlock, blocks: Sequence[int]) -> Iterator[None]:
    """The model steered at these blocks, at each by its own scale.

    Args:
        model: the loaded model, or a hook on it.
        direction: along which.
        operation: `ablate()`, `add(...)`, `clamp(...)` or `dead_zone(...)` of this module.
        blocks: where; see `blocks_for`.

    Raises:
        ModelMismatch: the direction is of another model.
        ConfigError: the model cannot be steered.
    """
    with ExitStack() as stack:
        for block in blocks_for(direction, blocks, own=False):
            without, having = (float(each) for each in direction.means[:, block])
            stack.enter_context(steer(model, direction, operation(without, having), where=Where(layers=(block,))))
        yield
