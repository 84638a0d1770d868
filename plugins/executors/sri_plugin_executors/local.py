"""Worker processes on this machine."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from pydantic import Field

from sri_plugin_executors.devices import refuse_unseen, visible
from sri_plugin_executors.messages import FAILED, PROMPTS, STAGE
from sri_plugin_executors.patience import PatientConfig
from sri_sdk import Executor, Shard, ShardLost, ShardResult, WorkerPool
from sri_sdk.errors import ConfigError

SRI_PLUGIN_API = 1
MOST_PER_CORE = 16
"""Processes for each core, beyond which memory would be all that they take."""
TO_END = 10.0
"""Seconds that a process gets to end before it is killed."""

log = logging.getLogger("sri_sdk.executors")


class LocalExecutor(Executor):
    """Processes on this machine, with one accelerator each where there are accelerators."""

    class Config(PatientConfig):
        """Options."""

        workers: int = Field(default=1, ge=1, le=1024, description="Processes; each has a model of its own.")
        devices: int = Field(
            default=1, ge=0, description="Accelerators that each process sees; 0 = all that this one sees."
        )

    def check(self, models: Sequence[Mapping[str, Any]]) -> None:
        """Refuses what the processes could not do; starts none.

        Args:
            models: `model.options` of every model that they will load.

        Raises:
            ConfigError: far more processes than cores; a process is to see more accelerators than there are; a model
                names one that its process would not see; or processes cannot be handed a socket on this system.
        """
        if not hasattr(os, "fork"):
            raise ConfigError(
                "workers: processes are handed a socket, which this system cannot do. Leave --workers out."
            )
        if self.config.workers > MOST_PER_CORE * (cores := _cores()):
            raise ConfigError(
                f"workers: found {self.config.workers}; this process may use {cores} cores; allowed: at most "
                f"{MOST_PER_CORE * cores}, {MOST_PER_CORE} for each, each with a model of its own in memory. "
                f"Give --workers {cores}, or fewer."
            )
        if _shares(self.config.workers, self.config.devices)[0] is not None:
            refuse_unseen(models, self.config.devices)

    def start(self, setup: bytes) -> WorkerPool:
        """Starts no process yet: each starts with its first shard.

        Raises:
            ConfigError: as `check`, which the SDK has called with the models.
        """
        self.check(())
        shares = _shares(self.config.workers, self.config.devices)
        _warn_of_sharing(shares)
        _warn_of_turns(shares)
        return _Pool(setup, shares, self.config)


@dataclass(eq=False)
class _Process:
    """One worker."""

    process: subprocess.Popen[bytes]
    connection: Connection
    stage: bytes | None = None
    shard: str | None = None
    """What it is at."""
    since: float = 0.0
    """When it was given that, by `time.monotonic`."""

    @property
    def name(self) -> str:
        return f"process {self.process.pid} on {socket.gethostname()}"

    def give(self, shard: Shard) -> None:
        """Sends a shard. A process that is gone shows when it is read from."""
        self.shard, self.since = shard.name, time.monotonic()
        with contextlib.suppress(OSError):
            if self.stage is not shard.stage:
                self.connection.send_bytes(STAGE + shard.stage)
                self.stage = shard.stage
            self.connection.send_bytes(PROMPTS + shard.prompts)

    def end(self) -> None:
        """Ends it, whatever it is at."""
        self.connection.close()
        self.process.terminate()
        try:
            self.process.wait(TO_END)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class _Pool(WorkerPool):
    def __init__(self, setup: bytes, shares: Sequence[str | None], patience: PatientConfig) -> None:
        """Takes the accelerators of each process, as `CUDA_VISIBLE_DEVICES` has them; None = as in this one."""
        self.size = len(shares)
        self._setup, self._shares, self._patience = setup, shares, patience
        self._slots: list[_Process | None] = [None] * self.size
        self._waiting: deque[Shard] = deque()

    def give(self, shard: Shard) -> None:
        self._waiting.append(shard)
        self._assign()

    def wait(self, seconds: float) -> ShardResult | ShardLost | None:
        self._assign()
        busy = {each.connection: at for at, each in enumerate(self._slots) if each is not None and each.shard}
        if not busy:
            time.sleep(min(seconds, 0.1))
            return None
        if (lost := self._overdue()) is not None:
            return lost
        for connection in wait(list(busy), seconds):
            assert isinstance(connection, Connection)
            return self._heard(busy[connection])
        return None

    def working(self) -> Mapping[str, tuple[str, float]]:
        now = time.monotonic()
        return {
            each.shard: (each.name, now - each.since) for each in self._slots if each is not None and each.shard
        }  # fmt: skip

    def close(self) -> None:
        self._waiting.clear()
        for each in self._slots:
            if each is not None:
                each.end()
        self._slots = [None] * self.size

    def _assign(self) -> None:
        for at in range(self.size):
            if not self._waiting:
                return
            worker = self._slots[at]
            if worker is None:
                worker = self._slots[at] = _started(self._setup, self._shares[at])
            if worker.shard is None:
                worker.give(self._waiting.popleft())

    def _overdue(self) -> ShardLost | None:
        """Ends a worker that is at its shard for longer than it may be."""
        for at, worker in enumerate(self._slots):
            if worker is None or worker.shard is None:
                continue
            if (why := self._patience.over(worker.since)) is not None and not worker.connection.poll():
                self._slots[at] = None
                worker.end()
                return ShardLost(worker.shard, worker.name, why)
        return None

    def _heard(self, at: int) -> ShardResult | ShardLost:
        worker = self._slots[at]
        assert worker is not None and worker.shard is not None
        shard, worker.shard = worker.shard, None
        try:
            said = worker.connection.recv_bytes()
        except (EOFError, OSError):
            said = b""
        if said[:1] not in (b"", FAILED):
            result = ShardResult(shard, said[1:], worker.name, time.monotonic() - worker.since)
        else:
            self._slots[at] = None
            cause = said[1:].decode(errors="replace") or _cause(worker.process)
            worker.end()
            return ShardLost(shard, worker.name, cause, raised=said[:1] == FAILED)
        self._assign()
        return result


def _started(setup: bytes, visible: str | None) -> _Process:
    """A new process, and the socket that leads to it."""
    ours, theirs = socket.socketpair()
    around = dict(os.environ)
    if visible is not None:
        around["CUDA_VISIBLE_DEVICES"] = visible
    with theirs:
        number = theirs.fileno()
        # What it prints goes to stderr: this process's stdout is for results.
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "sri_plugin_executors.process", str(number)], pass_fds=[number], env=around,
            stdin=subprocess.DEVNULL, stdout=2,
        )  # fmt: skip
    connection = Connection(ours.detach())
    with contextlib.suppress(OSError):
        connection.send_bytes(setup)
    return _Process(process, connection)


def _cause(process: subprocess.Popen[bytes]) -> str:
    """Why a process is gone."""
    try:
        code = process.wait(TO_END)
    except subprocess.TimeoutExpired:
        return "it closed its socket"
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"ended by signal {-code}"


def _shares(workers: int, each: int) -> list[str | None]:
    """The accelerators of every process, dealt from the last one on; None = as in this one.

    The command's own model is on the first, so that one is dealt last.

    Raises:
        ConfigError: a process is to see more than there are.
    """
    found = visible() if each else []
    if not found:
        return [None] * workers
    count = len(found)
    if each > count:
        raise ConfigError(f"workers: {each} accelerators for each process; there are {count}.")
    return [",".join(found[((-at - 1) * each + k) % count] for k in range(each)) for at in range(workers)]


def _warn_of_sharing(shares: Sequence[str | None]) -> None:
    """Says which accelerators have more than one model."""
    models = Counter(name for share in shares if share is not None for name in share.split(","))
    found = visible() if models else []
    # This process's own.
    models.update(found[:1])
    if shared := [f"{name} ({models[name]} models)" for name in found if models[name] > 1]:
        log.warning(
            "workers: accelerators with more than one model: %s. On the first one is that of this command, if the "
            "config puts it on an accelerator. Fewer --workers share less.", ", ".join(shared),
        )  # fmt: skip


def _warn_of_turns(shares: Sequence[str | None]) -> None:
    """Says that processes without accelerators have more threads than there are cores."""
    import torch

    threads, cores, count = torch.get_num_threads(), _cores(), len(shares)
    if shares[0] is None and count * threads > cores:
        log.warning(
            "workers: %d with %d threads each take turns on %d cores, which is slow. OMP_NUM_THREADS=%d before the "
            "command, or fewer --workers, would suit; with another number of threads the last bits of results may "
            "differ.", count, threads, cores, max(1, cores // count),
        )  # fmt: skip


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
