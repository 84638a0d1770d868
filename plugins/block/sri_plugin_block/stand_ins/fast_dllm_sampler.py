"""The stand-in's samplers: Fast-dLLM v2's `generate`, and the `batch_sample` that its evaluation binds as `mdm_sample`.

Both work at a block in sub-blocks, from left to right, store the block once it is whole, and take the first token of
the next block from that pass. Columns are positions: prompts of a batch stand on the left, masks fill them up behind,
and rows that are ended leave the batch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from sri_plugin_block.stand_ins.caches import Cache
from sri_plugin_block.stand_ins.tokens import END, MASK, PAD


@dataclass
class Counts:
    """What the samplers count for tests."""

    steps: dict[int, int] = field(default_factory=dict)
    """Request -> steps."""


@dataclass
class Work:
    """One block in work."""

    past: Cache | None
    block: int
    small: int
    mask: int
    threshold: float
    temperature: float
    block_cache: bool
    kept: Cache | None = None
    """The cache of the block in work."""

    def step(self, model: Any, text: torch.Tensor, start: int) -> torch.Tensor:
        """One pass over [b, columns] text, whose last block is in work in the sub-block at `start`: what it fills in.

        Returns:
            [b, small] bool.
        """
        shown = text[:, -self.block :]
        part = slice(start, start + self.small)
        holes = shown[:, part] == self.mask
        common = {"use_cache": True, "past_key_values": self.past, "update_past_key_values": False}
        if not self.block_cache:
            logits = _moved(model.forward(input_ids=shown, **common).logits)[:, part]
        elif self.kept is None or (shown[:, start] == self.mask).any():
            output = model.forward(input_ids=shown, use_block_cache=True, **common)
            logits, self.kept = _moved(output.logits)[:, part], output.block_past_key_values
        else:
            output = model.forward(
                input_ids=shown[:, part], use_block_cache=True, block_past_key_values=self.kept,
                replace_position=start, **common,
            )  # fmt: skip
            logits = _moved(output.logits)
        token, probability = _draw(logits, self.temperature)
        probability = probability.masked_fill(~holes, -torch.inf)
        fill = probability > self.threshold
        fill[torch.arange(len(fill)), probability.argmax(1)] = True
        fill &= holes
        # A view: the text itself is filled.
        shown[:, part] = torch.where(fill, token, shown[:, part])
        return fill

    def holes(self, text: torch.Tensor, start: int) -> torch.Tensor:
        """[b, small] bool: what is open in the sub-block at `start`."""
        return text[:, -self.block :][:, start : start + self.small] == self.mask

    def store(self, model: Any, text: torch.Tensor) -> torch.Tensor:
        """The commit pass: [b, 1] the token behind the block."""
        output = model.forward(
            input_ids=text[:, -self.block :], use_cache=True, past_key_values=self.past, update_past_key_values=True,
            block_size=self.block,
        )  # fmt: skip
        self.past, self.kept = output.past_key_values, None
        token: torch.Tensor = output.logits[:, -1:].argmax(-1)
        return token


@torch.no_grad()
def generate(
    model: Any, input_ids: torch.Tensor, max_new_tokens: int, mask_id: int = MASK, threshold: float = 1.0,
    small_block_size: int = 4, block_size: int = 8, stop_token: int = END, temperature: float = 0.0,
    use_block_cache: bool = False, counts: Counts | None = None,
) -> tuple[torch.Tensor, Any]:  # fmt: skip
    """[B, L] prompts of one length -> (prompts and responses, up to the first stop token of any row; the cache)."""
    length = input_ids.shape[1]
    work = Work(None, block_size, small_block_size, mask_id, threshold, temperature, use_block_cache)
    whole = length // block_size * block_size
    text = input_ids
    if length > block_size:
        first = _read(work, model, text[:, :whole])
        if whole == length:
            text = torch.cat([text, first], 1)
    steps = 0
    for _ in range(max_new_tokens // block_size):
        if (text[:, length:] == stop_token).any():
            break
        begun = text.shape[1]
        text = torch.cat([text, text.new_full((len(text), block_size - begun % block_size), mask_id)], 1)
        stopped = False
        for start in range(0, block_size, small_block_size):
            while work.holes(text, start).any() and not stopped:
                work.step(model, text, start)
                steps += 1
                stopped = _stopped(text[:, begun:], stop_token, mask_id)
        if stopped:
            break
        text = torch.cat([text, work.store(model, text)], 1)
    if counts is not None:
        counts.steps = {row: steps for row in range(len(text))}
    ends = (text[:, length:] == stop_token).nonzero()
    if len(ends):
        text = text[:, : length + int(ends[0, 1]) + 1]
    return text, work.past


@torch.no_grad()
def batch_sample(
    self: Any, input_ids: torch.Tensor, tokenizer: Any, block_size: int, max_new_tokens: int, small_block_size: int,
    min_len: int, seq_len: torch.Tensor, mask_id: int = MASK, threshold: float = 1.0, stop_token: int = END,
    use_block_cache: bool = False, temperature: float = 0.0, counts: Counts | None = None,
) -> dict[int, torch.Tensor]:  # fmt: skip
    """Bound to a model as `mdm_sample`: [B, L] prompts, masks behind the shorter ones -> request -> its tokens.

    Args:
        self: the model.
        input_ids: prompts, on the left.
        tokenizer: unused; the real one takes the padding token from it.
        block_size: tokens per block.
        max_new_tokens: most tokens behind the longest prompt.
        small_block_size: tokens per sub-block.
        min_len: tokens of the shortest prompt.
        seq_len: [B] tokens of each prompt.
        mask_id: id of the mask token.
        threshold: probability above which a token is filled in at once.
        stop_token: what ends a row, once the block it stands in is whole.
        use_block_cache: whether passes show sub-blocks where they can.
        temperature: 0 = greedy.
        counts: where to put the steps of each request.
    """
    work = Work(None, block_size, small_block_size, mask_id, threshold, temperature, use_block_cache)
    text, requests, lengths = input_ids.clone(), list(range(len(input_ids))), seq_len
    done, steps = {}, dict.fromkeys(requests, 0)
    total = (max_new_tokens // block_size + int(lengths.max()) // block_size) * block_size
    text = torch.cat([text, text.new_full((len(text), total + 1 - text.shape[1]), mask_id)], 1)
    begin = min_len // block_size * block_size if min_len > block_size else 0
    if begin:
        _put(text, _read(work, self, text[:, :begin]), begin, lengths == begin)
    for column in range(begin, total, block_size):
        shown, ended = text[:, : column + block_size], torch.zeros(len(text), dtype=torch.bool)
        for start in range(0, block_size, small_block_size):
            while (holes := work.holes(shown, start)).any():
                for row, on in zip(requests, holes.any(1).tolist(), strict=True):
                    steps[row] += on
                fill = work.step(self, shown, start)
                token = shown[:, -block_size:][:, start : start + small_block_size]
                ended |= ((token == stop_token) & fill).any(1)
        for row in ended.nonzero()[:, 0].tolist():
            end = int((shown[row, lengths[row] :] == stop_token).nonzero()[0, 0])
            shown[row, lengths[row] + end + 1 :] = PAD
            done[requests[row]] = shown[row].clone()
        if ended.all():
            requests = []
            break
        # A prompt that ends right behind this block takes the token only if it was read by the first pass.
        _put(text, work.store(self, shown), column + block_size, lengths < column + block_size)
        requests = [row for row, left in zip(requests, ended.tolist(), strict=True) if not left]
        text, lengths = text[~ended], lengths[~ended]
        assert work.past is not None
        work.past.keep(~ended)
    done |= {request: text[row].clone() for row, request in enumerate(requests)}
    if counts is not None:
        counts.steps = steps
    return done


def _read(work: Work, model: Any, text: torch.Tensor) -> torch.Tensor:
    """The prompt's whole blocks, stored in one pass: [b, 1] the token behind them."""
    output = model.forward(input_ids=text, use_cache=True, update_past_key_values=True, block_size=work.block)
    work.past = output.past_key_values
    token: torch.Tensor = output.logits[:, -1:].argmax(-1)
    return token


def _put(text: torch.Tensor, token: torch.Tensor, column: int, rows: torch.Tensor) -> None:
    if column < text.shape[1]:
        text[rows, column] = token[rows, 0]


def _moved(logits: torch.Tensor) -> torch.Tensor:
    """[B, L, V] logits, one row later: row i predicts token i + 1; the first stands for itself, and is never asked."""
    return torch.cat([logits[:, :1], logits[:, :-1]], 1)


def _draw(logits: torch.Tensor, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    probability = logits.softmax(-1) if temperature <= 0 else (logits / temperature).softmax(-1)
    token = probability.argmax(-1)
    if temperature > 0:
        token = torch.multinomial(probability.flatten(0, 1), 1).view(token.shape)
    return token, probability.gather(-1, token[..., None])[..., 0]


def _stopped(response: torch.Tensor, stop_token: int, mask_id: int) -> bool:
    """Whether the first stop token found in [B, L] ids has nothing open before it, in any row."""
    ends = (response == stop_token).nonzero()
    return bool(len(ends)) and not bool((response[:, : int(ends[0, 1])] == mask_id).any())
