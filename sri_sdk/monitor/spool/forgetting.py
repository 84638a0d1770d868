"""What waits in a spool for a sink that nobody names any more, and how it is dropped."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sri_sdk.errors import ConfigError, did_you_mean
from sri_sdk.files import claimed
from sri_sdk.monitor.spool import disk


@dataclass(frozen=True, slots=True)
class Leftover:
    """What waits for one sink."""

    file: Path
    sink: str
    count: int
    """Observations."""
    size: int
    """Bytes."""
    alone: int
    """Of them, those that wait for no other sink: nobody gets them once they are dropped."""

    def drop(self) -> None:
        """Drops all of it, and the name; call it while the spool is claimed.

        Raises:
            sqlite3.Error: nothing was dropped.
        """
        with closing(disk.connect(self.file)) as connection:
            disk.forget(connection, self.sink)


@contextmanager
def leftover(file: Path, sink: str, named: Collection[str]) -> Iterator[Leftover]:
    """What waits for a sink, with the spool claimed for as long as the block lasts.

    Args:
        file: of the spool.
        sink: as the file has it.
        named: sinks that are in use, which are not for dropping.

    Raises:
        ConfigError: a monitor has the spool, the sink is in use, or the spool does not know it.
    """
    if sink in named:
        raise ConfigError(
            f"sink {sink}: the monitor's file names it, and its observations are delivered. Take it out of `sinks` "
            "first, if they are to be dropped."
        )
    if not file.exists():
        raise ConfigError(f"spool: {file}: there is none, so nothing waits.")
    with claimed(file) as free:
        if not free:
            raise ConfigError(f"spool: {file} is in use by a monitor. End it first: it keeps count of what waits.")
        left = disk.prepare(file, ())
        if sink not in left:
            others = sorted(left.keys() - set(named))
            raise ConfigError(
                f"spool: {file}: nothing waits for a sink {sink}; sinks that are not named any more: "
                f"{', '.join(others) or 'none'}.{did_you_mean(sink, others)}"
            )
        with closing(disk.connect(file)) as connection:
            alone = disk.due_to_nobody_else(connection, left[sink].number)
        yield Leftover(file, sink, left[sink].count, left[sink].size, alone)
