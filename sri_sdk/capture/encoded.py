"""Prompts as tokens, and whether the tokens hold what was asked: every driven generation begins here.

A chat template may drop what it was given without a word, as one does that expects lists of parts and is given a text.
Every prompt then reads the same, and a guard would be fitted on nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from sri_sdk.errors import ConfigError
from sri_sdk.hook import Hook
from sri_sdk.records import Encoded, Prompt
from sri_sdk.text import squeezed

PROBES = ("a b c", "d e f")
"""Requests to compare with: what a template makes of another one must be something else."""


def encode(hook: Hook, tokenizer: Any, prompts: Sequence[Prompt], system_prompt: str | None) -> Encoded:
    """Prompts as the hook encodes them, and how they all end.

    Args:
        hook: the model family.
        tokenizer: of the model.
        prompts: at least one.
        system_prompt: goes before every prompt; None = none.

    Returns:
        input_ids and attention_mask [B, L] int64, padded on the left; `ending` is what the template writes
        behind every request.

    Raises:
        ConfigError: the tokens of a prompt do not hold its text, or not the system prompt.
    """
    encoded = hook.encode(tokenizer, [p.text for p in prompts], system_prompt)
    if not encoded.attention_mask.any():
        raise ConfigError(
            f"prompt {prompts[0].id!r}: {type(hook).__name__} encodes it to no token at all, and a model cannot begin "
            "with nothing. Give it a text, or a chat template to the tokenizer."
        )
    reader = _Reader(hook, tokenizer)
    rows = reader.rows(encoded)
    asked = {p.text for p in prompts}
    # Longer than each of them, should somebody ask both.
    probe = next((text for text in PROBES if text not in asked), " ".join((*PROBES, *asked)))

    @cache
    def other(system: str | None) -> list[int]:
        return reader.rows(hook.encode(tokenizer, [probe], system))[0]

    def here() -> list[int]:
        return other(system_prompt)

    lost = [p for p, row in zip(prompts, rows, strict=True) if not reader.holds(row, p.text, here)]
    if lost:
        raise ConfigError(
            f"prompt {lost[0].id!r}: {reader.template} drops or changes its text: the {len(rows[0])} tokens that "
            f"{type(hook).__name__} encodes do not hold it ({len(lost)} of {len(prompts)} prompts of this batch). "
            "Nothing can be fitted on prompts that the model does not see. The template must write message['content'], "
            "which is a text and no list of parts, and must not cut it: set `tokenizer.chat_template`, or name another "
            "checkpoint."
        )
    if system_prompt and not reader.holds(other(system_prompt), system_prompt, lambda: other(None)):
        raise ConfigError(
            f"system prompt: {reader.template} drops or changes it: the tokens that {type(hook).__name__} encodes "
            "do not hold it, so no generation would have it. Choose a template that writes messages of the role "
            "'system', put the text into the prompts, or leave model.system_prompt out."
        )
    return replace(encoded, ending=_common_end(rows[0], here()))


def _common_end(row: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    """The tokens with which both rows end: those of two requests differ before them."""
    most = min(len(row), len(other))
    same = next((n for n in range(most) if row[-1 - n] != other[-1 - n]), most)
    return tuple(row[len(row) - same :])


def says(hook: Hook, tokenizer: Any, row: Sequence[int], text: str) -> bool | None:
    """Whether a row of token ids holds a text, wherever it comes from; None = this tokenizer cannot tell.

    Args:
        hook: the model family.
        tokenizer: of the model.
        row: token ids.
        text: what may be there.
    """
    decode = getattr(tokenizer, "decode", None)
    if callable(decode) and squeezed(text) in squeezed(decode(list(row))):
        return True
    return _Reader(hook, tokenizer).has_tokens(row, text)


class _Reader:
    """Looks for texts in rows of tokens."""

    def __init__(self, hook: Hook, tokenizer: Any) -> None:
        self._hook, self._tokenizer = hook, tokenizer
        name = getattr(tokenizer, "name_or_path", None) or type(tokenizer).__name__
        self.template = f"the chat template of {name}"
        if getattr(tokenizer, "chat_template", None) is None:
            self.template = f"the tokenizer {name}, which has no chat template,"

    def rows(self, encoded: Encoded) -> list[list[int]]:
        """Token ids of each row without its padding."""
        pairs = zip(encoded.input_ids, encoded.attention_mask, strict=True)
        return [ids[seen.bool()].tolist() for ids, seen in pairs]

    def holds(self, row: Sequence[int], text: str, without: Callable[[], list[int]]) -> bool:
        """Whether a row holds a text.

        Args:
            row: token ids.
            text: what must be there.
            without: gives the same row as it is made without this text, which may hold it by chance: as part of what
                the template says itself.
        """
        wanted = squeezed(text)
        if not wanted:
            return True
        decode = getattr(self._tokenizer, "decode", None)
        if callable(decode) and wanted in squeezed(decode(list(row))):
            return list(row) != without()
        # What a tokenizer cannot write back, such as words that it does not know, it still writes alike twice.
        found = self.has_tokens(row, text)
        # Where nothing reads one text, another request must still make a difference.
        return found if found is not None else not callable(decode) or list(row) != without()

    def has_tokens(self, row: Sequence[int], text: str) -> bool | None:
        """Whether a row holds the tokens of a text; None = the tokenizer gives none."""
        ids = self._tokens(text)
        if ids is None:
            return None
        # The first and the last token may go together with what stands beside them.
        inner = ids[1:-1] if len(ids) > 3 else ids
        return any(list(row[at : at + len(inner)]) == inner for at in range(len(row) - len(inner) + 1))

    def _tokens(self, text: str) -> list[int] | None:
        """Token ids of a text by itself; None = the tokenizer gives none."""
        for make in (self._hook.tokens, lambda tokenizer, text: tokenizer.encode(text)):
            try:
                return list(make(self._tokenizer, text))
            except (AttributeError, TypeError):
                # A tokenizer of its own, as hooks with an `encode` of their own may have.
                continue
        return None
