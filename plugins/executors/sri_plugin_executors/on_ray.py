"""Workers on a Ray cluster: one actor per accelerator.

Ray's own retries are off. They know no bound: an actor that a shard kills is started again for ever (Ray Data 2.60).
"""

from __future__ import annotations

import os
import socket
from collections import deque
from dataclasses import dataclass
from typing import Any

from pydantic import Field

import sri_sdk
from sri_sdk import Executor, Shard, ShardLost, ShardResult, WorkerPool
from sri_sdk.errors import ConfigError, MissingExtra

SRI_PLUGIN_API = 1


class RayWorker:
    """What an actor is made of. Ray loads this class by its name, so the package must be installed on every machine."""

    def __init__(self, setup: bytes) -> None:
        """Takes what the worker is made from; the model is loaded for the first shard."""
        from sri_sdk import Worker

        self._worker = Worker(setup)

    def make(self, stage: bytes, prompts: bytes) -> tuple[bytes, str]:
        """One shard, and where it was made."""
        return self._worker.make(stage, prompts), f"process {os.getpid()} on {socket.gethostname()}"


class RayExecutor(Executor):
    """Actors on a Ray cluster, with one accelerator each where the cluster has accelerators."""

    class Config(sri_sdk.Config):
        """Options."""

        address: str = Field(
            default="local",
            min_length=1,
            description="Which cluster: local = one that is started on this machine and ends with the run; auto = the "
            "one that runs here; or HOST:PORT.",
        )
        workers: int | None = Field(
            default=None,
            ge=1,
            description="Actors; null = as many as the accelerators of the cluster are enough for, or one per machine.",
        )
        devices: float = Field(default=1, ge=0, description="Accelerators of each actor, where there are any.")
        cpus: float = Field(default=1, ge=0, description="Cores that Ray sets aside for each actor.")

    def start(self, setup: bytes) -> WorkerPool:
        """Joins the cluster, or starts one.

        Raises:
            MissingExtra: Ray is not installed.
            ConfigError: the cluster cannot be reached, or has no room for one actor.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError as err:
            raise MissingExtra("Workers on a Ray cluster", extra="scale") from err
        options, ours = self.config, not ray.is_initialized()
        if ours:
            try:
                ray.init(
                    address=options.address, include_dashboard=False if options.address == "local" else None,
                    log_to_driver=False, logging_level="ERROR",
                )  # fmt: skip
            except (ConnectionError, ValueError, RuntimeError) as err:
                raise ConfigError(
                    f"ray: the cluster {options.address!r} cannot be reached ({err}). Start one with `ray start "
                    "--head`, or let --ray local start one for this run."
                ) from err
        try:
            return _pool(ray, setup, options, ours=ours)
        except BaseException:
            if ours:
                ray.shutdown()
            raise


def _pool(ray: Any, setup: bytes, options: RayExecutor.Config, *, ours: bool) -> WorkerPool:
    """The pool of a cluster that this process has joined."""
    there = ray.cluster_resources()
    devices = options.devices if there.get("GPU", 0) else 0.0
    if there.get("GPU", 0) < devices or there.get("CPU", 0) < options.cpus:
        raise ConfigError(
            f"ray: the cluster {options.address!r} has {there.get('CPU', 0):g} cores and {there.get('GPU', 0):g} "
            f"accelerators; one actor needs {options.cpus:g} and {devices:g}."
        )
    machines = sum(bool(node["Alive"]) for node in ray.nodes())
    size = options.workers or (int(there["GPU"] // devices) if devices else machines)
    actor = ray.remote(num_cpus=options.cpus, num_gpus=devices, max_restarts=0, max_task_retries=0)(RayWorker)
    return _Pool(ray, actor, setup, size, ours=ours)


@dataclass(eq=False)
class _Actor:
    """One worker."""

    handle: Any
    name: str
    shard: str | None = None
    """What it is at."""


class _Pool(WorkerPool):
    def __init__(self, ray: Any, actor: Any, setup: bytes, size: int, *, ours: bool) -> None:
        """Takes the class of the actors, and whether the connection to the cluster ends with the pool."""
        self.size = size
        self._ray, self._actor, self._setup, self._ours = ray, actor, setup, ours
        self._slots: list[_Actor | None] = [None] * size
        self._waiting: deque[Shard] = deque()
        self._results: dict[Any, int] = {}
        self._stage: tuple[bytes, Any] | None = None

    def give(self, shard: Shard) -> None:
        self._waiting.append(shard)
        self._assign()

    def wait(self, seconds: float) -> ShardResult | ShardLost | None:
        self._assign()
        ready, _ = self._ray.wait(list(self._results), num_returns=1, timeout=seconds) if self._results else ([], [])
        if not ready:
            return None
        at = self._results.pop(ready[0])
        worker = self._slots[at]
        assert worker is not None and worker.shard is not None
        shard, worker.shard = worker.shard, None
        try:
            content, worker.name = self._ray.get(ready[0])
        except self._ray.exceptions.RayError as err:
            # What an actor that raised has on its device may be worth nothing.
            self._ray.kill(worker.handle)
            self._slots[at] = None
            return ShardLost(shard, worker.name, _cause(err))
        self._assign()
        return ShardResult(shard, content, worker.name)

    def close(self) -> None:
        self._waiting.clear()
        self._results.clear()
        for each in self._slots:
            if each is not None:
                self._ray.kill(each.handle)
        self._slots = [None] * self.size
        if self._ours and self._ray.is_initialized():
            self._ray.shutdown()

    def _assign(self) -> None:
        for at in range(self.size):
            if not self._waiting:
                return
            worker = self._slots[at]
            if worker is None:
                handle = self._actor.remote(self._setup)
                worker = self._slots[at] = _Actor(handle, f"actor {handle._actor_id.hex()}")
            if worker.shard is None:
                shard = self._waiting.popleft()
                if self._stage is None or self._stage[0] is not shard.stage:
                    self._stage = shard.stage, self._ray.put(shard.stage)
                self._results[worker.handle.make.remote(self._stage[1], shard.prompts)] = at
                worker.shard = shard.name


def _cause(err: Exception) -> str:
    """Why an actor is gone, in one line. Ray's own words are a page."""
    cause = getattr(err, "cause", None)
    if isinstance(cause, Exception):
        return f"{type(cause).__name__}: {cause}"
    lines = [line.strip() for line in str(err).splitlines() if line.strip()]
    return f"{type(err).__name__}: {lines[-1][:300] if lines else 'no reason given'}"
