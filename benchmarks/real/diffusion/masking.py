"""What a masked diffusion model is trained on: which tokens are masked, and the loss. Pure functions on tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def how_many(rows: int, canvas: int, generator: torch.Generator) -> torch.Tensor:
    """[rows] int64: how many of `canvas` tokens each row masks, uniform on 1 .. canvas.

    A ratio t ~ U(0, 1), each token masked with chance t, and a loss weighted by 1/t (LLaDA, arXiv 2502.09992) has the
    same expectation as a uniform number of masks and their mean loss (arXiv 2406.03736), which varies less. The rows of
    a batch share one draw and are spread evenly over the numbers, as in MDLM (arXiv 2406.07524).
    """
    import torch

    first = torch.rand((), generator=generator, dtype=torch.float64)
    spread = (first + torch.arange(rows, dtype=torch.float64) / rows) % 1
    counts = (spread * canvas).long().clamp(max=canvas - 1) + 1
    return counts[torch.randperm(rows, generator=generator)]


def places(counts: torch.Tensor, canvas: int, generator: torch.Generator) -> torch.Tensor:
    """[B, canvas] bool: `counts` ([B] int64) places of each row, every set of that size equally likely."""
    import torch

    order = torch.rand(len(counts), canvas, generator=generator).argsort(1).argsort(1)
    return order < counts[:, None]


def reading_rows(masked: torch.Tensor, prompt: int) -> torch.Tensor:
    """[B, prompt + canvas] bool: the rows whose logits predict the masked tokens.

    The model was a causal one and goes on predicting the next token (as Dream does, and DiffuLLaMA, arXiv 2410.17891),
    so the token at column i is read off row i - 1, and the first of the canvas off the last row of the prompt.

    Args:
        masked: [B, canvas] bool.
        prompt: columns of the prompt, padding on the left included; at least 1.
    """
    import torch

    before = masked.new_zeros(len(masked), prompt - 1)
    behind = masked.new_zeros(len(masked), 1)
    return torch.cat([before, masked, behind], dim=1)


def loss(logits: torch.Tensor, wanted: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Scalar, nats per token: the mean over rows of the mean over a row's masked tokens; an upper bound on -log p.

    Args:
        logits: [M, V], of all masked tokens of the batch, row after row.
        wanted: [M] int64, those tokens.
        counts: [B] int64, how many of them are each row's; at least 1, M in all.
    """
    import torch

    each = torch.nn.functional.cross_entropy(logits.float(), wanted, reduction="none")
    weight = (1 / counts.to(each.dtype)).repeat_interleave(counts)
    return (each * weight).sum() / len(counts)
