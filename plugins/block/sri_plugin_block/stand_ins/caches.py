"""The stand-ins' key-value caches: what earlier passes left, and the block in work."""

from __future__ import annotations

from dataclasses import dataclass

import torch


class Cache:
    """Keys and values per layer, each [B, columns, D]."""

    def __init__(self) -> None:
        self.layers: list[tuple[torch.Tensor, torch.Tensor]] = []

    def get_seq_length(self) -> int:
        """Columns held."""
        return self.layers[0][0].shape[1] if self.layers else 0

    def append(self, layer: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Adds columns to one layer: keys and values [B, L, D]."""
        if layer == len(self.layers):
            self.layers.append((keys, values))
        else:
            old = self.layers[layer]
            self.layers[layer] = (torch.cat([old[0], keys], 1), torch.cat([old[1], values], 1))

    def replace(self, layer: int, at: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Overwrites columns of one layer, from column `at` on, with keys and values [B, L, D]."""
        for old, new in zip(self.layers[layer], (keys, values), strict=True):
            old[:, at : at + new.shape[1]] = new

    def keep(self, rows: torch.Tensor) -> None:
        """Drops the batch rows that [B] bool does not name."""
        self.layers = [(keys[rows], values[rows]) for keys, values in self.layers]


@dataclass(frozen=True)
class Caches:
    """What the attention of one pass reads beside its own rows, and what it writes."""

    past: Cache | None = None
    store: bool = False
    """Whether this pass's keys and values are added to `past`."""
    block: Cache | None = None
    """Keys and values of the block in work; made by a pass that shows the block whole, if it is empty."""
    at: int = 0
    """Where in the block this pass's rows stand."""

    def join(self, layer: int, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[B, L, D] of this pass -> everything it may look at."""
        if self.block is not None:
            if layer == len(self.block.layers):
                self.block.append(layer, keys.clone(), values.clone())
            else:
                self.block.replace(layer, self.at, keys, values)
                keys, values = self.block.layers[layer]
        if self.past is None:
            return keys, values
        if self.store:
            self.past.append(layer, keys, values)
            return self.past.layers[layer]
        if layer < len(self.past.layers):
            before = self.past.layers[layer]
            keys, values = torch.cat([before[0], keys], 1), torch.cat([before[1], values], 1)
        return keys, values
