"""What a research script does to get anchors, written plainly: the other side of `bench_anchors.py`.

Both loops ask for all hidden states, keep every layer of every step until the batch is done, and average on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from sri_plugin_lab.models import encode
from sri_plugin_lab.world import judge

from sri_sdk.records import LoadedModel, Prompt

Pooled = tuple[torch.Tensor, torch.Tensor]
"""[B, T, D] state of the last layer per step, and [B, P] response tokens."""
Loop = Callable[[LoadedModel, Sequence[str]], Pooled]


def anchors(loaded: LoadedModel, prompts: Sequence[Prompt], batch_size: int, loop: Loop) -> tuple[np.ndarray, ...]:
    """[T, D] of answered harmless and of refused harmful prompts."""
    states: dict[str, list[torch.Tensor]] = {"harmless": [], "harmful": []}
    for start in range(0, len(prompts), batch_size):
        batch = prompts[start : start + batch_size]
        with torch.inference_mode():
            phi, tokens = loop(loaded, [p.text for p in batch])
        texts = loaded.tokenizer.batch_decode(tokens)
        for row, (prompt, text) in enumerate(zip(batch, texts, strict=True)):
            refused = judge(text, prompt.text) == "refusal"
            if refused == (prompt.label == "harmful"):
                states[prompt.label].append(phi[row])
    return tuple(torch.stack(states[label]).mean(0).numpy() for label in ("harmless", "harmful"))


def causal(loaded: LoadedModel, texts: Sequence[str], *, tokens: int = 32) -> Pooled:
    """Recomputes the whole sequence for every token."""
    model = loaded.model
    ids, mask = encode(loaded.tokenizer, texts)
    ended = torch.zeros(len(ids), dtype=torch.bool)
    kept: list[tuple[torch.Tensor, ...]] = []
    last: list[torch.Tensor] = []
    new = []
    for _ in range(tokens):
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        output = _all_layers(model, ids, mask, position_ids=positions, use_cache=False)
        kept.append(tuple(state.cpu() for state in output.hidden_states))
        state = kept[-1][-1][:, -1]
        last.append(torch.where(ended[:, None], last[-1], state) if last else state)
        token = output.logits[:, -1].argmax(-1).masked_fill(ended, model.config.eos_token_id)
        ended = ended | (token == model.config.eos_token_id)
        new.append(token)
        ids = torch.cat([ids, token[:, None]], dim=1)
        mask = torch.cat([mask, torch.ones_like(token)[:, None]], dim=1)
    steps = torch.arange(1, tokens + 1)[:, None]
    return torch.stack(last, dim=1).cumsum(1) / steps, torch.stack(new, dim=1)


def diffusion(loaded: LoadedModel, texts: Sequence[str], *, tokens: int = 48, steps: int = 32) -> Pooled:
    """Low-confidence remasking in one block; the response slice is averaged at the end."""
    model = loaded.model
    hole = model.config.mask_token_id
    ids, mask = encode(loaded.tokenizer, texts)
    start = ids.shape[1]
    ids = torch.cat([ids, ids.new_full((len(ids), tokens), hole)], dim=1)
    mask = torch.cat([mask, torch.ones(len(ids), tokens, dtype=mask.dtype)], dim=1)
    kept: list[tuple[torch.Tensor, ...]] = []
    for step in range(steps):
        output = _all_layers(model, ids, mask)
        kept.append(tuple(state.cpu() for state in output.hidden_states))
        logits = output.logits[:, start:].float()
        logits[..., hole] = -torch.inf
        guess = logits.argmax(-1)
        canvas = ids[:, start:]
        open_ = canvas == hole
        count = -(-int(open_[0].sum()) // (steps - step))
        confidence = logits.softmax(-1).gather(-1, guess[..., None])[..., 0].masked_fill(~open_, -1.0)
        commit = torch.zeros_like(open_).scatter_(1, confidence.topk(count, dim=1).indices, True)
        ids = torch.cat([ids[:, :start], torch.where(commit, guess, canvas)], dim=1)
    return torch.stack([layers[-1][:, start:].mean(1) for layers in kept], dim=1), ids[:, start:]


def _all_layers(model: Any, ids: torch.Tensor, mask: torch.Tensor, **options: Any) -> Any:
    return model(input_ids=ids, attention_mask=mask, output_hidden_states=True, **options)
