"""Deals the batches of a stage to workers, and keeps what comes back where this process would have kept its own.

Batches are cut before any is dealt and are made from their prompts alone, so results are equal bit for bit to those of
this process, whoever makes what and in whatever order. What lies in the store is dealt to nobody.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sri_sdk import errors
from sri_sdk._version import __version__
from sri_sdk.errors import ConfigError, GenerationAborted, MissingExtra, ModelMismatch, SriError, WorkerLost
from sri_sdk.executor import Executor, Shard, ShardLost, ShardResult, WorkerPool
from sri_sdk.fitting.batches import Batches, batch_name
from sri_sdk.fitting.deployment import Deployment
from sri_sdk.fitting.packed import Batch, pack, unpack
from sri_sdk.fitting.tasks import Task
from sri_sdk.records import Prompt
from sri_sdk.strict_json import write

TRIES = 3
"""Workers that may be lost over one batch; the last loss ends the run. As often may its file not be readable."""
SLOW, SLOW_SECONDS = 5, 300.0
"""A worker is slow after so many times the longest batch so far, and at least so many seconds."""
REFUSED = "refused"
"""Note of a batch that could not be made: an error which every worker would find."""
_LOOK = 1.0
"""Seconds between two looks at whether somebody interrupts."""

log = logging.getLogger("sri_sdk.fitting")

Results = Iterator[tuple[tuple[Prompt, ...], Batch]]


def setup_of(deployment: Deployment) -> bytes:
    """What a worker is made from, as JSON: the config, and what must be equal to this process."""
    import torch

    return write({
        "version": __version__,
        "config": deployment.config.model_dump(mode="json"),
        "fingerprint": deployment.fingerprint.to_dict(),
        # With another number of threads the last bits of a state may differ.
        "threads": torch.get_num_threads(),
        "folder": str(Path.cwd()),
    }).encode()  # fmt: skip


@contextmanager
def workers_of(executor: Executor | None, deployment: Deployment) -> Iterator[Dispatcher | None]:
    """A dispatcher with workers that end with the block, however it ends; None = there is no executor."""
    if executor is None:
        yield None
        return
    import torch

    pool = executor.start(setup_of(deployment))
    try:
        log.info(
            "workers: %d; threads of torch in each, as in this process: %d (OMP_NUM_THREADS sets that)", pool.size,
            torch.get_num_threads(),
        )  # fmt: skip
        yield Dispatcher(pool)
    finally:
        pool.close()


class Dispatcher:
    """Deals batches to the workers of a run."""

    def __init__(self, pool: WorkerPool) -> None:
        """Takes workers that somebody else ends."""
        self._pool, self._ready, self._pace = pool, False, _Pace()

    def results(self, stage: str, work: Batches, task: Task, progress: Callable[[int, int], None]) -> Results:
        """Every batch with its prompts, in order, as soon as it is there.

        Args:
            stage: name of the stage, for people.
            work: its batches, and where they are kept.
            task: makes one of them.
            progress: called with prompts done and prompts in all.

        Raises:
            WorkerLost: workers were lost over one batch too often.
            SriError: what the task raises.
        """

        def advance(done: int, total: int) -> None:
            if done and not self._ready:
                # Until now a model was loaded: that is not the pace of what follows.
                progress(0, total)
                self._ready = True
            progress(done, total)

        run = _StageRun(self._pool, stage, work, task, advance, self._pace)
        try:
            for start in work.starts:
                yield work.prompts_at(start), run.wanted(start)
        finally:
            run.drop()


class _Pace:
    """How long batches take in this run, and who is told of one that takes much longer."""

    def __init__(self) -> None:
        self._longest = 0.0
        self._told: set[tuple[str, str]] = set()

    def made(self, seconds: float) -> None:
        self._longest = max(self._longest, seconds)

    def look(self, working: Mapping[str, tuple[str, float]]) -> None:
        """Warns once of each worker that is slow over a shard. Whether it hangs, nobody can tell from here."""
        for shard, (worker, seconds) in working.items():
            if seconds < max(SLOW_SECONDS, SLOW * self._longest) or (shard, worker) in self._told:
                continue
            self._told.add((shard, worker))
            log.warning(
                "%s: worker %s has been at it for %.0f s; the longest batch so far took %.0f s. If it hangs, end that "
                "process, and another worker makes the batch; --patience SECONDS does that by itself.", shard, worker,
                seconds, self._longest,
            )  # fmt: skip


class _StageRun:
    """One stage: what is still to be dealt, what is out, and what is there."""

    def __init__(
        self, pool: WorkerPool, stage: str, work: Batches, task: Task, progress: Callable[[int, int], None],
        pace: _Pace,
    ) -> None:  # fmt: skip
        arrays, notes = task.state()
        self._content = pack(arrays, {"task": task.name, "state": notes})
        self._pool, self._stage, self._work, self._progress = pool, stage, work, progress
        self._pace = pace
        self._queue = deque(work.starts)
        self._out: dict[str, int] = {}
        self._claims: dict[int, ExitStack] = {}
        self._elsewhere: set[int] = set()
        self._there: set[int] = set()
        self._damaged: set[int] = set()
        self._lost: Counter[int] = Counter()
        self._unread: Counter[int] = Counter()
        self._raised: dict[int, str] = {}
        progress(0, len(work.prompts))

    def wanted(self, start: int) -> Batch:
        """One batch, arrays [...] by name and notes, as soon as it is there."""
        while True:
            self._deal()
            if start in self._there:
                if (found := self._work.store.load(batch_name(start))) is not None:
                    return found
                self._unread[start] += 1
                if self._unread[start] >= TRIES:
                    raise SriError(
                        f"{self._name(start)}: its file in {self._work.store.folder} could not be read {TRIES} times, "
                        "although it was written again. Check that disk: is it full, or damaged? Then start again; "
                        "the other batches are kept."
                    )
                self._there.discard(start)
                self._damaged.add(start)
                self._queue.appendleft(start)
            elif self._out:
                self._take()
            elif start in self._elsewhere:
                with self._work.store.alone(batch_name(start)):
                    self._elsewhere.discard(start)
                    self._queue.appendleft(start)

    def drop(self) -> None:
        """Forgets what is out; another process may make it."""
        self._out.clear()
        for claim in self._claims.values():
            claim.close()
        self._claims.clear()

    def _deal(self) -> None:
        """Gives away as much as keeps every worker busy, leaving out what is there or made by another process."""
        while self._queue and len(self._out) < 2 * self._pool.size:
            start = self._queue.popleft()
            if start not in self._claims:
                claim = ExitStack()
                if not claim.enter_context(self._work.store.claim(batch_name(start))):
                    self._elsewhere.add(start)
                    continue
                if self._work.store.has(batch_name(start)) and start not in self._damaged:
                    claim.close()
                    self._arrived(start)
                    continue
                self._claims[start] = claim
            self._out[self._name(start)] = start
            prompts = [asdict(prompt) for prompt in self._work.prompts_at(start)]
            self._pool.give(Shard(self._name(start), self._content, write(prompts).encode()))

    def _take(self) -> None:
        """Waits for the next thing that happens."""
        event = self._pool.wait(_LOOK)
        if isinstance(event, ShardResult):
            self._pace.made(event.seconds)
        self._pace.look(self._pool.working())
        # A shard may be answered after its stage was given up, or twice.
        if event is None or (start := self._out.pop(event.shard, None)) is None:
            return
        if isinstance(event, ShardLost):
            self._again(start, event)
            return
        self._keep(start, event)

    def _keep(self, start: int, made: ShardResult) -> None:
        try:
            _, notes = unpack(made.content)
        except ValueError as err:
            self._again(start, ShardLost(made.shard, made.worker, f"what it sent is damaged: {err}"))
            return
        if REFUSED in notes:
            raise _error(**notes[REFUSED], worker=made.worker)
        self._work.store.save_packed(batch_name(start), made.content)
        self._damaged.discard(start)
        self._claims.pop(start).close()
        self._arrived(start)

    def _again(self, start: int, lost: ShardLost) -> None:
        self._lost[start] += 1
        count = self._lost[start]
        if lost.raised and self._raised.get(start) == lost.cause:
            raise WorkerLost(
                f"{lost.shard}: two workers raised the same over it, so every one would. The last: {lost.worker}, "
                f"{lost.cause}. What the others made is kept. This is a fault of a plugin or of the SDK, or memory ran "
                "out: mend it, and start again."
            )
        if lost.raised:
            self._raised[start] = lost.cause
        if count >= TRIES:
            raise WorkerLost(
                f"{lost.shard}: {count} workers were lost over it; allowed: {TRIES - 1}. The last: {lost.worker}, "
                f"{lost.cause}. What the others made is kept: mend the cause (memory, the device, or these prompts), "
                "and start again."
            )
        log.warning(
            "%s: worker %s was lost (%s); another makes it, try %d of %d", lost.shard, lost.worker, lost.cause,
            count + 1, TRIES,
        )  # fmt: skip
        self._queue.appendleft(start)

    def _arrived(self, start: int) -> None:
        self._there.add(start)
        done = sum(len(self._work.prompts_at(each)) for each in self._there)
        self._progress(done, len(self._work.prompts))

    def _name(self, start: int) -> str:
        count = len(self._work.prompts_at(start))
        # The folder tells stages apart that share a name.
        return f"prompts {start} to {start + count - 1} of {self._stage!r} ({self._work.store.folder.name[-16:]})"


_FACTS: dict[type[SriError], tuple[str, ...]] = {
    ConfigError: ("problems",),
    MissingExtra: ("extra",),
    GenerationAborted: ("request_ids", "step", "blind", "beyond"),
}
"""What an error says beside its message."""


def refused(err: SriError) -> Batch:
    """An error as a batch without arrays [...], so that every executor carries it."""
    # A plugin's own class is not known where this is read; one of its parents is.
    kinds = [each.__name__ for each in type(err).__mro__ if issubclass(each, SriError)]
    facts = {name: getattr(err, name) for kind, names in _FACTS.items() if isinstance(err, kind) for name in names}
    return {}, {REFUSED: {"kinds": kinds, "message": str(err), "facts": facts}}


def _error(kinds: Sequence[str], message: str, facts: Mapping[str, Any], worker: str) -> SriError:
    """The error that a worker met, as the closest class that this process knows."""
    named = (getattr(errors, kind, None) for kind in kinds)
    found = next((each for each in named if isinstance(each, type) and issubclass(each, SriError)), SriError)
    # Not by its `__init__`: some make their message from other things.
    made: SriError = found.__new__(found)
    differs = issubclass(found, ModelMismatch)
    Exception.__init__(made, f"{message} (worker: {worker})" if differs else message)
    for name, value in facts.items():
        setattr(made, name, tuple(value) if isinstance(value, list) else value)
    return made
