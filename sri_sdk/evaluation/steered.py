"""One way of steering, as data: what a stored generation depends on, and what runs around it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from numpy.typing import NDArray

from sri_sdk.files import sha256
from sri_sdk.hook import Hook
from sri_sdk.steer.direction import Direction
from sri_sdk.steer.operations import Ablate, Add, Clamp, DeadZone, Operation
from sri_sdk.steer.steering import steer
from sri_sdk.steer.where import Where

OPERATIONS: dict[str, type[Operation]] = {each.__name__: each for each in (Ablate, Add, Clamp, DeadZone)}


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

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """All of it, `vectors` [K, D] and `means` [2, B] float32, and JSON types."""
        found = self.direction
        return {"vectors": found.vectors, "means": found.means}, {
            "direction": [found.name, found.towards, dict(found.provenance)],
            "operation": self.key()["operation"],
            "where": self.key()["where"],
        }

    @classmethod
    def restored(cls, arrays: Mapping[str, NDArray[Any]], notes: Mapping[str, Any]) -> Self:
        """The inverse of `state`, from the same `vectors` [K, D] and `means` [2, B]."""
        name, towards, provenance = notes["direction"]
        called, numbers = notes["operation"]
        where: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in notes["where"].items()
        }
        direction = Direction(name, arrays["vectors"], towards, arrays["means"], provenance)
        return cls(direction, OPERATIONS[called](**numbers), Where(**where))


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
