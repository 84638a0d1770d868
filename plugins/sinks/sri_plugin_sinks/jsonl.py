"""Verdicts as JSON lines in a file: the simplest record that other tools can follow."""

from __future__ import annotations

import json
import logging
import os
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

import sri_sdk
from sri_plugin_sinks.rotating import RotatingFile
from sri_sdk.errors import ConfigError, SinkRejected
from sri_sdk.strict_json import JsonError, write

SRI_PLUGIN_API = 1

log = logging.getLogger("sri_sdk.sinks")

MOST_WAITING = 10_000
"""Lines of `emit` kept in memory while the file cannot be written; the oldest go first."""


class JsonlSink(sri_sdk.Sink):
    """One line per verdict: its fields as `Verdict.to_dict()` has them, and `time`, in UTC, when the sink took it.

    Of a monitor, one line per observation, with the fields of `Observation.to_dict()`: these lines are on the disk when
    `deliver` returns, after one sync for the batch. A monitor that was killed may write a line a second time, with the
    same `id`. The file is opened for each write, so that it may be moved or deleted at any time.
    """

    class Config(sri_sdk.Config):
        """Options of the sink."""

        path: Path = Field(description="File to append to; missing folders are made.")
        max_bytes: int | None = Field(
            default=None, ge=1, description="Size at which the file is put aside as NAME.000001.SUFFIX; null = never."
        )
        max_age_hours: float | None = Field(
            default=None, gt=0, description="Age of its first line at which the file is put aside; null = never."
        )
        keep: int | None = Field(
            default=None, ge=0, description="Files put aside that are kept, the newest; null = all of them."
        )

        @model_validator(mode="after")
        def _keeps_what_is_put_aside(self) -> Self:
            if self.keep is not None and self.max_bytes is None and self.max_age_hours is None:
                raise ValueError("keep says what becomes of files put aside; give max_bytes or max_age_hours as well")
            return self

    def __init__(self, config: Any = None) -> None:
        """Takes the options; `path` is required.

        Raises:
            ConfigError: the path is a folder.
        """
        super().__init__(config)
        _refuse_folder(self.config.path)
        hours = self.config.max_age_hours
        self._file = RotatingFile(
            self.config.path, max_bytes=self.config.max_bytes, max_age_s=None if hours is None else 3600 * hours,
            keep=self.config.keep,
        )  # fmt: skip
        self._waiting: deque[bytes] = deque()
        self._failing = False
        self.lost = 0
        """Lines given up: more than fit in memory, or still unwritten at `close`."""

    @classmethod
    def check(cls, config: Any, timeout_s: float) -> str:
        """Looks whether the file can be appended to, or made.

        Raises:
            ConfigError: it cannot.
        """
        path = config.path.absolute()
        _refuse_folder(path)
        there = path if path.exists() else next(each for each in path.parents if each.exists())
        # Files that are put aside take a new name in the folder.
        needed = [there] if there != path else [path, path.parent]
        if not all(os.access(each, os.W_OK) for each in needed) or not (there == path or there.is_dir()):
            raise ConfigError(
                f"sink jsonl: path {config.path}: cannot be written here. Give a file in a folder that is yours."
            )
        return f"{config.path} can be {'appended to' if there == path else 'made'}"

    def emit(self, verdict: sri_sdk.Verdict) -> None:
        """Appends one line. While the file cannot be written, lines wait in memory for the next verdict or `close`."""
        # ASCII: line separators of Unicode in an id would be ends of lines to some readers.
        self._waiting.append(json.dumps({"time": _now(), **verdict.to_dict()}, allow_nan=False).encode() + b"\n")
        if len(self._waiting) > MOST_WAITING:
            self._waiting.popleft()
            self.lost += 1
        self._write()

    def deliver(self, observations: Sequence[sri_sdk.Observation]) -> None:
        """Appends one line per observation.

        Raises:
            OSError: the file cannot be written.
            SinkRejected: some are not JSON, such as an id with half of a surrogate pair.
        """
        lines, unfit, now = [], [], _now()
        for each in observations:
            try:
                lines.append(write({"time": now, **each.to_dict()}).encode() + b"\n")
            except JsonError:
                unfit.append(each.id)
        if lines:
            self._file.append(b"".join(lines), sync=True)
        if unfit:
            raise SinkRejected(unfit, "they cannot be written as JSON")

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
                self._file.append(self._waiting[0])
                self._waiting.popleft()
            self._failing = False
        except OSError as err:
            if not self._failing:
                log.warning("sink jsonl: %s: %s; lines wait in memory", self.config.path, err.strerror or err)
            self._failing = True

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

        def lines() -> list[dict[str, Any]]:
            return [parse(line) for line in path.read_text().splitlines()]

        # The folder lives as long as what looks into it.
        weakref.finalize(lines, shutil.rmtree, folder, ignore_errors=True)
        return SinkCase(
            cls(cls.Config(path=path)),
            delivered=lambda: [line["request_id"] for line in lines()],
            dead=lambda: cls(cls.Config(path=blocked / "verdicts.jsonl")),
            # A reader counts an observation by its id.
            observed=lambda: list({line["id"]: line for line in lines()}),
            refused=sri_sdk.Observation(sri_sdk.Verdict("half of a pair: \ud800", "clear"), 1),
        )


def _refuse_folder(path: Path) -> None:
    if path.is_dir():
        raise ConfigError(f"sink jsonl: path {path} is a folder; give the path of a file.")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
