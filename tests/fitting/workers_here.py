"""Workers in this process, for tests of what deals to them: they answer in another order, twice, or not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from sri_sdk import Executor, Shard, ShardLost, ShardResult, Worker, WorkerPool
from sri_sdk.fitting.dispatch import TRIES

CAUSE = "ended by SIGKILL"


class Here(WorkerPool):
    """Two workers in this process that wait with every answer as long as they may."""

    size = 2

    def __init__(self, setup: bytes) -> None:
        self._worker = Worker(setup)
        self.given: list[str] = []
        self.out: list[Shard] = []

    def give(self, shard: Shard) -> None:
        self.given.append(shard.name)
        self.out.append(shard)

    def wait(self, seconds: float) -> ShardResult | ShardLost | None:
        return self.made(self.out.pop(0)) if self.out else None

    def made(self, shard: Shard) -> ShardResult:
        return ShardResult(shard.name, self._worker.make(shard.stage, shard.prompts), "here")

    def close(self) -> None:
        self.out.clear()


class Backwards(Here):
    """The last shard that was given is the first to be made."""

    def wait(self, seconds: float) -> ShardResult | ShardLost | None:
        return self.made(self.out.pop()) if self.out else None


class Twice(Here):
    """Every answer comes again, behind the next one."""

    def wait(self, seconds: float) -> ShardResult | ShardLost | None:
        if not self.out:
            return None
        shard = self.out.pop(0)
        if self.given.count(shard.name) == 1:
            self.given.append(shard.name)
            self.out.insert(1, shard)
        return self.made(shard)


class Losing(Here):
    """Ends over each shard as often as is survived."""

    times = TRIES - 1

    def wait(self, seconds: float) -> ShardResult | ShardLost | None:
        if not self.out:
            return None
        shard = self.out.pop(0)
        return ShardLost(shard.name, "worker 7", CAUSE) if self.dies(shard) else self.made(shard)

    def dies(self, shard: Shard) -> bool:
        return Counter(self.given)[shard.name] <= self.times


class Garbling(Losing):
    """What arrives first is damaged."""

    def wait(self, seconds: float) -> ShardResult | ShardLost | None:
        found = super().wait(seconds)
        return ShardResult(found.shard, b"\x00" * 9, "worker 7") if isinstance(found, ShardLost) else found


class Poisoned(Losing):
    """One shard kills whoever makes it."""

    def dies(self, shard: Shard) -> bool:
        return shard.name.startswith("prompts 4 to 7 of 'train'")


class ExecutorHere(Executor):
    """Two workers in this process that answer backwards."""

    def __init__(self) -> None:
        super().__init__()
        self.pools: list[Here] = []
        self.events: list[str] = []
        """Beginnings and ends, in order."""

    @contextmanager
    def session(self) -> Iterator[None]:
        self.events.append("session")
        try:
            yield
        finally:
            self.events.append("end")

    def start(self, setup: bytes) -> WorkerPool:
        self.events.append("pool")
        self.pools.append(Backwards(setup))
        return self.pools[-1]
