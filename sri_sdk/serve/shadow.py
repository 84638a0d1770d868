"""A second bundle scores what the live one scored, in a thread; how often the two differ is counted.

Nobody waits for it, and nothing it says is given out. If it cannot keep up, requests are left out, and that is counted.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sri_sdk.errors import SriError
from sri_sdk.records import Verdict
from sri_sdk.scoring.runtime import Scored
from sri_sdk.serve.batching import Inputs
from sri_sdk.serve.oip.model import Model

MOST_WAITING = 256
"""Requests that wait for the shadow; further ones are left out."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Item:
    bundle: str
    rows: int
    outcomes: Callable[[], Counter[str]]


class Shadows:
    """The thread that scores with shadow bundles."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        """(bundle, outcome) -> rows. `same`; `only_live` and `only_shadow` = flagged by that one alone; `unscored` =
        one of the two could not say; `left_out` and `failed` = not compared."""
        self._items: deque[_Item] = deque()
        self._come = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._busy = False

    def compare(self, live: Model, shadow: Model, inputs: Inputs, scored: Scored) -> None:
        """Has the shadow score, later, what the live model scored: [B] or [B, K]."""
        self._put(_Item(live.bundle, len(scored[0]), lambda: compared(live, shadow, scored, shadow.run(inputs))))

    def compare_verdicts(
        self, bundle: str, verdicts: Sequence[Verdict], judge: Callable[[], Sequence[Verdict]]
    ) -> None:
        """Has the shadow judge, later, what the live bundle judged.

        Args:
            bundle: name of the live one.
            verdicts: of the live one.
            judge: gives the shadow's, in the same order; called in the thread.
        """
        self._put(_Item(bundle, len(verdicts), lambda: compared_verdicts(verdicts, judge())))

    def _put(self, item: _Item) -> None:
        with self._come:
            if len(self._items) >= MOST_WAITING or self._closed:
                self.counts[item.bundle, "left_out"] += item.rows
                return
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="sri-shadow", daemon=True)
                self._thread.start()
            self._items.append(item)
            self._come.notify()

    def settle(self) -> None:
        """Waits until everything was compared."""
        with self._come:
            self._come.wait_for(lambda: not self._items and not self._busy)

    def close(self) -> None:
        """Ends the thread; what waits is left out."""
        with self._come:
            self._closed = True
            self._items.clear()
            self._come.notify_all()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _work(self) -> None:
        while True:
            with self._come:
                self._busy = False
                self._come.notify_all()
                self._come.wait_for(lambda: self._items or self._closed)
                if self._closed:
                    return
                item = self._items.popleft()
                self._busy = True
            try:
                found = item.outcomes()
            except Exception as err:
                # Whatever it was: a thread that ends here would leave out every later request, and nobody would see it.
                log.warning(
                    "shadow of %s: fails (%s)", item.bundle, err if isinstance(err, SriError) else type(err).__name__
                )
                found = Counter({"failed": item.rows})
            with self._come:
                for outcome, rows in found.items():
                    self.counts[item.bundle, outcome] += rows


def compared(live: Model, shadow: Model, scored: Scored, shadowed: Scored) -> Counter[str]:
    """How many of the rows [B] or [B, K] had which outcome; see `Shadows.counts`."""
    mine, its = live.alarms(scored), shadow.alarms(shadowed)
    known = [np.asarray(valid).reshape(len(mine), -1).all(axis=1) for _, valid in (scored, shadowed)]
    unscored = ~(known[0] & known[1]) & (mine == its)
    found = {
        "only_live": mine & ~its, "only_shadow": its & ~mine, "unscored": unscored, "same": (mine == its) & ~unscored,
    }  # fmt: skip
    return Counter({name: int(rows.sum()) for name, rows in found.items() if rows.any()})


def compared_verdicts(live: Sequence[Verdict], shadow: Sequence[Verdict]) -> Counter[str]:
    """The same of verdicts."""
    found: Counter[str] = Counter()
    for mine, its in zip(live, shadow, strict=True):
        flagged = mine.status == "flagged", its.status == "flagged"
        if flagged[0] != flagged[1]:
            found["only_live" if flagged[0] else "only_shadow"] += 1
        else:
            found["unscored" if "unmonitored" in (mine.status, its.status) else "same"] += 1
    return found
