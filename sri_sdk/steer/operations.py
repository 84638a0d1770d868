"""What is done to a state along a direction (arXiv 2512.24143): pure functions of the state's projection on it.

With h a state, v a unit vector and p = <h, v>, every operation puts h + (p' - p) v in place of h; it is one function,
p' - p. The arithmetic is float32 whatever the model's dtype, and each row of a batch counts for itself.
"""

from __future__ import annotations

import math
import numbers
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

from sri_sdk.errors import ConfigError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Operation(ABC):
    """One way to change states along a direction."""

    sets: ClassVar[bool] = False
    """Whether the projection becomes a given number. It is then corrected once more after rounding: a state that lies
    nearly along v would otherwise keep 1e-7 of a large projection, beside very little else."""

    def __post_init__(self) -> None:
        """Refuses numbers that would poison every state; those of numpy, as `Direction.means` has them, become floats.

        Raises:
            ConfigError: one is no finite number.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            if (number := _finite(value)) is None:
                raise ConfigError(f"{type(self).__name__}: {field.name} is {value!r}; a finite number is needed.")
            object.__setattr__(self, field.name, number)

    @abstractmethod
    def change(self, projection: torch.Tensor) -> torch.Tensor:
        """By how much the projection changes.

        Args:
            projection: [B, L, 1] float32 tensor, <h, v> of each state, in the unit of the model's states.

        Returns:
            [B, L, 1] float32 tensor; 0 = the state stays as it is, bit for bit.
        """


@dataclass(frozen=True, slots=True)
class Ablate(Operation):
    """Takes the direction out of a state: h - <h, v> v."""

    sets: ClassVar[bool] = True

    def change(self, projection: torch.Tensor) -> torch.Tensor:
        """-p, [B, L, 1] float32."""
        return -projection


@dataclass(frozen=True, slots=True)
class Add(Operation):
    """Adds the direction to a state: h + a v."""

    strength: float
    """a, in the unit of the model's states; negative = away from what the direction points to. `Direction.means` has
    the natural scale: the distance between its two rows."""

    def change(self, projection: torch.Tensor) -> torch.Tensor:
        """A, [B, L, 1] float32."""
        return projection.new_full(projection.shape, self.strength)


@dataclass(frozen=True, slots=True)
class Clamp(Operation):
    """Puts the projection at one value: h + (c - <h, v>) v."""

    target: float
    """c, in the unit of the model's states."""

    sets: ClassVar[bool] = True

    def change(self, projection: torch.Tensor) -> torch.Tensor:
        """C - p, [B, L, 1] float32."""
        return self.target - projection


@dataclass(frozen=True, slots=True)
class DeadZone(Operation):
    """Takes back what exceeds a threshold, and leaves other states alone: h - b max(<h, v> - theta, 0) v."""

    threshold: float
    """theta, in the unit of the model's states."""
    rate: float = 1.0
    """b: the share of the excess that is taken back."""

    def change(self, projection: torch.Tensor) -> torch.Tensor:
        """-b max(p - theta, 0), [B, L, 1] float32."""
        return -self.rate * (projection - self.threshold).clamp(min=0)


def _finite(value: Any) -> float | None:
    """A number as a float; None = it is none, or not finite."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def steered(
    states: torch.Tensor, vector: torch.Tensor, operation: Operation, factor: torch.Tensor | None = None
) -> torch.Tensor:
    """The states after an operation; a new tensor of the same dtype.

    Sums of products, no matrix products: those lose three digits under TF32 and autocast.

    Args:
        states: [..., D] tensor of any floating dtype.
        vector: [D] float32 tensor of length 1 (float64 for float64 states), on the same device.
        operation: what to do.
        factor: float32 tensor that broadcasts to [..., 1]: the share of the change that each state gets. 0 leaves a
            state as it is, bit for bit; None = all get the whole of it.
    """
    import torch

    wide = states.to(vector.dtype)
    projection = (wide * vector).sum(-1, keepdim=True)
    change = operation.change(projection)
    if factor is not None:
        # Not a product alone: 0 times an infinite projection is NaN.
        change = torch.where(factor != 0, factor * change, torch.zeros_like(change))
    changed = wide + change * vector
    if operation.sets:
        changed = changed + (projection + change - (changed * vector).sum(-1, keepdim=True)) * vector
    # A sum with 0 turns -0.0 into 0.0.
    return torch.where(change != 0, changed.to(states.dtype), states)
