"""Progress of long work on stderr, so that stdout is left for results; and libraries made quiet meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sri_sdk.errors import MissingExtra

if TYPE_CHECKING:
    from sri_sdk.fitting.collect import Progress


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """One bar per stage, with generations per second and the time left."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars
    except ImportError as err:
        raise MissingExtra("A progress bar", extra="capture") from err
    columns = (
        TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    tasks: dict[str, Any] = {}
    bars = Bars(*columns, console=Console(stderr=True))

    def advance(stage: str, done: int, total: int) -> None:
        # Shown from the first generation on: a mistake found before that is one clean line.
        bars.start()
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=total)
        bars.update(tasks[stage], completed=done)

    try:
        yield advance
    finally:
        if tasks:
            bars.stop()


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
