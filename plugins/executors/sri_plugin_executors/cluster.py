"""A Ray cluster: joined or started once, left or ended once, and what it has room for."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sri_sdk.errors import ConfigError, MissingExtra

LOCAL = "local"
"""Address of a cluster that is started on this machine, for this run alone."""
AUTO = "auto"
"""Address of the cluster that runs on this machine, or of RAY_ADDRESS if that is set."""
TO_ANSWER = 10.0
"""Seconds in which the port of a cluster must take a connection. Ray itself tries for minutes, deaf to Ctrl-C."""

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


def checked_address(address: str) -> str:
    """An address of a form that is known; whether anybody is there is not asked.

    Raises:
        ValueError: it is of no such form.
    """
    if address not in (LOCAL, AUTO):
        _host_and_port(address)
    return address


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host.strip("[]") or not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError(
            f"found {address!r}, allowed: {LOCAL} (a cluster for this run), {AUTO} (the one that runs here), or "
            "HOST:PORT as `ray start --head` prints it"
        )
    return host.strip("[]"), int(port)


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
                self._knock(ray)
                ray.init(
                    address=self._address, include_dashboard=False if self._address == LOCAL else None,
                    log_to_driver=False, logging_level="ERROR",
                )  # fmt: skip
            # Ray raises whatever it met, `Exception` itself as well.
            except Exception as err:
                raise ConfigError(self._unreachable(err)) from err
        return ray

    def _knock(self, ray: Any) -> None:
        """Opens a connection to the cluster's port and closes it.

        Raises:
            OSError: nobody is there.
            ValueError: RAY_ADDRESS is no address.
        """
        address = self._looked_for()
        if address in (LOCAL, AUTO):
            return
        host, port = _host_and_port(address)
        if host in ("localhost", "127.0.0.1", "::1") and "://" not in address:
            # So does Ray, but not for its client (`ray://`), which may come through a tunnel: its head listens on the
            # address by which other machines know this one.
            host = ray.util.get_node_ip_address()
        try:
            socket.create_connection((host, port), TO_ANSWER).close()
        except OSError as err:
            raise OSError(f"{host}:{port}: {err}") from err

    def _looked_for(self) -> str:
        return os.environ.get("RAY_ADDRESS") or AUTO if self._address == AUTO else self._address

    def _unreachable(self, err: Exception) -> str:
        why, where = f"{type(err).__name__}: {err}".strip(), self._looked_for()
        named = repr(self._address) if where == self._address else f"{self._address!r}, which is RAY_ADDRESS={where},"
        if "Version mismatch" in why:
            return (
                f"ray: the cluster {named} has other versions than this machine ({' '.join(why.split())}). "
                "Install the same Ray and the same Python here as there."
            )
        if self._address == LOCAL:
            return (
                f"ray: no cluster could be started on this machine ({why}). Ray needs room in /tmp and /dev/shm, and "
                "free ports; `--workers N` without --ray does the same work in processes."
            )
        return (
            f"ray: the cluster {named} cannot be reached ({why}). Give HOST:PORT as `ray start` prints it, "
            "start one with `ray start --head`, or let --ray local start one for this run. If Ray said "
            "Unauthenticated, the cluster asks for a token: RAY_AUTH_MODE=token before the command, and its token here."
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
