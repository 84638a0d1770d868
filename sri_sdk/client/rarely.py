"""Logs the first time, and then at every power of ten: a log that floods is a fault of its own."""

from __future__ import annotations

import logging

log = logging.getLogger("sri_sdk.client")


def warn_rarely(count: int, message: str, *values: object) -> None:
    """Logs a warning where `count`, the number of times so far, is 1, 10, 100 ..."""
    if str(count).strip("0") == "1":
        log.warning(message, *values)
