"""What a caller states about a watched generation, and whether its tokens say otherwise.

A watch sees tokens and no texts. With a tokenizer it reads them; without one the statement stays a statement, and the
record says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from sri_sdk.capture.encoded import says
from sri_sdk.hook import Hook

SYSTEM_PROMPT = "system_prompt"
"""Field of the fingerprint that a watch is told and does not see."""


Heads = tuple[list[int], list[int]]


def agrees(
    hook: Hook, tokenizer: Any, system_prompt: str | None, rows: Sequence[Sequence[int]], heads: Heads | None = None
) -> bool | None:
    """Whether prompts have the system prompt that was stated.

    Args:
        hook: the model family.
        tokenizer: of the model.
        system_prompt: as stated; None or empty = there is none.
        rows: token ids of each prompt, without padding on the left.
        heads: as `heads_of` gives them, for callers that ask often; None = they are made now.

    Returns:
        False = at least one has not, or has one although none was stated; None = they do not show it.
    """
    try:
        if system_prompt:
            found = [says(hook, tokenizer, row, system_prompt) for row in rows]
        else:
            found = [_has_none(row, *(heads or heads_of(tokenizer))) for row in rows]
    except Exception:  # A tokenizer may refuse a chat for any reason; then it tells nothing.
        return None
    return False if False in found else None if None in found or not found else True


def prompt_rows(tokenizer: Any, input_ids: Any, kwargs: Any, chosen: torch.Tensor | None) -> list[list[int]]:
    """Prompts in the first pass of a generation: token ids without padding; empty = the pass does not show them.

    Args:
        tokenizer: of the model.
        input_ids: [B, L] int64 tensor, as the embedding received it.
        kwargs: of the model's forward.
        chosen: [R] int64 tensor, rows that are requests; None = all of them.
    """
    length = getattr(kwargs.get("past_key_values"), "get_seq_length", None)
    if not isinstance(input_ids, torch.Tensor) or input_ids.ndim != 2 or (callable(length) and length()):
        return []
    pad, rows = getattr(tokenizer, "pad_token_id", None), []
    for row in (input_ids if chosen is None else input_ids[chosen]).tolist():
        start = next((at for at, token in enumerate(row) if token != pad), len(row))
        rows.append(row[start:])
    return rows


def heads_of(tokenizer: Any) -> Heads:
    """What every chat begins with, as token ids: one with a system prompt, and one without."""

    def head(*roles: str) -> list[int]:
        one, other = (
            list(
                tokenizer.apply_chat_template(
                    [{"role": role, "content": text} for role in roles], tokenize=True, return_dict=False
                )
            )
            for text in ("a b c", "d e f")
        )
        same = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)
        return one[:same]

    return head("system", "user"), head("user")


def _has_none(row: Sequence[int], with_one: list[int], without: list[int]) -> bool | None:
    if with_one[: len(without)] == without:
        # The template writes both alike, as into the user's turn.
        return None
    if list(row[: len(without)]) == without:
        return True
    return False if with_one and list(row[: len(with_one)]) == with_one else None
