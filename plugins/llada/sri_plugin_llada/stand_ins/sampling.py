"""The published samplers, for the stand-ins: what they show the model is what a hook must understand.

Written from the behaviour of ML-GSAI/LLaDA `generate.py` and NVlabs/Fast-dLLM `llada/generate.py`; nothing is copied.
"""

from __future__ import annotations

from typing import Any, Literal

import torch

from sri_plugin_llada.stand_ins.model import MASK


@torch.no_grad()
def generate(
    model: Any, prompt: torch.Tensor, attention_mask: torch.Tensor | None = None, *, steps: int = 8,
    gen_length: int = 16, block_length: int = 8, temperature: float = 0.0, cfg_scale: float = 0.0,
    remasking: Literal["low_confidence", "random"] = "low_confidence", mask_id: int = MASK, stop: int | None = None,
) -> torch.Tensor:  # fmt: skip
    """LLaDA's sampler: every pass shows everything, `steps` passes in all, blocks from left to right.

    Args:
        prompt: [B, L] int64 tensor, padded on the left.
        attention_mask: [B, L] int64 tensor, 0 = padding.
        cfg_scale: above 0 the batch is doubled, and the second half has its prompt masked, padding too.
        stop: MMaDA's early end: all rows have it at the end of a block.

    Returns:
        [B, L + gen_length], the prompt first.
    """
    length = prompt.shape[1]
    x = torch.cat([prompt, prompt.new_full((len(prompt), gen_length), mask_id)], dim=1)
    mask = None if attention_mask is None else torch.cat([attention_mask, torch.ones_like(x[:, length:])], dim=1)
    given = x != mask_id
    blocks = gen_length // block_length
    for block in range(blocks):
        end = length + (block + 1) * block_length
        for count in _spread(block_length, steps // blocks):
            if cfg_scale > 0:
                both = torch.cat([x, x.masked_fill(given, mask_id)])
                logits = model(both, attention_mask=None if mask is None else mask.repeat(2, 1)).logits
                conditional, unconditional = logits.chunk(2)
                logits = unconditional + (cfg_scale + 1) * (conditional - unconditional)
            else:
                logits = model(x, attention_mask=mask).logits
            guess, sure = _guess(logits, temperature, remasking)
            sure = sure.masked_fill(x != mask_id, -torch.inf)
            sure[:, end:] = -torch.inf
            x = x.scatter(1, best := sure.topk(count, dim=1).indices, guess.gather(1, best))
        if stop is not None and bool((x[:, end - 1] == stop).all()):
            break
    return x


@torch.no_grad()
def generate_fast(
    model: Any, prompt: torch.Tensor, *, steps: int = 8, gen_length: int = 16, block_length: int = 8,
    cache: Literal["prefix", "dual"] | None = None, threshold: float | None = None, mask_id: int = MASK,
    left: list[int] | None = None,
) -> tuple[torch.Tensor, int]:  # fmt: skip
    """Fast-dLLM's sampler for one prompt: a threshold commits what is sure enough, caches shorten the passes.

    With a cache, a block's first pass shows everything. Then comes at least one more, needed or not: the columns from
    the block on (prefix), or the block alone, whose keys replace those of the first pass in place (dual).

    Args:
        prompt: [1, L] int64 tensor.
        threshold: confidence that suffices; the surest open position is filled in any case. None = a fixed number.
        left: appended to, before each pass: how many masks are left. For tests.

    Returns:
        [1, L + gen_length] tokens, and the number of passes.
    """
    length, passes = prompt.shape[1], 0
    x = torch.cat([prompt, prompt.new_full((1, gen_length), mask_id)], dim=1)
    blocks = gen_length // block_length
    for block in range(blocks):
        start = length + block * block_length
        end, kept, index = start + block_length, None, 0
        counts = _spread(block_length, steps // blocks)
        while True:
            if left is not None:
                left.append(int((x == mask_id).sum()))
            passes += 1
            first, stop = 0, x.shape[1]
            if cache is None:
                logits = model(x).logits
            elif kept is None:
                output = model(x, use_cache=True)
                logits, kept = output.logits, output.past_key_values
                if cache == "prefix":
                    kept = [tuple(part[:, :, :start] for part in pair) for pair in kept]
            else:
                first, stop = start, x.shape[1] if cache == "prefix" else end
                options: dict[str, Any] = {"past_key_values": kept, "use_cache": True}
                if cache == "dual":
                    columns = torch.arange(x.shape[1], device=x.device)[None]
                    options["replace_position"] = (columns >= start) & (columns < end)
                logits = model(x[:, first:stop], **options).logits
            fixed = None if threshold is not None else counts[index] if index < len(counts) else 0
            _commit(x, logits, first, stop, end, fixed, threshold, mask_id)
            index += 1
            if bool((x[:, start:end] != mask_id).all()) and (cache is None or index > 1):
                break
    return x, passes


def _commit(
    x: torch.Tensor, logits: torch.Tensor, first: int, stop: int, end: int, count: int | None,
    threshold: float | None, mask_id: int,
) -> None:  # fmt: skip
    """Fills in what the pass over the columns from `first` to `stop` decides, of those before `end`.

    Args:
        x: [1, L] int64 tensor, changed in place.
        logits: [1, stop - first, V] of these columns.
        first: column the pass begins at.
        stop: column behind its last.
        end: column behind the block in work.
        count: positions to fill; None = by `threshold`.
        threshold: confidence that suffices.
        mask_id: token of a position that is open.
    """
    shown = x[:, first:stop]
    guess, sure = _guess(logits, 0.0, "low_confidence")
    open_ = shown == mask_id
    open_[:, max(end - first, 0) :] = False
    sure = sure.masked_fill(~open_, -torch.inf)
    if count is None:
        assert threshold is not None
        chosen = sure >= threshold
        chosen.scatter_(1, sure.argmax(1, keepdim=True), True)
        chosen &= open_
    else:
        best = sure.topk(count, dim=1).indices
        chosen = torch.zeros_like(open_).scatter(1, best, True) & open_
    x[:, first:stop] = torch.where(chosen, guess, shown)


def _guess(logits: torch.Tensor, temperature: float, remasking: str) -> tuple[torch.Tensor, torch.Tensor]:
    """[B, L] tokens, and how strongly to keep each."""
    noisy = logits
    if temperature > 0:
        # In float64: low precision distorts what is drawn (arXiv 2409.02908).
        drawn = torch.rand(logits.shape, dtype=torch.float64, device=logits.device)
        noisy = logits.double().exp() / (-drawn.log()) ** temperature
    guess = noisy.argmax(-1)
    if remasking == "random":
        return guess, torch.rand(guess.shape, device=guess.device)
    return guess, logits.softmax(-1).gather(-1, guess[..., None])[..., 0]


def _spread(tokens: int, steps: int) -> list[int]:
    """How many of the tokens each step commits: evenly, what is left over first."""
    return [tokens // steps + (step < tokens % steps) for step in range(steps)]
