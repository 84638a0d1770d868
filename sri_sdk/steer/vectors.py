"""The vectors of a direction, as a model's states meet them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from sri_sdk.errors import ConfigError, ModelMismatch
from sri_sdk.hook import Hook
from sri_sdk.steer.direction import UNIT, Direction
from sri_sdk.steer.places import Place
from sri_sdk.steer.where import Where


class Vectors:
    """Of one steering."""

    def __init__(self, direction: Direction, hook: Hook, where: Where) -> None:
        """Takes a direction, and what it is for.

        Raises:
            ModelMismatch: it is of a model with another number of blocks.
            ConfigError: it has no vector for the embedding, or its numbers were changed since it was made.
        """
        # Arrays can be written to, and a vector of zeros or NaN would poison every state.
        lengths = np.linalg.norm(direction.vectors.astype(np.float64), axis=1)
        if not (np.abs(lengths - 1) <= UNIT).all():
            raise ConfigError(
                f"steer: direction {direction.name!r} has vectors of another length than 1; its numbers were changed "
                "since it was made. Make another Direction instead, or load it again."
            )
        blocks, own = direction.means.shape[1], len(hook.layers())
        if blocks != own:
            raise ModelMismatch(
                f"steer: direction {direction.name!r} is of a model of {blocks} blocks; {type(hook).__name__} has "
                f"{own}."
            )
        if "embedding" in where.sites and len(direction.vectors) > 1:
            raise ConfigError(
                f"steer: direction {direction.name!r} has one vector per block, and so none for the embedding. Leave "
                "`embedding` out of where.sites, or take a direction with one vector."
            )
        self._direction = direction
        self._known: dict[Any, torch.Tensor] = {}

    def at(self, place: Place, states: torch.Tensor) -> torch.Tensor:
        """[D] of length 1, in the precision and on the device in which `states` [..., D] are changed.

        Raises:
            ModelMismatch: the states have another width.
        """
        block = place.block or 0
        key = block, torch.promote_types(states.dtype, torch.float32), states.device
        if key not in self._known:
            # Not in inference mode, which may be on now and off in a later pass that is trained on.
            with torch.inference_mode(False):
                # In float64: a length that is off by 1e-5 would leave as much of a projection behind.
                exact = torch.tensor(self._direction.vector(block)).double()
                self._known[key] = (exact / exact.norm()).to(key[1]).to(states.device)
        vector = self._known[key]
        if len(vector) != states.shape[-1]:
            raise ModelMismatch(
                f"steer: direction {self._direction.name!r} has {len(vector)} numbers, `{place}` puts out states of "
                f"{states.shape[-1]}. It is of another model, or of another place."
            )
        return vector
