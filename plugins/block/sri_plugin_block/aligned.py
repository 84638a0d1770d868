"""A padded batch laid out as a block-causal model counts: column c is the c-th token of its row.

Blocks begin at the first prompt token of each row, so rows that are padded on the left have their blocks in different
columns. A driven pass moves the padding to the end, where it becomes masks of blocks still to come: block-causal
attention hides those, and the last block of every row is whole, as in the families' own samplers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sri_sdk.canvas import PassNote

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Aligned:
    """One driven pass, laid out by columns."""

    ids: torch.Tensor
    """[B, W] int64 tensor, W a multiple of the block; masks behind the tokens of a row."""
    lengths: torch.Tensor
    """[B] int64 tensor: tokens of each row, prompt and canvas; what lies behind belongs to nothing."""
    padding: torch.Tensor
    """[B] int64 tensor: columns of padding that stood before each row."""
    width: int
    """Columns of the batch as it was."""

    @classmethod
    def of(cls, input_ids: torch.Tensor, attention_mask: torch.Tensor | None, block: int, mask_id: int) -> Aligned:
        """Moves the padding of [B, L] ids behind the text; `attention_mask` [B, L] has it on the left, None = none."""
        import torch

        width = input_ids.shape[1]
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        lengths = attention_mask.sum(1)
        padding = width - lengths
        wanted = torch.arange(-(-width // block) * block, device=input_ids.device)[None] + padding[:, None]
        ids = input_ids.gather(1, wanted.clamp(max=width - 1)).masked_fill(wanted >= width, mask_id)
        return cls(ids, lengths, padding, width)

    def back(self, rows: torch.Tensor, last: int | None = None) -> torch.Tensor:
        """[B, W, V] -> [B, L, V], in the columns of the batch as it was; what padding gets is meaningless.

        `last` = the last of these columns alone; None = all. Logits as well as states.
        """
        import torch

        where = (torch.arange(self.width, device=rows.device)[None] - self.padding.to(rows.device)[:, None]).clamp(0)
        if last is not None:
            where = where[:, -last:]
        return rows.gather(1, where[..., None].expand(-1, -1, rows.shape[-1]))


DRIVEN: PassNote[Aligned] = PassNote("sri_plugin_block.driven")
"""The driven pass that is running; it has none where the family's own sampler is at work."""
