"""What a steering is given: refused in words where it is something else, before anything is put on the model."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from numbers import Integral
from pathlib import Path
from typing import Any

import torch

from sri_sdk.errors import ConfigError
from sri_sdk.steer.direction import Direction
from sri_sdk.steer.operations import Operation
from sri_sdk.steer.where import Where

Rows = torch.Tensor | Sequence[float]
"""[R] numbers, one per request: the share of the operation that it gets. 1 = all of it, 0 = it stays as it is."""


def check_arguments(direction: Any, operation: Any, where: Any, budget: Any) -> None:
    """Whether these are what `steer` takes.

    Raises:
        ConfigError: one of them is not, such as the path of a direction in place of the direction.
    """
    if not isinstance(direction, Direction):
        raise ConfigError(
            f"steer: direction {str(direction)!r} is a path; a Direction is needed. Read the file with "
            "sri_sdk.load_direction(path)."
            if isinstance(direction, str | Path)
            else f"steer: direction is {type(direction).__name__}; a Direction is needed, from "
            "sri_sdk.load_direction(path) or sri_sdk.extract_directions(...). Vectors of your own: "
            "sri_sdk.Direction(name, vectors, towards, means, {})."
        )
    if not isinstance(operation, Operation):
        raise ConfigError(f"steer: operation {operation!r}; allowed: Ablate(), Add(...), Clamp(...), DeadZone(...).")
    if not isinstance(where, Where):
        raise ConfigError(f"steer: where is {type(where).__name__}; pass sri_sdk.Where(...), or leave it out.")
    if budget is not None and (isinstance(budget, bool) or not isinstance(budget, Integral) or budget < 1):
        raise ConfigError(f"steer: budget {budget!r}; the number of steps of a generation is needed.")


def shares_of(given: Rows) -> torch.Tensor:
    """[R] float32 tensor, a copy of what was given as `rows`.

    Raises:
        ConfigError: it is not one finite number per request.
    """
    found = None
    # Not in inference mode: what is set between two steps may be used outside of it.
    with torch.inference_mode(False), suppress(TypeError, ValueError, RuntimeError):
        made = torch.as_tensor(given)
        found = None if made.is_complex() else made.detach().to(torch.float32, copy=True)
    if found is None or found.dim() != 1 or not len(found) or not bool(torch.isfinite(found).all()):
        raise ConfigError(f"steer: rows {given!r}; one finite number per request is needed, 0 = left alone.")
    return found
