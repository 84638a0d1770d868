"""Numbers for Prometheus: on a port that it asks, or in a file that node_exporter reads."""

from __future__ import annotations

import logging
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
        try:
            from prometheus_client import CollectorRegistry, start_http_server
        except ImportError as err:
            raise MissingExtra("Sink prometheus", extra="prometheus") from err
        self._numbers, self._registry = MonitorNumbers(), CollectorRegistry(auto_describe=False)
        self._registry.register(self._numbers)
        self._server: Any = None
        self._written = -WRITE_EVERY_S
        self._failing = False
        self.port: int | None = None
        """Port that it listens on."""
        if self.config.file is not None:
            if not self.config.file.parent.is_dir():
                raise ConfigError(
                    f"sink prometheus: file {self.config.file}: no such folder. Make it, or name node_exporter's."
                )
            return
        try:
            self._server, self._thread = start_http_server(self.config.port, self.config.host, self._registry)
        except OSError as err:
            where = f"{self.config.host}:{self.config.port}"
            raise ConfigError(
                f"sink prometheus: cannot listen on {where}: {err.strerror}. Choose another port."
            ) from err
        self.port = self._server.server_port

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
        """Stops listening, or writes the file a last time; twice is fine."""
        self._write(0)
        if self._server is not None:
            server, self._server = self._server, None
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
