"""Where directions are looked for: the tokens that the chat template writes before and behind every request.

They are the same in every prompt, so their states differ by what the model has read elsewhere and by nothing else.
Names count from the request: `pre-1` is the token right before it, `post+0` the one right behind it. A causal model
cannot see the request at `pre-...`; a masked one can (arXiv 2512.24143).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from sri_sdk.capture.locate import shared, template_tokens
from sri_sdk.errors import ConfigError, did_you_mean
from sri_sdk.hook import Hook

MOST = 64
"""Places before a request at most: of a long system prompt, those nearest to the request are kept."""


@dataclass(frozen=True, slots=True)
class Places:
    """Template tokens that all prompts share, as far as they are read."""

    before: tuple[int, ...]
    """Ids of the tokens right before a request, the last of them `pre-1`."""
    behind: tuple[int, ...]
    """Ids of the tokens right behind it up to the end of the prompt, the first of them `post+0`."""
    taken: tuple[int, ...] | None = None
    """Which of them are read, as numbers in `all_names`; None = all."""
    skipped: int = 0
    """Tokens of the template that stand before `before`, as those of a long system prompt do."""

    @property
    def all_names(self) -> tuple[str, ...]:
        """Names of all shared tokens, in the order of the text."""
        before = (f"pre-{count}" for count in range(len(self.before), 0, -1))
        return (*before, *(f"post+{count}" for count in range(len(self.behind))))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the P places that are read, in the order of the text."""
        names = self.all_names
        return names if self.taken is None else tuple(names[i] for i in self.taken)

    @property
    def tokens(self) -> tuple[int, ...]:
        """Token ids at these P places."""
        ids = (*self.before, *self.behind)
        return ids if self.taken is None else tuple(ids[i] for i in self.taken)

    def only(self, names: Sequence[str], *, subject: str = "places") -> Places:
        """The same with some places alone, in the order of the text.

        Raises:
            ConfigError: there is no such place.
        """
        known = self.all_names
        if unknown := [name for name in names if name not in known]:
            raise ConfigError(
                f"{subject}: found {', '.join(unknown)}; the template of this model has: {', '.join(known) or 'none'}."
                f"{did_you_mean(unknown[0], known)}"
            )
        return replace(self, taken=tuple(i for i, name in enumerate(known) if name in names))

    def columns(self, attention_mask: torch.Tensor) -> torch.Tensor:
        """[B, P] int64: columns of these places in a batch padded on the left, `attention_mask` [B, L] int64."""
        lengths = attention_mask.sum(1)
        first = attention_mask.shape[1] - lengths
        before = torch.arange(len(self.before), device=lengths.device)
        behind = torch.arange(-len(self.behind), 0, device=lengths.device)
        ahead = self.skipped + before[None] + first[:, None]
        columns = torch.cat([ahead, (first + lengths)[:, None] + behind[None]], dim=1)
        return columns if self.taken is None else columns[:, list(self.taken)]


def shared_places(
    hook: Hook, tokenizer: Any, rows: Sequence[Sequence[int]], system_prompt: str | None, *, most: int = MOST
) -> Places:
    """The template tokens that stand around each of these prompts.

    Where a tokenizer joins a template's token with the request beside it, the template ends earlier in some prompts:
    what is not shared by all of them is no place.

    Args:
        hook: the model family.
        tokenizer: of the model.
        rows: token ids of each prompt, without padding.
        system_prompt: stands before every prompt; None = none does.
        most: places before the request at most, those nearest to it.

    Raises:
        ConfigError: the prompts share no token of the template, so that no position is the same in all of them.
    """
    head, tail = template_tokens(hook, tokenizer, system_prompt)
    before = min((shared(row, head) for row in rows), default=len(head))
    behind = min((shared(row[::-1], tail[::-1]) for row in rows), default=len(tail))
    # A prompt must have something between them: it would be counted from both sides otherwise.
    shortest = min((len(row) for row in rows), default=before + behind + 1)
    before = min(before, max(shortest - behind - 1, 0))
    if not before + behind:
        raise ConfigError(
            "directions: these prompts share no token of the chat template, so no position is the same in all of them. "
            "Prompts need a template around the request; give the tokenizer one, or leave out prompts that look "
            "otherwise."
        )
    kept = min(before, most)
    return Places(tuple(head[before - kept : before]), tuple(tail[len(tail) - behind :]), skipped=before - kept)
