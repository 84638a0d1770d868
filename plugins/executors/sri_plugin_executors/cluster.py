"""A Ray cluster: joined or started once, left or ended once, and what it has room for."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sri_sdk.errors import ConfigError, MissingExtra

LOCAL = "local"
"""Address of a cluster that is started on this machine, for this run alone."""

log = logging.getLogger("sri_sdk.executors")


def ray_package() -> Any:
    """The package.

    Raises:
        MissingExtra: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as err:
        raise MissingExtra("Workers on a Ray cluster", extra="scale") from err
    return ray


class Cluster:
    """This process's connection to a cluster: made when it is first used, ended when its last user has ended.

    A connection that was there before belongs to somebody else, and stays.
    """

    def __init__(self, address: str) -> None:
        """Takes an address as `ray.init` has it; nothing is joined yet."""
        self._address = address
        self._users = 0
        self._ray: Any = None

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Once joined, it stays joined within the block. The last such block ends a connection that was made here."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if not self._users and self._ray is not None:
                ray, self._ray = self._ray, None
                ray.shutdown()

    def joined(self) -> Any:
        """The package, with a connection; within `kept`.

        Raises:
            MissingExtra: Ray is not installed.
            ConfigError: the cluster cannot be reached, or not be started.
        """
        ray = ray_package()
        if not ray.is_initialized():
            # First, so that a Ctrl-C meanwhile ends what was started by then.
            self._ray = ray
            try:
                ray.init(
                    address=self._address, include_dashboard=False if self._address == LOCAL else None,
                    log_to_driver=False, logging_level="ERROR",
                )  # fmt: skip
            # Ray raises whatever it met, `Exception` itself as well.
            except Exception as err:
                raise ConfigError(self._unreachable(err)) from err
        return ray

    def _unreachable(self, err: Exception) -> str:
        why = f"{type(err).__name__}: {err}".strip()
        if self._address == LOCAL:
            return (
                f"ray: no cluster could be started on this machine ({why}). Ray needs room in /tmp and /dev/shm, and "
                "free ports; `--workers N` without --ray does the same work in processes."
            )
        return (
            f"ray: the cluster {self._address!r} cannot be reached ({why}). Give HOST:PORT as `ray start` prints it, "
            "start one with `ray start --head`, or let --ray local start one for this run."
        )


@dataclass(frozen=True, slots=True)
class Room:
    """What a cluster is enough for."""

    size: int
    """Actors."""
    devices: float
    """Accelerators of each."""

    @classmethod
    def of(cls, ray: Any, address: str, *, workers: int | None, devices: float, cpus: float) -> Room:
        """Looks at every machine: an actor lies on one of them whole.

        Args:
            ray: the package, with a connection.
            address: of the cluster, for messages.
            workers: actors that are wanted; None = as many as the accelerators are enough for, or one per machine.
            devices: accelerators of each, where there are any.
            cpus: cores of each.

        Raises:
            ConfigError: there is no room for one.
        """
        machines = [node.get("Resources", {}) for node in ray.nodes() if node["Alive"]]
        cores = [float(each.get("CPU", 0)) for each in machines]
        accelerators = [float(each.get("GPU", 0)) for each in machines]
        devices = devices if sum(accelerators) else 0.0
        there = f"{sum(cores):g} cores and {sum(accelerators):g} accelerators on {len(machines)} machines"
        needs = f"{cpus:g} and {devices:g}"
        by_device = [_times(each, devices) for each in accelerators]
        room = sum(min(pair) for pair in zip(by_device, (_times(each, cpus) for each in cores), strict=True))
        if not room:
            raise ConfigError(
                f"ray: the cluster {address!r} has {there}; one actor needs {needs}, on one. Start Ray on a larger "
                "machine, or give an actor less (the executor's `cpus` and `devices`, in Python)."
            )
        wanted = workers or (sum(by_device) if devices else len(machines))
        if wanted > room:
            log.warning(
                "ray: %d workers %s, and the cluster %r has room for %d: it has %s, and one actor needs %s. %d are "
                "started.", wanted, "were asked for" if workers else "would have an accelerator each", address, room,
                there, needs, room,
            )  # fmt: skip
        return cls(min(wanted, room), devices)


def _times(there: float, each: float) -> int:
    """How often an amount fits; nothing fits as often as anybody could want."""
    # Ten tenths of a core are one.
    return int(there / each + 1e-9) if each else 1_000_000
