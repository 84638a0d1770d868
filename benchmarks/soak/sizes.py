"""Memory and handles of a process over time, as Linux has them, and whether they grow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

WARM = 0.25
"""Share of the time in which a process may still grow: caches fill, and libraries are loaded."""
FLAT_MEMORY = 0.05
"""Share by which the median of the last quarter may be larger than that of the one after the warm-up."""
FLAT_HANDLES = 2


@dataclass(frozen=True, slots=True)
class Size:
    """One look at a process."""

    seconds: float
    """Since the first look."""
    resident: int
    """Bytes."""
    handles: int
    threads: int


def look(pid: int, seconds: float) -> Size:
    """How large a process is.

    Raises:
        OSError: it has ended.
    """
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
    )  # fmt: skip
    resident = int(status["VmRSS"].split()[0]) * 1024
    return Size(seconds, resident, len(list(Path(f"/proc/{pid}/fd").iterdir())), int(status["Threads"]))


@dataclass(frozen=True, slots=True)
class Growth:
    """How a process grew after its warm-up."""

    resident_before: int
    """Median of the first quarter after the warm-up, bytes."""
    resident_after: int
    """Median of the last quarter."""
    handles_before: int
    handles_after: int
    threads_after: int

    @property
    def flat(self) -> bool:
        """Whether neither memory nor handles grew by more than noise."""
        return (
            self.resident_after <= (1 + FLAT_MEMORY) * self.resident_before
            and self.handles_after <= self.handles_before + FLAT_HANDLES
        )


def growth(sizes: Sequence[Size]) -> Growth:
    """Compares the quarter after the warm-up with the last one."""
    warm = sizes[int(WARM * len(sizes)) :]
    quarter = max(len(warm) // 3, 1)
    before, after = warm[:quarter], warm[-quarter:]
    return Growth(
        _median([each.resident for each in before]), _median([each.resident for each in after]),
        _median([each.handles for each in before]), _median([each.handles for each in after]),
        max(each.threads for each in after),
    )  # fmt: skip


def _median(numbers: Sequence[int]) -> int:
    return sorted(numbers)[len(numbers) // 2]
