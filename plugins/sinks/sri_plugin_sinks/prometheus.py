"""Numbers for Prometheus: on a port that it asks, or in a file that node_exporter reads."""

from __future__ import annotations

import errno
import http.client
import logging
import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

import sri_sdk
from sri_plugin_sinks.monitor_numbers import MonitorNumbers
from sri_sdk.errors import ConfigError, MissingExtra

SRI_PLUGIN_API = 1

log = logging.getLogger("sri_sdk.sinks")

MOST_READ = 2**20
"""Bytes of somebody's numbers that are looked at."""
WRITE_EVERY_S = 5.0
"""Seconds between two writes of the file."""


class PrometheusSink(sri_sdk.Sink):
    """Counts observations and pulses. Numbers begin at 0 with the process, as Prometheus expects.

    What is delivered is counted in memory, so that no delivery waits or fails.
    """

    class Config(sri_sdk.Config):
        """Options of the sink: a port, or a file."""

        port: int | None = Field(default=None, ge=0, le=65535, description="Port for GET /metrics; 0 = any free one.")
        host: str = Field(
            default="127.0.0.1", description="Address to listen on. There are no tokens: keep it private."
        )
        file: Path | None = Field(
            default=None, description="File NAME.prom in the folder that node_exporter's textfile collector reads."
        )

        last_scrape_s: float = Field(
            default=8.0,
            ge=0,
            le=60,
            description="Of a port: most seconds that the end of a monitor waits for Prometheus to read that it has "
            "ended on purpose; only where it was read within two minutes. More than the 10 s that `sri monitor` gives "
            "all its sinks has no effect.",
        )

        @field_validator("file")
        @classmethod
        def _a_name_that_is_read(cls, file: Path | None) -> Path | None:
            if file is not None and file.suffix != ".prom":
                raise ValueError("must end in .prom; node_exporter reads no other files")
            return file

        @model_validator(mode="after")
        def _one_way(self) -> PrometheusSink.Config:
            if (self.port is None) == (self.file is None):
                raise ValueError("give either port or file")
            return self

    def __init__(self, config: Any = None) -> None:
        """Takes the options, and listens where a port is given.

        Raises:
            MissingExtra: prometheus_client is not installed.
            ConfigError: the port is taken, or the folder of the file is not there.
        """
        super().__init__(config)
        _needs_client()
        from prometheus_client import CollectorRegistry, start_http_server

        self._numbers, self._registry = MonitorNumbers(), CollectorRegistry(auto_describe=False)
        self._registry.register(self._numbers)
        self._server: Any = None
        self._written = -WRITE_EVERY_S
        self._failing = False
        self.port: int | None = None
        """Port that it listens on."""
        if self.config.file is not None:
            _needs_folder(self.config.file)
            return
        try:
            self._server, self._thread = start_http_server(self.config.port, self.config.host, self._registry)
        except OSError as err:
            raise _taken(self.config, err.strerror or type(err).__name__) from err
        self.port = self._server.server_port

    @classmethod
    def check(cls, config: Any, timeout_s: float) -> str:
        """Looks whether the port is free, or a monitor's numbers are there already; or whether the file can be written.

        Raises:
            MissingExtra: prometheus_client is not installed.
            ConfigError: somebody else has the port, or the file cannot be written.
        """
        _needs_client()
        if config.file is not None:
            _needs_folder(config.file)
            needed = [config.file.parent, *([config.file] if config.file.exists() else [])]
            if not all(os.access(each, os.W_OK) for each in needed):
                raise ConfigError(f"sink prometheus: file {config.file}: cannot be written. Choose another folder.")
            return f"{config.file} can be written"
        where = f"{config.host}:{config.port}"
        try:
            free = is_free(config.host, config.port)
        except OSError as err:
            raise _taken(config, err.strerror or type(err).__name__) from err
        if free:
            return f"{where} is free"
        if not has_numbers(config.host, config.port, timeout_s):
            raise _taken(config, "something else than a monitor listens there")
        return f"{where}: a monitor listens there; fine if it is this one, which is running"

    def emit(self, verdict: sri_sdk.Verdict) -> None:
        """Counts one verdict."""
        self.deliver([sri_sdk.Observation(verdict, time.time_ns() // 1_000_000)])

    def deliver(self, observations: Sequence[sri_sdk.Observation]) -> None:
        """Counts them; never fails."""
        self._numbers.add(observations)
        self._write(WRITE_EVERY_S)

    def pulse(self, pulse: sri_sdk.Pulse) -> None:
        """Takes how a monitor is."""
        self._numbers.take(pulse)
        self._write(WRITE_EVERY_S)

    def close(self) -> None:
        """Stops listening, or writes the file a last time; twice is fine.

        Where a monitor has ended on purpose and Prometheus asks this port, it is given a last time to ask: otherwise an
        end in order looks like a crash.
        """
        self._write(0)
        if self._server is not None:
            server, self._server = self._server, None
            if self._numbers.end_is_awaited:
                log.info("sink prometheus: waiting for a last scrape, at most %g s", self.config.last_scrape_s)
            self._numbers.wait_until_end_is_known(self.config.last_scrape_s)
            server.shutdown()
            server.server_close()
            self._thread.join()

    def text(self) -> str:
        """All numbers, as Prometheus reads them."""
        from prometheus_client import generate_latest

        return generate_latest(self._registry).decode()

    def _write(self, every_s: float) -> None:
        if self.config.file is None or time.monotonic() - self._written < every_s:
            return
        from prometheus_client import write_to_textfile

        self._written = time.monotonic()
        try:
            write_to_textfile(str(self.config.file), self._registry)
            self._failing = False
        except OSError as err:
            if not self._failing:
                log.warning("sink prometheus: %s: %s; tried again", self.config.file, err.strerror or err)
            self._failing = True

    @classmethod
    def example(cls) -> Any:
        """A sink on a free port, of which nobody can tell which verdicts it counted; and one whose folder has gone."""
        import shutil
        import tempfile

        from sri_sdk.testing import SinkCase

        def dead() -> PrometheusSink:
            folder = Path(tempfile.mkdtemp(prefix="sri-sink-"))
            sink = cls(cls.Config(file=folder / "sri.prom"))
            shutil.rmtree(folder)
            return sink

        return SinkCase(cls(cls.Config(port=0)), dead=dead)


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there.

    Raises:
        OSError: never, whoever else listens: the address is not this machine's, or the port wants more rights.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        # Bound, and never listening: nobody can connect to it, and a monitor that begins meanwhile is not disturbed.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as err:
            if err.errno == errno.EADDRINUSE:
                return False
            raise
    return True


def has_numbers(host: str, port: int, timeout_s: float) -> bool:
    """Whether the numbers of a monitor are read there.

    Args:
        host: that it listens on.
        port: likewise.
        timeout_s: seconds that it may take to answer.
    """
    # What listens everywhere listens here.
    asked = http.client.HTTPConnection({"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host), port,
                                       timeout=timeout_s)  # fmt: skip
    try:
        asked.request("GET", "/metrics")
        with asked.getresponse() as got:
            return got.status == 200 and b"sri_monitor_" in got.read(MOST_READ)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        asked.close()


def _needs_client() -> None:
    try:
        import prometheus_client  # noqa: F401
    except ImportError as err:
        raise MissingExtra("Sink prometheus", extra="prometheus") from err


def _needs_folder(file: Path) -> None:
    if not file.parent.is_dir():
        raise ConfigError(f"sink prometheus: file {file}: no such folder. Make it, or name node_exporter's.")


def _taken(config: PrometheusSink.Config, why: str) -> ConfigError:
    return ConfigError(f"sink prometheus: cannot listen on {config.host}:{config.port}: {why}. Choose another port.")
