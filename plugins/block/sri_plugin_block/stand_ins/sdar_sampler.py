"""The stand-in's `block_diffusion_generate`: the loop of SDAR's repository, with room for a batch.

The real one takes one prompt. Here rows of a batch begin together: what is whole of each prompt is read first, padded
on the left, and block k of every row is worked at in the same passes. So the cache is longer than most rows.
"""

from __future__ import annotations

from typing import Any

import torch

from sri_plugin_block.stand_ins.caches import Cache
from sri_plugin_block.stand_ins.tokens import PAD


class Counts:
    """What the sampler counts for tests: [B] steps of each row."""

    steps: list[int]


@torch.no_grad()
def block_diffusion_generate(
    model: Any, prompt: dict[str, torch.Tensor], mask_id: int, gen_length: int = 128, block_length: int = 4,
    denoising_steps: int = 4, temperature: float = 0.0, remasking_strategy: str = "low_confidence_dynamic",
    confidence_threshold: float = 0.85, stopping_criteria_idx: list[int] | None = None, counts: Counts | None = None,
) -> torch.Tensor:  # fmt: skip
    """[B, L] prompts padded on the left -> [B, L + gen_length]; what was never reached stays masked.

    Args:
        model: the stand-in.
        prompt: `input_ids` and `attention_mask`.
        mask_id: id of the mask token.
        gen_length: tokens of the response.
        block_length: tokens per block.
        denoising_steps: most passes per block.
        temperature: 0 = greedy (the real sampler draws; its greedy setting is top_k=1).
        remasking_strategy: low_confidence_dynamic, low_confidence_static or sequential.
        confidence_threshold: what `dynamic` fills at once.
        stopping_criteria_idx: tokens that end a row, once the block they stand in is whole.
        counts: where to put the steps of each row.
    """
    ids, real = prompt["input_ids"], prompt["attention_mask"].bool()
    batch, device = len(ids), ids.device
    lengths = real.sum(1)
    read = lengths // block_length * block_length
    widest = int(read.max())
    blocks = -(-(lengths - read + gen_length) // block_length)
    text = torch.full((batch, int((read + blocks * block_length).max())), mask_id, device=device)
    for row in range(batch):
        text[row, : lengths[row]] = ids[row, real[row]]
    cache, steps = Cache(), [0] * batch
    padding = widest - read

    if widest:
        columns = torch.arange(widest, device=device) - padding[:, None]
        shown = text.gather(1, columns.clamp(min=0)).masked_fill(columns < 0, PAD)
        by_block = columns[:, :, None] // block_length >= columns[:, None] // block_length
        # Padding sees itself, so that no row of the attention is empty.
        seen = (by_block & (columns >= 0)[:, None]) | torch.eye(widest, dtype=torch.bool, device=device)
        _call(model, shown, seen, columns.clamp(min=0), cache, store=True)

    ends = torch.tensor(stopping_criteria_idx or [-1], device=device)
    ended = torch.zeros(batch, dtype=torch.bool, device=device)
    for number in range(int(blocks.max())):
        columns = read[:, None] + number * block_length + torch.arange(block_length, device=device)
        over = ended | (number >= blocks)
        shown = text.gather(1, columns.clamp(max=text.shape[1] - 1)).masked_fill(over[:, None], PAD)
        before = torch.arange(cache.get_seq_length() + block_length, device=device)
        seen = (before >= padding[:, None])[:, None].expand(-1, block_length, -1)
        for step in range(denoising_steps + 1):
            holes = shown == mask_id
            if not holes.any():
                _call(model, shown, seen, columns, cache, store=True)
                break
            steps = [count + bool(row) for count, row in zip(steps, holes.any(1), strict=True)]
            guess, confidence = _guess(_call(model, shown, seen, columns, cache, store=False), temperature)
            count = block_length // denoising_steps + (step < block_length % denoising_steps)
            fill = _fill(remasking_strategy, holes, confidence, count, confidence_threshold)
            shown = torch.where(fill & holes, guess, shown)
        for row in (~over).nonzero()[:, 0].tolist():
            text[row, columns[row]] = shown[row]
        behind = torch.arange(text.shape[1], device=device) >= lengths[:, None]
        ended = ended | (torch.isin(text, ends) & behind).any(1)
        if (ended | (number + 1 >= blocks)).all():
            break
    if counts is not None:
        counts.steps = steps
    response = lengths[:, None] + torch.arange(gen_length, device=device)
    return torch.cat([ids, text.gather(1, response)], 1)


def _call(
    model: Any, ids: torch.Tensor, seen: torch.Tensor, columns: torch.Tensor, cache: Cache, *, store: bool
) -> torch.Tensor:
    logits: torch.Tensor = model(
        ids, attention_mask=seen[:, None], position_ids=columns, past_key_values=cache, use_cache=True, store_kv=store
    ).logits
    return logits


def _guess(logits: torch.Tensor, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """[B, block, V] -> tokens and the probability of each."""
    if temperature <= 0:
        probability = logits.softmax(-1)
        token = probability.argmax(-1)
    else:
        probability = (logits / temperature).softmax(-1)
        token = torch.multinomial(probability.flatten(0, 1), 1).view(logits.shape[:-1])
    return token, probability.gather(-1, token[..., None])[..., 0]


def _fill(strategy: str, holes: torch.Tensor, confidence: torch.Tensor, count: int, threshold: float) -> torch.Tensor:
    """[B, block] bool: which positions this step fills."""
    if strategy == "sequential":
        first = holes.long().argmax(1, keepdim=True)
        columns = torch.arange(holes.shape[1], device=holes.device)
        return (columns >= first) & (columns < first + count)
    confidence = confidence.masked_fill(~holes, -torch.inf)
    best = torch.zeros_like(holes).scatter(1, confidence.topk(count, dim=1).indices, True)
    if strategy == "low_confidence_static":
        return best
    sure = confidence > threshold
    return torch.where(sure.sum(1, keepdim=True) >= count, sure, best)
