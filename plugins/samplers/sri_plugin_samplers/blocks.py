"""Blocks of a canvas: which one each row works on, and for how long it may."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class Blocks:
    """The blocks of B rows, filled from left to right.

    They are cut from the first response position on, or, where the model itself attends in blocks (`causal`), from the
    first prompt token on: the first block then begins inside the prompt, the last one reaches beyond the response, and
    a row works on nothing but the block of its leftmost open position.

    Attributes:
        width: W, columns the canvas needs.
        of: [B, W] int64 tensor, block of each position; 0 holds the row's first response position.
        current: [B] int64 tensor, block in work.
        spent: [B] int64 tensor, steps it has had.
    """

    def __init__(self, prompts: torch.Tensor, tokens: int, size: int, steps: int, *, causal: bool) -> None:
        """Takes each prompt's length [B], its padding left out, the response's, a block's, and the steps it has."""
        import torch

        self._size, self._steps, self._causal = size, steps, causal
        # The same for every batch: what a row draws from its random numbers must not depend on its company.
        self.width = tokens + size - 1 if causal else tokens
        self._begin = -(prompts % size) if causal else torch.zeros_like(prompts)
        self.of = (torch.arange(self.width, device=prompts.device) - self._begin[:, None]) // size
        self._last = self.of[:, tokens - 1]
        self.current, self.spent = torch.zeros_like(prompts), torch.zeros_like(prompts)
        self._reach = 0

    @staticmethod
    def most(tokens: int, size: int, *, causal: bool) -> int:
        """How many blocks a response can touch, wherever it begins."""
        return (tokens + 2 * (size - 1)) // size if causal else tokens // size

    def choose(self, open_: torch.Tensor) -> torch.Tensor:
        """Moves each row on to the block its leftmost open position is in.

        Args:
            open_: [B, P] bool, open positions of the response.

        Returns:
            [B, W] bool: positions that may be committed now, if they are open.
        """
        import torch

        leftmost = self.of.gather(1, open_.int().argmax(1, keepdim=True))[:, 0]
        if self._causal:
            chosen = leftmost
        else:
            # A block that was opened again is no reason to wait: what its steps left open is filled beside the next.
            due = self.current + (self.spent >= self._steps)
            chosen = torch.maximum(leftmost, due).minimum(self._last)
        stays = (chosen == self.current) & (self.spent < self._steps)
        self.current, self.spent = chosen, torch.where(stays, self.spent, 0)
        return self.of <= chosen[:, None]

    def left(self, steps_left: int) -> torch.Tensor:
        """[B] int64, at least 1: steps the block in work may still have, this one included.

        Args:
            steps_left: steps until the budget is spent; each later block takes one at least.
        """
        behind = self._last - self.current
        return (self._steps - self.spent).minimum(steps_left - behind).clamp(min=1)

    def count_in_work(self, which: torch.Tensor) -> torch.Tensor:
        """[B] int64: how many of these positions ([B, W] bool) lie in the block in work."""
        return (which & (self.of == self.current[:, None])).sum(1)

    def count(self) -> None:
        """One step was made."""
        self.spent = self.spent + 1

    def reach(self) -> int:
        """Columns of the canvas to show: all, or up to the end of the furthest block any row has worked on."""
        if not self._causal:
            return self.width
        ends = self._begin + (self.current + 1) * self._size
        self._reach = max(self._reach, int(ends.max()))
        return self._reach

    def columns(self) -> torch.Tensor | None:
        """[B, size] int64, columns of the blocks in work; negative = prompt. None = look at the whole canvas."""
        if not self._causal:
            return None
        import torch

        places = torch.arange(self._size, device=self.current.device)
        return (self._begin + self.current * self._size)[:, None] + places
