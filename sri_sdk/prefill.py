"""A response that is started before the first step: text, with holes where a masked model is to fill something in.

    sure , here is how to <mask:8> . first <mask:5> .

reads as text, eight holes, text, five holes, text. Published attacks start a response in this way: prefilling (arXiv
2404.02151), mask infilling (arXiv 2507.11097), connectors for parallel decoding (arXiv 2507.19227). What follows the
last piece is open.
"""

from __future__ import annotations

import re

from sri_sdk.errors import ConfigError

MARK = re.compile(r"<mask:([1-9][0-9]{0,5})>")
"""`<mask:7>`: seven holes."""
_NEARLY = re.compile(r"<\s*/?\s*mask\b[^<>]{0,12}>?", re.IGNORECASE)
"""What may have been meant as one."""


def holes(count: int) -> str:
    """The mark of so many holes.

    Raises:
        ValueError: a number that no mark can hold.
    """
    mark = f"<mask:{count}>"
    if MARK.fullmatch(mark) is None:
        raise ValueError(f"{count} holes; a mark holds 1 to 999999")
    return mark


def pieces(text: str, *, subject: str = "prefill") -> list[str | int]:
    """Text and numbers of holes, in their order; a piece of text is never empty.

    Args:
        text: as `Prompt.prefill` has it.
        subject: whose it is, for the error.

    Raises:
        ConfigError: something in it looks like a mark of holes but is not one.
    """
    found: list[str | int] = []
    # With one group, every second part is the number inside a mark.
    for index, part in enumerate(MARK.split(text)):
        if index % 2:
            found.append(int(part))
            continue
        if (wrong := _NEARLY.search(part)) is not None:
            raise ConfigError(
                f"{subject}: found {wrong.group().strip()!r}, which does not mark holes; allowed: <mask:7>, with a "
                "number from 1 to 999999 and no spaces. Write the number of tokens to leave open."
            )
        if part:
            found.append(part)
    return found
