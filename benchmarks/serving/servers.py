"""Servers in processes of their own, and what they have taken of a processor."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Served:
    """A process that answers on 127.0.0.1."""

    port: int
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """User and system time so far, with all of its threads and of the processes that it started."""
        times = [each.cpu_times() for each in (self.process, *self.process.children(recursive=True))]
        return float(sum(each.user + each.system for each in times))

    def resident_mib(self) -> float:
        """Memory."""
        return float(self.process.memory_info().rss / 2**20)


@contextlib.contextmanager
def started(*command: str) -> Iterator[Served]:
    """`python -m COMMAND...`, which prints its port first."""
    process = subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Served(int(process.stdout.readline()), psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait(60)


def ours(bundle: Path, *more: str) -> contextlib.AbstractContextManager[Served]:
    """`sri serve` with one bundle, named `sri`."""
    return started("benchmarks.serving.ours", str(bundle), *more)
