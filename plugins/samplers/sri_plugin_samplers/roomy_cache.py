"""Room in a key-value cache for the tokens that are still to come.

The cache that transformers' models make for themselves grows by one token per step, and copies all that it holds each
time: in a batch of short answers by a small model, a fifth of the step.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable
from functools import cache
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import torch

ROOM = 64
"""Tokens that there is room for at first, and each time it is used up."""


def make_room(past: Any) -> None:
    """Lets the layers of a cache write what is to come behind what they hold.

    Keys and values are the same numbers as before. Layers of another kind than the usual growing one, such as those of
    a sliding window, and other caches are left as they are.

    Args:
        past: what the first pass returned as its cache.
    """
    # Whoever has such a cache has imported this; releases before 4.54 keep lists of tensors instead of layers.
    growing = getattr(sys.modules.get("transformers.cache_utils"), "DynamicLayer", None)
    for layer in getattr(past, "layers", None) or ():
        if growing is not None and type(layer) is growing and layer.keys is not None:
            layer.__class__ = _roomy(cast("Hashable", growing))


@cache
def _roomy(growing: Hashable) -> type[Any]:
    class RoomyLayer(cast("type[Any]", growing)):  # type: ignore[misc]  # mypy does not follow transformers
        """A growing layer whose tensors are the beginning of larger ones."""

        keys: torch.Tensor | None
        values: torch.Tensor | None
        _whole: tuple[torch.Tensor, torch.Tensor] | None = None
        _shown: tuple[torch.Tensor, torch.Tensor] | None = None

        def update(
            self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
        ) -> tuple[torch.Tensor, torch.Tensor]:
            """Writes keys and values [B, H, L, D] behind the others, and returns all of them."""
            if self.keys is None or self.values is None:
                made: tuple[torch.Tensor, torch.Tensor] = super().update(key_states, value_states, *args, **kwargs)
                return made
            held, more = self.keys.shape[-2], key_states.shape[-2]
            # Whoever crops or reorders a cache puts other tensors here.
            ours = self._shown is not None and self._shown[0] is self.keys and self._shown[1] is self.values
            if not ours or self._whole is None or self._whole[0].shape[-2] < held + more:
                self._whole = _larger(self.keys, more + ROOM), _larger(self.values, more + ROOM)
            for whole, new in zip(self._whole, (key_states, value_states), strict=True):
                whole[..., held : held + more, :] = new
            keys, values = (whole[..., : held + more, :] for whole in self._whole)
            self.keys, self.values = self._shown = keys, values
            return keys, values

    return RoomyLayer


def _larger(states: torch.Tensor, room: int) -> torch.Tensor:
    """[B, H, L, D] -> [B, H, L + room, D] that begins with the same."""
    *before, length, width = states.shape
    whole = states.new_empty((*before, length + room, width))
    whole[..., :length, :] = states
    return whole
