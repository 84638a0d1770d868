"""The audit log: every action of a recovery as a JSON line, in a file that grows."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sri_sdk.errors import ConfigError
from sri_sdk.records import RecoveryAction
from sri_sdk.strict_json import write

log = logging.getLogger("sri_sdk.recovery")


class AuditLog:
    """Appends to one file, which is opened each time, so that it may be moved at any time."""

    def __init__(self, path: Path) -> None:
        """Makes the file if there is none.

        Raises:
            ConfigError: it cannot be written.
        """
        self.path, self._torn = path, False
        try:
            self._append(b"")
            self._torn = self._ends_within_a_line()
        except (OSError, ValueError) as err:  # ValueError: a path with a NUL in it.
            raise ConfigError(
                f"policy.audit.path: {path} cannot be written: {getattr(err, 'strerror', None) or err}. Nothing is "
                "recovered without the log that the policy asks for: give another path, or leave audit out."
            ) from err

    def add(self, actions: Iterable[RecoveryAction]) -> None:
        """Writes actions. A disk that is full by now costs lines, which the log then says, and no response."""
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        # ASCII: line separators of Unicode in an id would be ends of lines to some readers.
        lines = [write({"time": time, **_plain(action.to_dict())}, ensure_ascii=True) for action in actions]
        try:
            self._append("".join(f"{line}\n" for line in lines).encode())
        except OSError as err:
            log.error("%s: %d actions not written: %s", self.path, len(lines), err.strerror or err)

    def _append(self, content: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # One write to a file opened for appending: lines of several processes do not mix. A pipe without a reader is an
        # error, and not waited for.
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NONBLOCK", 0), 0o640)
        try:
            # A line that a full disk cut in two is ended first; no reader takes it for an action.
            content = b"\n" + content if self._torn and content else content
            written = os.write(handle, content)
            if written < len(content):
                self._torn = True
                raise OSError(f"{written} of {len(content)} bytes written")
            self._torn = self._torn and not content
        finally:
            os.close(handle)

    def _ends_within_a_line(self) -> bool:
        """Whether whoever wrote before could not end their last line."""
        if not self.path.is_file() or not self.path.stat().st_size:
            return False
        try:
            with self.path.open("rb") as stream:
                stream.seek(-1, os.SEEK_END)
                return stream.read() != b"\n"
        except OSError:
            # A log may be one that this process appends to and cannot read.
            return False


def _plain(value: Any) -> Any:
    """JSON types whose texts every reader takes: half characters, as a response may hold, are written as escapes."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
