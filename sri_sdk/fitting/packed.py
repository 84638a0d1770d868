"""A batch as bytes: what lies in a store, and what travels between processes. Safetensors with JSON; no pickle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sri_sdk.strict_json import parse, write

NOTE = "sri"
"""Key of our JSON in the metadata."""

Batch = tuple[Mapping[str, NDArray[Any]], Mapping[str, Any]]
"""Arrays by name, and notes that JSON can hold."""


def pack(arrays: Mapping[str, NDArray[Any]], notes: Mapping[str, Any]) -> bytes:
    """Arrays [...] of any shape and dtype, and notes; `unpack` is the exact inverse. Equal batches, equal bytes.

    Raises:
        JsonError: the notes hold what `unpack` would refuse.
    """
    from safetensors.numpy import save

    made: bytes = save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, {NOTE: write(notes)})
    return made


def unpack(content: bytes) -> Batch:
    """The inverse of `pack`: the same arrays [...] and notes.

    Raises:
        ValueError: these are no such bytes.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        # Its own reader gives the arrays alone.
        size = int.from_bytes(content[:8], "little")
        head = parse(content[8 : 8 + size])
        return load(content), parse(head["__metadata__"][NOTE])
    except (SafetensorError, KeyError, TypeError, AttributeError) as err:
        raise ValueError(f"not a packed batch ({err})") from err
