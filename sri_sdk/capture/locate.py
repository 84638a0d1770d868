"""Where a request stands among the tokens of its prompt: the part that another request would change.

A chat template is a program, so nobody can say where it puts what it is given. But the same conversation with another
request in its place has the same tokens before and behind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from sri_sdk.capture.encoded import PROBES
from sri_sdk.capture.request import Span
from sri_sdk.errors import ConfigError
from sri_sdk.hook import Hook
from sri_sdk.records import Encoded


def locate(hook: Hook, tokenizer: Any, encoded: Encoded, system_prompt: str | None) -> list[Span | None]:
    """The requests of prompts that a hook encoded.

    Args:
        hook: the model family.
        tokenizer: of the model.
        encoded: the prompts, without started responses.
        system_prompt: stands before every prompt; None = none does.

    Returns:
        Per prompt, (start, stop) counted from its first token, padding left out; None = not located.
    """
    others = _unpadded(hook.encode(tokenizer, list(PROBES), system_prompt))
    return [_between(row, others) for row in _unpadded(encoded)]


def request_spans(
    tokenizer: Any, chats: Sequence[Sequence[Mapping[str, str]]], attention_mask: torch.Tensor | None = None,
    **options: Any,
) -> list[Span | None]:  # fmt: skip
    """The last user turn of each conversation, for `watch(request_spans=...)`.

        inputs = tokenizer.apply_chat_template(chats, add_generation_prompt=True, padding=True, ...)
        spans = sri_sdk.request_spans(tokenizer, chats, inputs["attention_mask"])
        with sri_sdk.watch(model, guard, request_spans=spans) as run:
            model.generate(**inputs)

    Args:
        tokenizer: with a chat template.
        chats: one conversation per row, as messages with `role` and `content`.
        attention_mask: [B, L] int64 tensor of the batch, 0 = padding; None = without padding.
        options: further arguments of the chat template, as they were given for the batch.

    Returns:
        Per conversation, columns (start, stop) of the batch; None = the turn could not be located, as in a conversation
        that does not end with one.

    Raises:
        ConfigError: the attention mask has another number of rows or of tokens than the conversations.
    """

    def tokens(chat: Sequence[Mapping[str, str]]) -> list[int]:
        # As a text first: what the tokenizer returns beside the ids differs between releases of transformers.
        text = tokenizer.apply_chat_template(list(chat), tokenize=False, add_generation_prompt=True, **options)
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    found: list[Span | None] = []
    rows = [tokens(chat) for chat in chats]
    for chat, row in zip(chats, rows, strict=True):
        last = chat[-1] if chat else {}
        if last.get("role") != "user" or not isinstance(last.get("content"), str):
            found.append(None)
            continue
        others = [tokens([*chat[:-1], {**last, "content": probe}]) for probe in PROBES]
        found.append(_between(row, others))
    if attention_mask is None:
        return found
    lengths = attention_mask.sum(1).tolist()
    if lengths != [len(row) for row in rows]:
        raise ConfigError(
            f"request_spans: the rows of the batch have {lengths} tokens, these conversations "
            f"{[len(row) for row in rows]}. Pass the conversations of the batch, in its order, with the options it was "
            "encoded with."
        )
    return in_columns(found, attention_mask)


def _between(row: Sequence[int], others: Sequence[Sequence[int]]) -> Span | None:
    """What lies between the tokens that `row` shares with all of `others` at its beginning and at its end."""
    start = min(_shared(row, other) for other in others)
    stop = len(row) - min(_shared(row[::-1], other[::-1]) for other in others)
    return (start, stop) if start < stop else None


def _shared(row: Sequence[int], other: Sequence[int]) -> int:
    """Number of tokens that two rows begin with alike."""
    return next((i for i, (a, b) in enumerate(zip(row, other, strict=False)) if a != b), min(len(row), len(other)))


def in_columns(spans: Sequence[Span | None], attention_mask: torch.Tensor) -> list[Span | None]:
    """Spans of rows without padding as columns of a batch whose `attention_mask` is [B, L] int64."""
    firsts = attention_mask.int().argmax(1).tolist()
    return [None if s is None else (s[0] + first, s[1] + first) for s, first in zip(spans, firsts, strict=True)]


def _unpadded(encoded: Encoded) -> list[list[int]]:
    pairs = zip(encoded.input_ids, encoded.attention_mask, strict=True)
    return [ids[seen.bool()].tolist() for ids, seen in pairs]
