"""What a monitor is generating right now, for onlookers. A generation writes, and never waits for whoever reads."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from sri_sdk.capture.run import Run
from sri_sdk.observation import Running

MOST_SHOWN = 64
"""Generations that onlookers see at once: the ones that began first."""


class Board:
    """The generations that run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[int, Entry] = {}
        self._next = 0

    @contextmanager
    def shows(
        self, ids: Sequence[str], deployment: str, *, steps: int | None, cells: int, tenants: Sequence[str] = ()
    ) -> Iterator[Entry]:
        """Shows a batch for as long as the block lasts.

        Args:
            ids: of its requests.
            deployment: that generates them.
            steps: that they will take; None = not known.
            cells: of the step grid.
            tenants: whose they are, one each; empty = not said.
        """
        entry = Entry(tuple(ids), deployment, steps, cells, tuple(tenants) or ("",) * len(ids))
        with self._lock:
            key, self._next = self._next, self._next + 1
            self._entries[key] = entry
        try:
            yield entry
        finally:
            with self._lock:
                del self._entries[key]

    def running(self) -> tuple[Running, ...]:
        """All of it, up to `MOST_SHOWN`."""
        with self._lock:
            entries = list(self._entries.values())
        found: list[Running] = []
        for entry in entries:
            found += entry.running()
            if len(found) >= MOST_SHOWN:
                break
        return tuple(found[:MOST_SHOWN])


class Entry:
    """One batch on the board."""

    def __init__(
        self, ids: tuple[str, ...], deployment: str, steps: int | None, cells: int, tenants: tuple[str, ...]
    ) -> None:
        """Use `Board.shows`."""
        self._ids, self._deployment, self._steps, self._cells, self._tenants = ids, deployment, steps, cells, tenants
        self._since = int(time.time() * 1000)
        self._step = 0
        self._drafts: tuple[str | None, ...] = (None,) * len(ids)
        self._run: Run | None = None

    def watches(self, run: Run) -> None:
        """Names the run whose signal is shown."""
        self._run = run

    def step(self, done: int, drafts: Sequence[str | None] | None = None) -> None:
        """A step is done.

        Args:
            done: steps so far.
            drafts: what the responses read as now, where onlookers may see them; None = they may not.
        """
        if drafts is not None:
            self._drafts = tuple(drafts)
        self._step = done

    def running(self) -> list[Running]:
        """Its generations as they are now, but for those whose names nobody can write down."""
        stream = None if self._run is None else self._run.live
        # A caller may have named more rows than the model was given.
        seen = 0 if stream is None else min(len(stream.sigma), len(stream.lengths))
        return [
            Running(
                each, self._deployment, self._since, self._step, self._steps,
                () if stream is None or row >= seen else _sigma(stream.sigma[row], int(stream.lengths[row])),
                self._cells, _text(self._drafts, row), self._tenants[row],
            )
            for row, each in enumerate(self._ids)
            if _writable(each) and _writable(self._tenants[row])
        ]  # fmt: skip


def _writable(text: str) -> bool:
    """Whether it is text: half of a surrogate pair is not, and would keep a sink from showing the others."""
    return not any("\ud800" <= each <= "\udfff" for each in text)


def _text(drafts: Sequence[str | None], row: int) -> str | None:
    draft = drafts[row] if row < len(drafts) else None
    return draft if draft is None or _writable(draft) else None


def _sigma(cells: NDArray[np.float32], length: int) -> tuple[float, ...]:
    """The filled cells of [T, C], of the last tapped layer; up to the first that is no number."""
    column = cells[:length, -1].tolist() if cells.shape[1] else []
    stop = next((at for at, value in enumerate(column) if not math.isfinite(value)), len(column))
    return tuple(column[:stop])
