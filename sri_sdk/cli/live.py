"""The live view of a generation: the draft as it changes, beside the signal as it grows."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sri_sdk.cli.output import visible
from sri_sdk.cli.verdict_words import words

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sri_sdk.records import Verdict

_LEVELS = "▁▂▃▄▅▆▇█"
_COLOURS = {"clear": "green", "flagged": "red", "unmonitored": "yellow", "not_sampled": "white"}


def spark(values: Sequence[float]) -> str:
    """One character per cell: full = 1, internally compliant; low = 0, refusal-aligned; `?` = no signal."""
    return "".join("?" if math.isnan(v) else _LEVELS[min(int(v * len(_LEVELS)), len(_LEVELS) - 1)] for v in values)


def spaced(pieces: Sequence[str], whole: str) -> list[str]:
    """Tokens of a draft that were decoded one by one, with the spaces between them.

    Args:
        pieces: one text per token.
        whole: the same tokens, decoded together.
    """
    # Most tokenizers write the space into the token: then a word may be several pieces. Others lose it in a token that
    # is decoded alone.
    if "".join(pieces).strip() == whole.strip():
        return [re.sub(r"\s+", " ", piece) for piece in pieces]
    return [f"{piece} " if piece.strip() else "" for piece in pieces]


def frame(
    prompt: str, draft: Sequence[tuple[str, bool]], sigma: Sequence[float], cells: int, step: int, budget: int,
    verdict: Verdict | None, *, request: float | None = None,
) -> RenderableType:  # fmt: skip
    """One picture of a running generation.

    Args:
        prompt: the request.
        draft: pieces of the draft as `spaced` leaves them, each with whether it is committed; the others are only
            predicted.
        sigma: the signal so far.
        cells: T.
        step: step that was done last, counted from 0; -1 = none.
        budget: most steps.
        verdict: once the generation has ended.
        request: log-odds that the request is harmless; None = the guard does not read it, or not yet.
    """
    from rich.console import Group
    from rich.panel import Panel
    from rich.text import Text

    body = Text()
    for piece, committed in draft:
        body.append(visible(piece), style="bold" if committed else "dim italic")
    now = f"{sigma[-1]:.3f}" if len(sigma) and not math.isnan(sigma[-1]) else "-"
    line = Text.assemble(
        ("sigma ", "dim"), (spark(sigma).ljust(cells), "cyan"), f"  {now}", ("   1 = compliant, 0 = refusing", "dim")
    )
    parts: list[Any] = [Text(f"> {visible(prompt)}", style="bold"), Text(), body, Text(), line]
    if request is not None:
        parts.append(Text.assemble(("request ", "dim"), f"{request:+.2f}", ("   above 0 = reads as harmless", "dim")))
    if verdict is not None:
        parts.append(Text(visible(words(verdict)), style=f"bold {_COLOURS[verdict.status]}"))
    return Panel(Group(*parts), title=f"step {step + 1} / {budget}", title_align="left", height=None)
