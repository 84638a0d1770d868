"""Extension point `sri.executors`: processes that generate, on this machine or on others. Shards in, results out.

A shard is a batch of prompts. Which prompts it has is decided before any is given away, and a result depends on the
shard alone, so neither the number of workers nor who makes what shows in it. An executor starts workers, hands them
bytes and hands back bytes. What is made again, how often, and where results are kept is the SDK's business.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from sri_sdk.plugin import Plugin


@dataclass(frozen=True, slots=True)
class Shard:
    """One piece of work: what `sri_sdk.Worker.make` is called with."""

    name: str
    """For people, and unique among the shards of a pool: `prompts 12 to 23 of 'calibration'`."""
    stage: bytes = b""
    """What all shards of a stage have in common. The same object for all of them, so that it is sent once."""
    prompts: bytes = b""
    """Its prompts."""


@dataclass(frozen=True, slots=True)
class ShardResult:
    """A worker has made a shard."""

    shard: str
    """Its name."""
    content: bytes
    """What `sri_sdk.Worker.make` returned."""
    worker: str
    """Where: a name that tells a person which machine and process."""
    seconds: float = 0.0
    """From when the worker was given it to its answer, the loading of its model included; 0 = not known."""


@dataclass(frozen=True, slots=True)
class ShardLost:
    """A worker ended, or raised, over a shard."""

    shard: str
    """Its name."""
    worker: str
    """As in `ShardResult`."""
    cause: str
    """Why, as far as it is known: an exit code, a signal, an exception with the last lines of its traceback."""
    raised: bool = False
    """Whether the worker's own code raised. The same again over the same shard ends the run."""


class WorkerPool(ABC):
    """The workers of one run. Each has a model of its own and makes one shard at a time."""

    size: int
    """How many workers there are."""

    @abstractmethod
    def give(self, shard: Shard) -> None:
        """Takes a shard. More may be given than there are workers: they wait, and are made in the order given."""

    @abstractmethod
    def wait(self, seconds: float) -> ShardResult | ShardLost | None:
        """The next thing that happened; None = nothing did within that time.

        Every given shard is answered by one `ShardResult` or `ShardLost`, in any order. A lost worker is replaced by a
        new one when there is a shard for it. A worker that raised is ended as well: what it has on a device may be
        worth nothing.
        """

    def working(self) -> Mapping[str, tuple[str, float]]:
        """What workers are at: worker and seconds so far by name of the shard; empty = not known.

        The SDK warns of one that takes much longer than the others did. Ending it is the executor's business.
        """
        return {}

    @abstractmethod
    def close(self) -> None:
        """Ends all workers, whatever they are at, and returns when they have ended. May be called twice."""


class Executor(Plugin):
    """Starts workers."""

    def check(self, models: Sequence[Mapping[str, Any]]) -> None:
        """Refuses what could not start, before anything slow such as loading a model. Starts nothing that stays.

        Args:
            models: `model.options` of every model that workers will load.

        Raises:
            MissingExtra: a package is not installed.
            ConfigError: there is nowhere to start workers, or no room for one, or a model would not fit in there.
        """

    def session(self) -> AbstractContextManager[None]:
        """What the pools that are started within the block share, such as a cluster, is made once, and ends with it.

        An evaluation has a pool for each of its models, one after the other. Without a session, a pool brings what it
        needs, and ends it.
        """
        return nullcontext()

    @abstractmethod
    def start(self, setup: bytes) -> WorkerPool:
        """Starts workers, each with `sri_sdk.Worker(setup)`.

        Args:
            setup: what a worker is made from: a JSON object, and small, since a worker loads its model itself. Of its
                keys an executor may read `threads`, the number of torch's threads in each worker.

        Raises:
            ConfigError: there is nowhere to start them.
        """
