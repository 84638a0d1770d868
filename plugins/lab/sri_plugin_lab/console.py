"""Progress on standard output, for the two command lines of the lab."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """Write one line at once, so that a long run shows where it is even when its output goes to a file."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
