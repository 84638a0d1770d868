"""Which rows a training step sees, as tensors. The same for every run: drawn from seed and step alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.real.diffusion.rows import Row

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Batch:
    """Prompts, padded on the left, and their answers."""

    prompts: torch.Tensor
    """[B, P] int64."""
    real: torch.Tensor
    """[B, P + R] int64, 0 where the prompt is padding."""
    answers: torch.Tensor
    """[B, R] int64, filled up with end tokens, which are predicted like any other (LLaDA)."""

    def positions(self) -> torch.Tensor:
        """[B, P + R] int64, counted from each row's first real token."""
        return (self.real.cumsum(1) - 1).clamp(min=0)

    def canvas(self, masked: torch.Tensor, mask_id: int) -> torch.Tensor:
        """[B, P + R] ids with the masked tokens of the answers ([B, R] bool) replaced."""
        import torch

        return torch.cat([self.prompts, self.answers.masked_fill(masked, mask_id)], dim=1)


def stack(rows: Sequence[Row], canvas: int, end: int) -> Batch:
    """Rows side by side, answers cut or filled up to `canvas` tokens."""
    import torch

    width = max(len(row.prompt) for row in rows)
    prompts = torch.tensor([[end] * (width - len(row.prompt)) + row.prompt for row in rows])
    answers = torch.tensor([(row.answer + [end] * canvas)[:canvas] for row in rows])
    real = torch.ones(len(rows), width + canvas, dtype=torch.int64)
    for at, row in enumerate(rows):
        real[at, : width - len(row.prompt)] = 0
    return Batch(prompts, real, answers)


def chosen(step: int, size: int, rows: int, seed: int) -> list[int]:
    """Indices of the rows of a step: every row once per epoch, each epoch in another order."""
    import torch

    picked = []
    for at in range(step * size, (step + 1) * size):
        epoch, place = divmod(at, rows)
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        picked.append(int(torch.randperm(rows, generator=generator)[place]))
    return picked
