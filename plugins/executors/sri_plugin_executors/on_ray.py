"""Workers on a Ray cluster: one actor per accelerator.

Ray's own retries are off. They know no bound: an actor that a shard kills is started again for ever (Ray Data 2.60).
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any

from pydantic import Field, field_validator

import sri_sdk
from sri_plugin_executors.cluster import LOCAL, Cluster, Room, checked_address, ray_package
from sri_plugin_executors.devices import refuse_unseen
from sri_plugin_executors.messages import FAILED, MADE, failure
from sri_plugin_executors.patience import PatientConfig
from sri_sdk import Executor, Shard, ShardLost, ShardResult, WorkerPool

SRI_PLUGIN_API = 1
PENDING = 120.0
"""Seconds without any actor before that is said."""

log = logging.getLogger("sri_sdk.executors")


class RayWorker:
    """What an actor is made of. Ray loads this class by its name, so the package must be installed on every machine."""

    def __init__(self, setup: bytes) -> None:
        """Takes what the worker is made from; the model is loaded for the first shard."""
        self._setup = setup
        self._worker: sri_sdk.Worker | None = None

    def where(self) -> str:
        """Machine and process: an actor that answers this has a place in the cluster."""
        return f"process {os.getpid()} on {socket.gethostname()}"

    def make(self, stage: bytes, prompts: bytes) -> bytes:
        """One shard, or what it raised, as a message; an exception itself might not be known where it arrives."""
        try:
            if self._worker is None:
                self._worker = sri_sdk.Worker(self._setup)
            return MADE + self._worker.make(stage, prompts)
        except Exception as err:
            return failure(err)


class RayExecutor(Executor):
    """Actors on a Ray cluster, with one accelerator each where the cluster has accelerators."""

    class Config(PatientConfig):
        """Options."""

        address: str = Field(
            default=LOCAL,
            description="Which cluster: local = one that is started on this machine and ends with the run; auto = the "
            "one that runs here; or HOST:PORT.",
        )
        workers: int | None = Field(
            default=None,
            ge=1,
            description="Actors; null = as many as the accelerators of the cluster are enough for, or one per machine. "
            "Never more than the cluster has room for.",
        )
        devices: float = Field(default=1, ge=0, description="Accelerators of each actor, where there are any.")
        cpus: float = Field(default=1, ge=0, description="Cores that Ray sets aside for each actor.")

        _address = field_validator("address")(checked_address)

    def __init__(self, config: Any = None) -> None:
        """Takes the options; no cluster is joined yet."""
        super().__init__(config)
        self._cluster = Cluster(self.config.address)

    def session(self) -> AbstractContextManager[None]:
        """The cluster that the first pool joins or starts is that of all others within the block, and ends with it."""
        return self._cluster.kept()

    def check(self, models: Sequence[Mapping[str, Any]]) -> None:
        """Joins a cluster that runs, looks, and leaves it; of one for this run alone, only that Ray is installed.

        Args:
            models: `model.options` of every model that actors will load.

        Raises:
            MissingExtra: Ray is not installed.
            ConfigError: the cluster cannot be reached or has no room for one actor, or a model names an accelerator
                that its actor would not see.
        """
        if not ray_package().is_initialized() and self.config.address == LOCAL:
            return
        with self._cluster.kept():
            room = self._room(self._cluster.joined())
            if room.devices:
                refuse_unseen(models, room.devices)

    def start(self, setup: bytes) -> WorkerPool:
        """Joins the cluster, or starts one.

        Raises:
            MissingExtra: Ray is not installed.
            ConfigError: the cluster cannot be reached, or has no room for one actor.
        """
        with ExitStack() as undo:
            undo.enter_context(self._cluster.kept())
            ray = self._cluster.joined()
            room = self._room(ray)
            remote = ray.remote(num_cpus=self.config.cpus, num_gpus=room.devices, max_restarts=0, max_task_retries=0)
            return _Pool(ray, remote(RayWorker), setup, room.size, self.config, undo.pop_all())

    def _room(self, ray: Any) -> Room:
        options = self.config
        return Room.of(
            ray, options.address, workers=options.workers, devices=options.devices, cpus=options.cpus
        )  # fmt: skip


@dataclass(eq=False)
class _Actor:
    """One worker."""

    handle: Any
    name: str
    since: float
    """When it was started, or given its shard, by `time.monotonic`."""
    answered: bool = False
    """Whether it has a place in the cluster."""
    shard: str | None = None
    """What it is at."""
    result: Any = None
    """Ray's reference to what it will answer next."""


