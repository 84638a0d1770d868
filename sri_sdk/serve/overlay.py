"""What the command line of a server says, laid over its file field by field: what it leaves out stays as written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def laid_over(written: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Keys and values of a file, with those of the command line in their place; sections are joined, not replaced.

    A section of the file that is no mapping stays as it is: whoever checks it says so.
    """
    found = dict(written)
    for name, value in over.items():
        before = found.get(name)
        if not isinstance(value, Mapping):
            found[name] = value
        elif before is None or isinstance(before, Mapping):
            found[name] = laid_over(before or {}, value)
    return found
