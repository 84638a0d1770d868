"""Which tokens of a response refuse. A recovery never opens those: attacks take refusals out that way (2604.08557)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from sri_sdk import registry
from sri_sdk.errors import RecoveryError
from sri_sdk.hook import Hook
from sri_sdk.judge import Judge
from sri_sdk.records import Prompt, SamplerStep

PHRASES = "refusal-phrases"
"""The judge that finds refusals where the config's own cannot."""


class RefusalFinder:
    """Finds the tokens that refuse, by the words that a judge takes for a refusal."""

    def __init__(self, judge: Judge) -> None:
        """`judge` = that of the config; the usual phrases count as well.

        Raises:
            PluginError: the judge of the usual phrases is not installed.
        """
        self._judges: list[Judge] = [judge]
        if type(judge).refuses is Judge.refuses:
            self._judges = [registry.build("judges", PHRASES, {})]

    def refuses(self, text: str) -> bool:
        """Whether a text has the words of a refusal in it."""
        return any(judge.refuses(text) for judge in self._judges)

    def tokens(self, hook: Hook, tokenizer: Any, row: Sequence[int]) -> tuple[int, ...]:
        """Places of the tokens that refuse, counted from 0.

        Args:
            hook: decodes.
            tokenizer: of the model.
            row: token ids of a response; a hole reads as nothing, and one within a refusal belongs to it.
        """

        def says(start: int, stop: int) -> bool:
            piece = torch.tensor([row[start:stop]], dtype=torch.int64)
            return self.refuses(hook.decode(tokenizer, piece)[0])

        (length,) = hook.lengths(torch.tensor([list(row)], dtype=torch.int64)) if row else (0,)
        found: set[int] = set()
        begin = 0
        while begin < length and says(begin, length):
            # The shortest beginning that refuses ends where the refusal does; its shortest end begins where that does.
            stop = next(end for end in range(begin + 1, length + 1) if says(begin, end))
            start = next(at for at in range(stop - 1, begin - 1, -1) if says(at, stop))
            found.update(range(start, stop))
            begin = stop
        return tuple(sorted(found))


def committed_tokens(hook: Hook, step: SamplerStep) -> torch.Tensor:
    """[B, P] int64: the canvas after a step, the mask token where nothing is committed; the drafts without one."""
    mask = hook.mask_id()
    return step.draft if mask is None else step.draft.masked_fill(~step.committed, mask)


def refuse_opening(
    finder: RefusalFinder, hook: Hook, tokenizer: Any, prompts: Sequence[Prompt], step: SamplerStep,
    opened: torch.Tensor,
) -> None:  # fmt: skip
    """Refuses to open positions, [B, P] bool, that hold the words of a refusal.

    Raises:
        RecoveryError: they do.
    """
    canvas = committed_tokens(hook, step)
    for row in opened.any(1).nonzero()[:, 0].tolist():
        wanted = set(opened[row].nonzero()[:, 0].tolist())
        inside = sorted(wanted.intersection(finder.tokens(hook, tokenizer, canvas[row].tolist())))
        if inside:
            raise RecoveryError(
                f"prompt {prompts[row].id!r}: positions {', '.join(map(str, inside[:8]))} of the response refuse, and "
                "were to be opened again. Where the policy recovers, nothing takes a refusal out of a response, as "
                "attacks do. Leave them out of Intervention.remask, or generate without recovery."
            )
