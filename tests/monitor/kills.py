"""Kills `sri monitor` at random moments under load, starts it again, and compares what was acknowledged with the store.

python -m tests.monitor.kills --kills 20
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from sri_sdk.monitor.outlet import Outlet
from sri_sdk.monitor.reading import read_monitor
from sri_sdk.serve.store.observed import StreamQuery
from sri_sdk.serve.store.store import VerdictStore
from sri_sdk.strict_json import parse, write

AHEAD = 32
"""Requests that wait for an answer."""


@dataclass
class Kills:
    """What came of it."""

    acknowledged: set[str] = field(default_factory=set)
    """Ids of observations that an answer called recorded."""
    kills: int = 0
    stored: Counter[str] = field(default_factory=Counter)
    """Id of an observation -> how often it is in the store."""
    waiting: int = 0
    """Left in the spool after the last, orderly end."""

    @property
    def lost(self) -> set[str]:
        """Acknowledged, and not in the store."""
        return self.acknowledged - self.stored.keys()

    @property
    def twice(self) -> set[str]:
        """In the store more than once."""
        return {each for each, count in self.stored.items() if count > 1}


def kill(file: Path, store: str, kills: int, seed: int = 0, *, longest: float = 2.0, here: bool = False) -> Kills:
    """Runs a monitor that reads standard input, and kills it so often.

    Args:
        file: of the monitor.
        store: SQLite address of its sink `sql`.
        kills: how often.
        seed: of the moments.
        longest: seconds after the first answer within which it is killed.
        here: whether this process delivers what the last one left, and not one more monitor, which takes long to start.
    """
    found, chance = Kills(), random.Random(seed)
    for number in range(kills + (not here)):
        _once(file, found, f"{seed}-{number}", None if number == kills else chance.uniform(0, longest))
    if here:
        outlet = Outlet.open(read_monitor(file).settings)
        assert outlet.flush(60), "what a killed monitor left is not delivered"
        outlet.close(5.0)
    with VerdictStore.open(store) as opened:
        before = None
        while True:
            page = opened.stream(StreamQuery(limit=500, before=before))
            found.stored.update(each.observation.id for each in page.rows)
            if page.next is None:
                return found
            before = page.next


def _once(file: Path, found: Kills, name: str, after: float | None) -> None:
    """One life: killed `after` seconds behind its first answer, or ended in order."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sri_sdk.cli", "monitor", str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    stop, room = threading.Event(), threading.Semaphore(AHEAD)
    feeder = threading.Thread(target=_feed, args=[process, name, stop, room])
    feeder.start()
    _take(process.stdout.readline(), found)
    if after is not None:
        timer = threading.Timer(after, lambda: os.kill(process.pid, signal.SIGKILL))
        timer.start()
        found.kills += 1
    else:
        stop.set()
        room.release()
    for line in process.stdout:
        _take(line, found)
        room.release()
    process.wait()
    stop.set()
    room.release()
    feeder.join()
    process.stdout.close()
    assert after is not None or process.returncode == 0, "its last life did not end in order"


def _feed(process: subprocess.Popen[bytes], name: str, stop: threading.Event, room: threading.Semaphore) -> None:
    assert process.stdin is not None
    number = 0
    try:
        while room.acquire() and not stop.is_set():
            line = {"id": f"{name}-{number}", "prompt": "how do i paint the kite ?", "tenant": "acme"}
            process.stdin.write(write(line).encode() + b"\n")
            process.stdin.flush()
            number += 1
    except BrokenPipeError:
        return
    finally:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()


def _take(line: bytes, found: Kills) -> None:
    """An answer counts if its line is whole: the process may have died in the middle of it."""
    if line.endswith(b"\n") and (answer := parse(line)).get("recorded"):
        found.acknowledged.add(answer["observation"])


def main() -> None:
    """Prints what came of it."""
    options = argparse.ArgumentParser()
    options.add_argument("--kills", type=int, default=20)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--config", type=Path, required=True, help="of a fit")
    options.add_argument("--guard", type=Path, required=True)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder, began = Path(scratch), time.monotonic()
        file = folder / "monitor.yaml"
        store = f"sqlite:///{folder}/verdicts.db"
        file.write_text(write({
            "version": 1, "name": "killed", "config": str(given.config), "guard": {"path": str(given.guard)},
            "mode": "observe", "requests": {"from": "stdin"}, "spool": {"path": str(folder / "spool.db")},
            "sinks": [{"name": "sql", "options": {"url": store}}],
        }))  # fmt: skip
        found = kill(file, store, given.kills, given.seed)
        print(
            f"{found.kills} kills in {time.monotonic() - began:.0f} s: {len(found.acknowledged)} acknowledged, "
            f"{len(found.stored)} stored, {len(found.lost)} lost, {len(found.twice)} twice"
        )
        sys.exit(1 if found.lost or found.twice else 0)


if __name__ == "__main__":
    main()
