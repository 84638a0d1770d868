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
from sri_sdk.records import Encoded, StepPlan

_ENDS = (".", "?", "0")
"""Requests that begin and end otherwise than the probes, also to a tokenizer that does not know those words."""


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
    others = unpadded(hook.encode(tokenizer, list(PROBES), system_prompt))
    return [_between(row, others) for row in unpadded(encoded)]


def locate_rows(
    hook: Hook, tokenizer: Any, rows: Sequence[Sequence[int]], system_prompt: str | None
) -> list[Span | None]:
    """The requests in prompts of which only the tokens are known, one user turn each.

    Args:
        hook: the model family.
        tokenizer: of the model.
        rows: token ids of each prompt, without padding.
        system_prompt: stands before every prompt; None = none does.

    Returns:
        Per prompt, (start, stop) counted from its first token; None = the prompt does not begin and end as the template
        writes it around other requests, as one that was read in parts, or under another system prompt.
    """
    find = Locator(hook, tokenizer, system_prompt)
    return [find(row) for row in rows]


class Locator:
    """Finds requests in prompts of one user turn, by what the chat template writes around others."""

    def __init__(self, hook: Hook, tokenizer: Any, system_prompt: str | None) -> None:
        """Takes what `locate_rows` takes, and encodes the prompts to compare with."""
        self._others = unpadded(hook.encode(tokenizer, list(PROBES), system_prompt))
        self._head, self._tail = template_tokens(hook, tokenizer, system_prompt)

    def __call__(self, row: Sequence[int]) -> Span | None:
        """(start, stop) of the request in one prompt, given as token ids; None = not located."""
        head, tail = self._head, self._tail
        framed = list(row[: len(head)]) == head and (not tail or list(row[-len(tail) :]) == tail)
        return _between(row, self._others) if framed and len(row) > len(head) + len(tail) else None


def template_tokens(hook: Hook, tokenizer: Any, system_prompt: str | None) -> tuple[list[int], list[int]]:
    """The tokens that the chat template writes before every request, and those that it writes behind it.

    Args:
        hook: the model family.
        tokenizer: of the model.
        system_prompt: stands before every prompt; None = none does.
    """
    first, *more = unpadded(hook.encode(tokenizer, [*PROBES, *_ENDS], system_prompt))
    head = min(shared(first, each) for each in more)
    tail = min(shared(first[::-1], each[::-1]) for each in more)
    return first[:head], first[len(first) - tail :]


def shown_requests(
    hook: Hook, tokenizer: Any, input_ids: torch.Tensor, plan: StepPlan | None, columns: torch.Tensor,
    system_prompt: str | None,
) -> list[Span | None]:  # fmt: skip
    """The requests in the first pass that shows prompts.

    Args:
        hook: the model family.
        tokenizer: of the model.
        input_ids: [B, L] int64 tensor, of the pass.
        plan: what the hook said of it; None = it is not a step.
        columns: [R, L] int64 tensor, as `Hook.prompt_columns` gives them.
        system_prompt: stands before every prompt; None = none does.

    Returns:
        Per request, (start, stop) as columns of the prompt; None = not located.
    """
    pad, mask = getattr(tokenizer, "pad_token_id", None), hook.mask_id()
    chosen = None if plan is None else plan.rows
    ids = (input_ids if chosen is None else input_ids[chosen.to(input_ids.device)]).tolist()
    own = torch.full_like(columns, -1) if plan is None else plan.positions if chosen is None else plan.positions[chosen]
    spans: list[Span | None] = []
    for row, places, positions in zip(ids, columns.tolist(), own.tolist(), strict=True):
        at = [i for i, (place, position) in enumerate(zip(places, positions, strict=True)) if place >= 0 > position]
        while at and mask is not None and row[at[-1]] == mask:
            at.pop()
        # Padding may go on as a token of the prompt, where a template begins with the same one.
        first = next((k for k, i in enumerate(at) if row[i] != pad), len(at))
        tries = [at[k:] for k in dict.fromkeys((first, max(first - 1, 0)))]
        found = locate_rows(hook, tokenizer, [[row[i] for i in each] for each in tries], system_prompt)
        span = next(
            ((places[each[s[0]]], places[each[s[1] - 1]] + 1) for each, s in zip(tries, found, strict=True) if s), None
        )
        spans.append(span)
    return spans


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
    start = min(shared(row, other) for other in others)
    stop = len(row) - min(shared(row[::-1], other[::-1]) for other in others)
    return (start, stop) if start < stop else None


def shared(row: Sequence[int], other: Sequence[int]) -> int:
    """Number of tokens that two rows begin with alike."""
    return next((i for i, (a, b) in enumerate(zip(row, other, strict=False)) if a != b), min(len(row), len(other)))


def in_columns(spans: Sequence[Span | None], attention_mask: torch.Tensor) -> list[Span | None]:
    """Spans of rows without padding as columns of a batch whose `attention_mask` is [B, L] int64."""
    firsts = attention_mask.int().argmax(1).tolist()
    return [None if s is None else (s[0] + first, s[1] + first) for s, first in zip(spans, firsts, strict=True)]


def unpadded(encoded: Encoded) -> list[list[int]]:
    """Token ids of each row without its padding."""
    pairs = zip(encoded.input_ids, encoded.attention_mask, strict=True)
    return [ids[seen.bool()].tolist() for ids, seen in pairs]
