"""Runs a second model over token rows of different lengths; how rows are batched does not change the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

Forward = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]
"""From token ids [B, L] int64 and mask [B, L] int64, 1 = token, to float logits [B, L, V] of the next token."""


def logits_of(
    forward: Forward, rows: Sequence[Sequence[int]], *, batch_size: int, device: torch.device
) -> Iterator[tuple[int, torch.Tensor]]:
    """Logits of each row, from a causal model.

    Rows are padded on the right, because a causal model never looks ahead. Rows of similar length share a batch, so
    results do not come in the order of `rows`.

    Args:
        forward: the model.
        rows: token ids, at least one per row.
        batch_size: rows of one pass.
        device: where the model is.

    Yields:
        Index of the row, and its logits [L, V] in the model's dtype, L the row's length; those at place i predict
        token i + 1.
    """
    import torch

    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        longest = len(rows[batch[-1]])
        # Any token will do as padding: it is masked, and its logits are never read.
        ids = torch.tensor([[*rows[i], *([0] * (longest - len(rows[i])))] for i in batch], device=device)
        mask = torch.tensor([[1] * len(rows[i]) + [0] * (longest - len(rows[i])) for i in batch], device=device)
        with torch.inference_mode():
            logits = forward(ids, mask)
        for place, index in enumerate(batch):
            yield index, logits[place, : len(rows[index])]
