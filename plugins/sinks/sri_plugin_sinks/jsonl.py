"""Verdicts as JSON lines in a file: the simplest record that other tools can follow."""

from __future__ import annotations

import json
import logging
import os
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import Field

import sri_sdk
from sri_sdk.errors import ConfigError

SRI_PLUGIN_API = 1

log = logging.getLogger("sri_sdk.sinks")

MOST_WAITING = 10_000
"""Lines kept in memory while the file cannot be written; the oldest go first."""


class JsonlSink(sri_sdk.Sink):
    """One line per verdict: its fields as `Verdict.to_dict()` has them, and `time`, in UTC, when the sink took it.

    The file is opened for each line, so that it may be moved or deleted at any time. While it cannot be written, lines
    wait in memory and are tried again with the next verdict and on `close`.
    """

    class Config(sri_sdk.Config):
        """Options of the sink."""

        path: Path = Field(description="File to append to; missing folders are made.")

    def __init__(self, config: Any = None) -> None:
        """Takes the options; `path` is required.

        Raises:
            ConfigError: the path is a folder.
        """
        super().__init__(config)
        if self.config.path.is_dir():
            raise ConfigError(f"sink jsonl: path {self.config.path} is a folder; give the path of a file.")
        self._waiting: deque[bytes] = deque()
        self._torn = self._failing = False
        self.lost = 0
        """Lines given up: more than fit in memory, or still unwritten at `close`."""

    def emit(self, verdict: sri_sdk.Verdict) -> None:
        """Appends one line."""
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **verdict.to_dict()}
        # ASCII: line separators of Unicode in an id would be ends of lines to some readers.
        self._waiting.append(json.dumps(line, allow_nan=False).encode() + b"\n")
        if len(self._waiting) > MOST_WAITING:
            self._waiting.popleft()
            self.lost += 1
        self._write()

    def close(self) -> None:
        """Tries once more to write what is left."""
        self._write()
        if self._waiting:
            log.warning("sink jsonl: %s: %d lines were never written", self.config.path, len(self._waiting))
            self.lost += len(self._waiting)
            self._waiting.clear()

    def _write(self) -> None:
        try:
            while self._waiting:
                self._append(self._waiting[0])
                self._waiting.popleft()
            self._failing = False
        except OSError as err:
            if not self._failing:
                log.warning("sink jsonl: %s: %s; lines wait in memory", self.config.path, err.strerror or err)
            self._failing = True

    def _append(self, line: bytes) -> None:
        self.config.path.parent.mkdir(parents=True, exist_ok=True)
        # One write to a file opened for appending: lines of several processes do not mix.
        handle = os.open(self.config.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        try:
            # A line that a full disk cut in two is ended first, and is then one that no reader takes for a verdict.
            line = b"\n" + line if self._torn else line
            written = os.write(handle, line)
            self._torn = written < len(line)
            if self._torn:
                raise OSError(f"{written} of {len(line)} bytes written")
        finally:
            os.close(handle)

    @classmethod
    def example(cls) -> Any:
        """A sink in a temporary folder, and one whose path leads through a file."""
        import shutil
        import tempfile
        import weakref

        from sri_sdk.strict_json import parse
        from sri_sdk.testing import SinkCase

        folder = Path(tempfile.mkdtemp(prefix="sri-sink-"))
        path, blocked = folder / "verdicts.jsonl", folder / "file"
        blocked.touch()

        def delivered() -> list[str]:
            return [parse(line)["request_id"] for line in path.read_text().splitlines()]

        # The folder lives as long as what looks into it.
        weakref.finalize(delivered, shutil.rmtree, folder, ignore_errors=True)
        return SinkCase(
            cls(cls.Config(path=path)),
            delivered=delivered,
            dead=lambda: cls(cls.Config(path=blocked / "verdicts.jsonl")),
        )
