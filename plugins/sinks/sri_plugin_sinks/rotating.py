"""A file to which lines are appended, and that begins anew once it is large or old enough."""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

HEAD = 64
"""Bytes at the beginning of a file within which its first line says when it was written."""
_TIME = re.compile(rb'\{"time": "([0-9T:.+-]{20,40})"')


class RotatingFile:
    """Appends whole lines. The file is opened each time, so that anybody may move or delete it between two lines.

    A full one becomes `verdicts.000001.jsonl`, the next `verdicts.000002.jsonl`: a name, once given, stays with its
    lines. Several processes may append to one file and rotate it.
    """

    def __init__(self, path: Path, *, max_bytes: int | None, max_age_s: float | None, keep: int | None) -> None:
        """Opens nothing yet.

        Args:
            path: of the file that is written.
            max_bytes: size that it is not to exceed; one line that is larger has a file of its own. None = any.
            max_age_s: seconds from the time of its first line after which it is moved. None = any.
            keep: files beside it that are kept, the newest; None = all.
        """
        self.path = path
        self._max_bytes, self._max_age_s, self._keep = max_bytes, max_age_s, keep
        name = re.escape(path.stem), re.escape(path.suffix)
        self._older = re.compile(rf"{name[0]}\.([0-9]{{6,}}){name[1]}")
        self._began: tuple[int, float] | None = None
        """Inode, and when its first line was written, in seconds since 1970."""

    def append(self, lines: bytes, *, sync: bool = False) -> None:
        """Appends lines in one write, so that those of several processes do not mix.

        Args:
            lines: each with its end.
            sync: return only once they are on the disk.

        Raises:
            OSError: they are not in the file, or a part of them at most, whose last line has no end.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._rotate(len(lines))
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o640)
        try:
            found = os.fstat(handle)
            regular, end = stat.S_ISREG(found.st_mode), found.st_size
            if regular and end and os.pread(handle, 1, end - 1) != b"\n":
                # A process ended within a line. It is ended now, and no reader takes it for a whole one.
                lines = b"\n" + lines
            written = os.write(handle, lines)
            if written < len(lines):
                self._take_back(handle, end, written)
                raise OSError(errno.ENOSPC, f"{written} of {len(lines)} bytes written")
            if sync and regular:
                os.fsync(handle)
                if not end:
                    self._sync_folder()
        finally:
            os.close(handle)

    def _take_back(self, handle: int, end: int, written: int) -> None:
        """Cuts off what a full disk let through of a write, unless somebody has written behind it."""
        with suppress(OSError):
            if os.fstat(handle).st_size == end + written:
                os.ftruncate(handle, end)

    def _rotate(self, more: int) -> None:
        if not self._is_due(more):
            return
        with self._alone() as alone:
            # Another process may have been quicker.
            if not alone or not self._is_due(more):
                return
            older = self._numbered()
            following = self.path.with_name(f"{self.path.stem}.{max(older, default=0) + 1:06}{self.path.suffix}")
            self.path.rename(following)
            older[max(older, default=0) + 1] = following
            if self._keep is not None:
                for number in sorted(older)[: max(len(older) - self._keep, 0)]:
                    older[number].unlink(missing_ok=True)
            self._sync_folder()

    def _is_due(self, more: int) -> bool:
        if self._max_bytes is None and self._max_age_s is None:
            return False
        try:
            found = self.path.stat()
        except OSError:
            return False
        if not found.st_size or not stat.S_ISREG(found.st_mode):
            return False
        if self._max_bytes is not None and found.st_size + more > self._max_bytes:
            return True
        return self._max_age_s is not None and time.time() - self._first_time(found) >= self._max_age_s

    def _first_time(self, found: os.stat_result) -> float:
        """When the first line was written; where it does not say so, when this process first saw the file."""
        if self._began is None or self._began[0] != found.st_ino:
            self._began = found.st_ino, time.time()
            with suppress(OSError, ValueError), self.path.open("rb") as stream:
                if said := _TIME.match(stream.read(HEAD)):
                    self._began = found.st_ino, datetime.fromisoformat(said[1].decode()).timestamp()
        return self._began[1]

    def _numbered(self) -> dict[int, Path]:
        """The files that were rotated, by number."""
        found = [(self._older.fullmatch(each.name), each) for each in self.path.parent.iterdir()]
        return {int(match[1]): each for match, each in found if match}

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Whether this process is the one that may move the file that is there now."""
        try:
            import fcntl
        except ImportError:
            # Windows: one process per file.
            yield True
            return
        try:
            handle = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            # Moved a moment ago.
            yield False
            return
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                alone = os.fstat(handle).st_ino == self.path.stat().st_ino
            except OSError:
                alone = False
            yield alone
        finally:
            os.close(handle)

    def _sync_folder(self) -> None:
        """A new name is on the disk only once its folder is. Some file systems know no such thing."""
        with suppress(OSError):
            handle = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
