"""What a worker and its parent say to each other: one byte that says what it is, then the bytes themselves."""

from __future__ import annotations

import traceback
from pathlib import Path

STAGE, PROMPTS = b"S", b"P"
"""To the worker: what the following shards have in common; one shard."""
MADE, FAILED = b"M", b"F"
"""From the worker: the shard, made; or what it raised, as text, and then it ends."""

_FRAMES = 4


def failure(err: BaseException) -> bytes:
    """What a worker raised, as a message: its class and text, and where, innermost call first."""
    frames = traceback.extract_tb(err.__traceback__)[: -_FRAMES - 1 : -1]
    places = " < ".join(f"{Path(each.filename).name}:{each.lineno} in {each.name}" for each in frames)
    return FAILED + f"{type(err).__name__}: {err} [{places}]".encode(errors="replace")
