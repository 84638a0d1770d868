"""Workers on a Ray cluster: one actor per accelerator.

Ray's own retries are off. They know no bound: an actor that a shard kills is started again for ever (Ray Data 2.60).
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import Field

import sri_sdk
from sri_plugin_executors.devices import refuse_unseen
from sri_plugin_executors.messages import FAILED, MADE, failure
from sri_sdk import Executor, Shard, ShardLost, ShardResult, WorkerPool
from sri_sdk.errors import ConfigError, MissingExtra

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
            description="Actors; null = as many as the accelerators of the cluster are enough for, or one per machine. "
            "Never more than the cluster has room for.",
        )
        devices: float = Field(default=1, ge=0, description="Accelerators of each actor, where there are any.")
        cpus: float = Field(default=1, ge=0, description="Cores that Ray sets aside for each actor.")
        patience: float | None = Field(
            default=None,
            gt=0,
            description="Seconds that an actor may be at one batch, the loading of its model included, or be waited "
            "for while there is no other; then it is killed, and another is started. null = for ever.",
        )

    def check(self, models: Sequence[Mapping[str, Any]]) -> None:
        """Joins a cluster that runs, looks, and leaves it; of one for this run alone, only that Ray is installed.

        Args:
            models: `model.options` of every model that actors will load.

        Raises:
            MissingExtra: Ray is not installed.
            ConfigError: the cluster cannot be reached or has no room for one actor, or a model names an accelerator
                that its actor would not see.
        """
        ray = _ray()
        if self.config.address == "local" and not ray.is_initialized():
            return
        with self._joined(ray) as ours:
            room = _Room.of(ray, self.config)
            if room.devices:
                refuse_unseen(models, room.devices)
            if ours:
                ray.shutdown()

    def start(self, setup: bytes) -> WorkerPool:
        """Joins the cluster, or starts one.

        Raises:
            MissingExtra: Ray is not installed.
            ConfigError: the cluster cannot be reached, or has no room for one actor.
        """
        ray = _ray()
        with self._joined(ray) as ours:
            room = _Room.of(ray, self.config)
            remote = ray.remote(num_cpus=self.config.cpus, num_gpus=room.devices, max_restarts=0, max_task_retries=0)
            return _Pool(ray, remote(RayWorker), setup, room.size, ours=ours, patience=self.config.patience)

    @contextmanager
    def _joined(self, ray: Any) -> Iterator[bool]:
        """Joins the cluster unless this process has; True = it had not. Left again if the block raises."""
        address, ours = self.config.address, not ray.is_initialized()
        if ours:
            try:
                ray.init(
                    address=address, include_dashboard=False if address == "local" else None, log_to_driver=False,
                    logging_level="ERROR",
                )  # fmt: skip
            except (ConnectionError, ValueError, RuntimeError) as err:
                raise ConfigError(
                    f"ray: the cluster {address!r} cannot be reached ({err}). Start one with `ray start --head`, or "
                    "let --ray local start one for this run."
                ) from err
        try:
            yield ours
        except BaseException:
            if ours:
                ray.shutdown()
            raise


def _ray() -> Any:
    """The package."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as err:
        raise MissingExtra("Workers on a Ray cluster", extra="scale") from err
    return ray


@dataclass(frozen=True, slots=True)
class _Room:
    """What a cluster is enough for."""

    size: int
    """Actors."""
    devices: float
    """Accelerators of each."""

    @classmethod
    def of(cls, ray: Any, options: RayExecutor.Config) -> _Room:
        """Looks at every machine: an actor lies on one of them whole."""
        machines = [node.get("Resources", {}) for node in ray.nodes() if node["Alive"]]
        cores = [float(each.get("CPU", 0)) for each in machines]
        accelerators = [float(each.get("GPU", 0)) for each in machines]
        devices = options.devices if sum(accelerators) else 0.0
        there = f"{sum(cores):g} cores and {sum(accelerators):g} accelerators on {len(machines)} machines"
        needs = f"{options.cpus:g} and {devices:g}"
        by_device = [_times(each, devices) for each in accelerators]
        room = sum(min(pair) for pair in zip(by_device, (_times(each, options.cpus) for each in cores), strict=True))
        if not room:
            raise ConfigError(f"ray: the cluster {options.address!r} has {there}; one actor needs {needs}, on one.")
        wanted = options.workers or (sum(by_device) if devices else len(machines))
        if wanted > room:
            log.warning(
                "ray: %d workers %s, and the cluster %r has room for %d: it has %s, and one actor needs %s. %d are "
                "started.", wanted, "were asked for" if options.workers else "would have an accelerator each",
                options.address, room, there, needs, room,
            )  # fmt: skip
        return cls(min(wanted, room), devices)


def _times(there: float, each: float) -> int:
    """How often an amount fits; nothing fits as often as anybody could want."""
    # Ten tenths of a core are one.
    return int(there / each + 1e-9) if each else 1_000_000


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
        self, ray: Any, actor: Any, setup: bytes, size: int, *, ours: bool, patience: float | None = None
    ) -> None:  # fmt: skip
        """Takes the class of the actors, and whether the connection to the cluster ends with the pool."""
        self.size = size
        self._ray, self._actor, self._setup, self._ours, self._patience = ray, actor, setup, ours, patience
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
        for each in self._actors:
            self._ray.kill(each.handle)
        self._actors.clear()
        if self._ours and self._ray.is_initialized():
            self._ray.shutdown()

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
            seconds = time.monotonic() - worker.since
            if self._patience is None or seconds <= self._patience or not (worker.shard or none_there):
                continue
            if self._ray.wait([worker.result], num_returns=1, timeout=0)[0]:
                continue
            what = "no answer" if worker.shard else "no place for it in the cluster"
            return self._lose(worker, f"{what} for {seconds:.0f} s, so it was ended")
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
