"""Keeps freed memory in the process while batches are generated.

A pass over a batch takes and frees some hundred megabytes, tensor by tensor. glibc gives much of that back to the
system at once, and each page that it takes again is filled with zeros first: up to a third of the time of a pass over a
small model.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
"""Parameters of glibc's `mallopt`."""
_NEVER = -1
_USUAL_MAPS = 65536
_LARGEST_THRESHOLD = 2**25
"""Bytes: the most that glibc raises its own threshold to, as it sees large blocks come and go."""

_lock = threading.Lock()
_inside = 0


@contextmanager
def kept_heap() -> Iterator[None]:
    """Keeps what is freed as long as the block lasts, then gives it back; blocks may lie in one another, or in threads.

    Changes nothing of what is computed. Elsewhere than on glibc, and where the environment sets its allocator, it does
    nothing.
    """
    if (libc := _glibc()) is None:
        yield
        return
    _enter(libc)
    try:
        yield
    finally:
        _leave(libc)


def _enter(libc: ctypes.CDLL) -> None:
    global _inside
    with _lock:
        _inside += 1
        if _inside == 1:
            libc.mallopt(_MMAP_MAX, 0)
            libc.mallopt(_TRIM_THRESHOLD, _NEVER)


def _leave(libc: ctypes.CDLL) -> None:
    global _inside
    with _lock:
        _inside -= 1
        if _inside == 0:
            # glibc adapts its thresholds by itself until they are set once: so they stay at the most it would choose.
            libc.mallopt(_MMAP_MAX, _USUAL_MAPS)
            libc.mallopt(_MMAP_THRESHOLD, _LARGEST_THRESHOLD)
            libc.mallopt(_TRIM_THRESHOLD, 2 * _LARGEST_THRESHOLD)
            libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """The C library, if it is glibc and nobody has set its allocator."""
    if os.name != "posix" or "malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return None
    if any(name.startswith("MALLOC_") for name in os.environ):
        return None
    libc = ctypes.CDLL(None)
    # Where another allocator was loaded before it, such as jemalloc, glibc's own is idle and its settings do nothing.
    return libc if hasattr(libc, "gnu_get_libc_version") and hasattr(libc, "mallopt") else None
