"""One way of steering, as data: what a stored generation depends on, and what runs around it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from typing import Any

from sri_sdk.files import sha256
from sri_sdk.hook import Hook
from sri_sdk.steer.direction import Direction
from sri_sdk.steer.operations import Ablate, Operation
from sri_sdk.steer.steering import steer
from sri_sdk.steer.where import Where


@dataclass(frozen=True, slots=True, eq=False)
class Steered:
    """A direction, what is done along it, and where."""

    direction: Direction
    operation: Operation = field(default_factory=Ablate)
    where: Where = field(default_factory=Where)

    def on(self, hook: Hook, budget: int) -> AbstractContextManager[Any]:
        """The model steered; a new one for every batch, so that each begins a generation.

        Args:
            hook: the model family, with its live model.
            budget: steps of a generation.
        """
        return steer(hook, self.direction, self.operation, where=self.where, budget=budget)

    def key(self) -> Mapping[str, Any]:
        """What generations under it depend on, as JSON types."""
        return {
            "vectors": sha256(self.direction.vectors.tobytes()),
            "operation": [type(self.operation).__name__, asdict(self.operation)],
            "where": {name: _listed(value) for name, value in asdict(self.where).items() if value is not None},
        }


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