class _Pool(WorkerPool):
    def __init__(
        self, ray: Any, actor: Any, setup: bytes, size: int, patience: PatientConfig, cluster: ExitStack
    ) -> None:  # fmt: skip
        """Takes the class of the actors, and what is closed with the pool."""
        self.size = size
        self._ray, self._actor, self._setup, self._patience, self._cluster = ray, actor, setup, patience, cluster
        self._actors: list[_Actor] = []
        self._waiting: deque[Shard] = deque()
        self._stage: tuple[bytes, Any] | None = None
        self._told = False

    def give(self, shard: Shard) -> None:
        self._waiting.append(shard)
        self._assign()

    def wait(self, seconds: float) -> ShardResult | ShardLost | None:
        self._assign()
        asked = {each.result: each for each in self._actors if each.result is not None}
        if not asked:
            time.sleep(min(seconds, 0.1))
            return None
        if (lost := self._overdue()) is not None:
            return lost
        ready, _ = self._ray.wait(list(asked), num_returns=1, timeout=seconds)
        if not ready:
            self._tell()
            return None
        worker = asked[ready[0]]
        try:
            said = self._ray.get(ready[0])
        except self._ray.exceptions.RayError as err:
            return self._lose(worker, _cause(err))
        worker.result = None
        if not worker.answered:
            worker.answered, worker.name = True, said
            self._assign()
            return None
        if said[:1] == FAILED:
            # What an actor that raised has on its device may be worth nothing.
            return self._lose(worker, said[1:].decode(errors="replace"), raised=True)
        assert worker.shard is not None
        made = ShardResult(worker.shard, said[1:], worker.name, time.monotonic() - worker.since)
        worker.shard = None
        self._assign()
        return made

    def working(self) -> Mapping[str, tuple[str, float]]:
        now = time.monotonic()
        return {each.shard: (each.name, now - each.since) for each in self._actors if each.shard}

    def close(self) -> None:
        self._waiting.clear()
        with self._cluster:
            while self._actors:
                self._ray.kill(self._actors.pop().handle)
            # What all shards of a stage have in common need not stay in the cluster.
            self._stage = None

    def _assign(self) -> None:
        """Gives shards to actors that have answered, and starts others for what is left. Those may stay pending."""
        for worker in self._actors:
            if self._waiting and worker.answered and worker.shard is None:
                shard = self._waiting.popleft()
                if self._stage is None or self._stage[0] is not shard.stage:
                    self._stage = shard.stage, self._ray.put(shard.stage)
                worker.shard, worker.since = shard.name, time.monotonic()
                worker.result = worker.handle.make.remote(self._stage[1], shard.prompts)
        pending = sum(not each.answered for each in self._actors)
        for _ in range(min(self.size - len(self._actors), len(self._waiting) - pending)):
            handle = self._actor.remote(self._setup)
            started = _Actor(handle, f"actor {handle._actor_id.hex()}", time.monotonic())
            started.result = handle.where.remote()
            self._actors.append(started)

    def _lose(self, worker: _Actor, cause: str, *, raised: bool = False) -> ShardLost | None:
        """Ends an actor. One that never had a place costs the next shard a try, so that a bound is kept."""
        self._ray.kill(worker.handle)
        self._actors.remove(worker)
        shard = worker.shard
        if shard is None and self._waiting:
            shard = self._waiting.popleft().name
        return None if shard is None else ShardLost(shard, worker.name, cause, raised=raised)

    def _overdue(self) -> ShardLost | None:
        """Ends an actor that is at its shard, or is waited for with no other there, for longer than it may be."""
        none_there = not any(each.answered for each in self._actors)
        for worker in list(self._actors):
            if not (worker.shard or none_there):
                continue
            why = self._patience.over(worker.since, "no answer" if worker.shard else "no place for it in the cluster")
            if why is not None and not self._ray.wait([worker.result], num_returns=1, timeout=0)[0]:
                return self._lose(worker, why)
        return None

    def _tell(self) -> None:
        """Says once that no actor has a place in the cluster, as when others keep it busy."""
        now = time.monotonic()
        if not self._told and all(not each.answered and now - each.since > PENDING for each in self._actors):
            self._told = True
            log.warning(
                "ray: no actor was given a place for %.0f s. Is the cluster busy with other work (`ray status`)? The "
                "run waits; --patience SECONDS ends that.", PENDING,
            )  # fmt: skip


def _cause(err: Exception) -> str:
    """Why an actor is gone, in one line. Ray's own words are a page."""
    cause = getattr(err, "cause", None)
    if isinstance(cause, Exception):
        return f"{type(cause).__name__}: {cause}"
    lines = [line.strip() for line in str(err).splitlines() if line.strip()]
    return f"{type(err).__name__}: {lines[-1][:300] if lines else 'no reason given'}"
