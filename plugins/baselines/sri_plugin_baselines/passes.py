"""Passes of a second model over token rows of different lengths, in batches that do not change what comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

Forward = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]
"""From token ids [B, L] and mask [B, L], 1 = token, to logits [B, L, V] of the next token."""


def logits_of(
    forward: Forward, rows: Sequence[Sequence[int]], *, batch_size: int, device: torch.device
) -> Iterator[tuple[int, torch.Tensor]]:
    """Logits of each row, from a causal model.

    Rows are padded on the right: what a causal model says of a token never depends on what follows it. Rows of like
    length go together, so the order is not that of `rows`.

    Args:
        forward: the model.
        rows: token ids, at least one per row.
        batch_size: rows of one pass.
        device: where the model is.

    Yields:
        Index of the row, and its logits [len(row), V]: those at place i are of token i + 1.
    """
    import torch

    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        longest = len(rows[batch[-1]])
        # Any token will do as padding: it is masked, and nobody reads what follows it.
        ids = torch.tensor([[*rows[i], *([0] * (longest - len(rows[i])))] for i in batch], device=device)
        mask = torch.tensor([[1] * len(rows[i]) + [0] * (longest - len(rows[i])) for i in batch], device=device)
        with torch.inference_mode():
            logits = forward(ids, mask)
        for place, index in enumerate(batch):
            yield index, logits[place, : len(rows[index])]
