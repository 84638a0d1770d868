"""Progress of long work on stderr, so that stdout is left for results; and libraries made quiet meanwhile."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sri_sdk.cli.output import say, visible
from sri_sdk.errors import MissingExtra

if TYPE_CHECKING:
    from sri_sdk.fitting.collect import Progress


EVERY = 30.0
"""Seconds between two lines of one stage, where there is no terminal."""
FOUND = 0.5
"""Seconds below which nothing was generated."""


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """One bar per stage on a terminal, else plain lines with the time; what a fit says of itself stands between."""
    if sys.stderr.isatty():
        with _bars() as (progress, say), _logged(say):
            yield progress
    else:
        with _logged(_say):
            yield _lines()


@contextmanager
def _bars() -> Iterator[tuple[Progress, Callable[[str], None]]]:
    """One bar per stage, with generations per second and the time left; and how to print a line above them."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars
    except ImportError as err:
        raise MissingExtra("A progress bar", extra="capture") from err
    columns = (
        TextColumn("{task.description:<12}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    tasks: dict[str, Any] = {}
    console = Console(stderr=True)
    bars = Bars(*columns, console=console)

    def advance(stage: str, done: int, total: int) -> None:
        # Shown from the first generation on: a mistake found before that is one clean line.
        bars.start()
        if stage not in tasks:
            tasks[stage] = bars.add_task(visible(stage), total=total)
        bars.update(tasks[stage], completed=done)

    try:
        yield advance, lambda line: console.print(visible(line), markup=False, highlight=False)
    finally:
        if tasks:
            bars.stop()


def _lines() -> Progress:
    """A line when a stage begins and ends, and one every `EVERY` seconds in between."""
    from sri_sdk.fitting.forecast import words

    begun: dict[str, tuple[float, int]] = {}
    said: dict[str, float] = {}

    def advance(stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        started, first = begun.setdefault(stage, (now, done))
        if stage in said and done < total and now - said[stage] < EVERY:
            return
        said[stage] = now
        pace = ""
        # What a former run made is found within a moment, and has no pace.
        if done > first and now - started >= FOUND:
            rate = (done - first) / (now - started)
            pace = f", {rate:.3g}/s" + (f", about {words((total - done) / rate)} left in this stage" * (done < total))
        _say(f"{stage} {done} of {total}{pace}")

    return advance


def _say(line: str) -> None:
    say(f"{datetime.now():%Y-%m-%d %H:%M:%S}  {line}", err=True)


@contextmanager
def _logged(say: Callable[[str], None]) -> Iterator[None]:
    """What `sri_sdk.fitting` logs, from information on, is said here."""

    class Here(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            mark = "warning: " if record.levelno >= logging.WARNING else ""
            say(f"{mark}{record.getMessage()}")

    log, handler = logging.getLogger("sri_sdk.fitting"), Here()
    level, propagate = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagate


def prepare_libraries() -> None:
    """Shares the cores with other processes (call it before torch is imported), and silences model loading."""
    # By default, waiting threads of OpenMP spin. With one other busy process on two cores that made generation of a
    # small model 20 times slower (128 generations: 88 s instead of 4); waiting passively, 7 s alone and 9 s in company.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        from transformers.utils import logging
    except ImportError:
        return
    logging.disable_progress_bar()
    logging.set_verbosity_error()
