"""`python peak_memory.py SCHEME PER_CLASS BATCH ROUNDS WAY ...`: peak memory of ways to anchors, in a process.

Prints JSON: way -> [rounds] bytes by which the resident memory of the process rose above what it was before. Linux
only: the kernel's high-water mark is reset before each run.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
from pathlib import Path

import torch
from collecting import Way, ways

PROCESS = Path("/proc/self")


def rise(way: Way) -> int:
    """Bytes between the resident memory before and its highest during the call."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what an earlier run freed must not serve this one unseen
    (PROCESS / "clear_refs").write_text("5")
    before = _status("VmRSS")
    way()
    return _status("VmHWM") - before


def _status(field: str) -> int:
    line = next(line for line in (PROCESS / "status").read_text().splitlines() if line.startswith(field + ":"))
    return int(line.split()[1]) * 1024


def main() -> None:
    """Command line."""
    scheme, per_class, batch_size, rounds = sys.argv[1], *(int(a) for a in sys.argv[2:5])
    torch.set_num_threads(1)
    both = ways(scheme, per_class=per_class, batch_size=batch_size)
    warm = ways(scheme, per_class=8, batch_size=2)
    names = sys.argv[5:]
    for name in names:
        warm[name]()
    result: dict[str, list[int]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, values in result.items():
            values.append(rise(both[name]))
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main()
