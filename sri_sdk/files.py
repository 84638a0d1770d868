"""Files that are whole or absent, and digests that mean the same everywhere."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np


def writable_folder(folder: Path) -> None:
    """Makes a folder unless it is there, and writes a file in it, gone at once: before anything slow is made for it.

    Raises:
        OSError: with the folder as its `filename`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryFile(dir=folder) as stream:
            stream.write(b"0")
    except OSError as err:
        raise OSError(err.errno, err.strerror, str(folder)) from err


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A temporary path beside `target`, for a file or a folder; renamed onto it only if the block succeeds."""
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        made = scratch / target.name
        yield made
        if target.exists() and (made.is_dir() or target.is_dir()):
            # A full folder cannot be replaced in one rename: park the old one first, so nothing is lost.
            target.rename(scratch / "previous")
        try:
            made.replace(target)
        except BaseException:
            if (scratch / "previous").exists():
                (scratch / "previous").rename(target)
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def claimed(target: Path, *, wait: bool = False) -> Iterator[bool]:
    """Whether this process is the one that makes `target`, among all that ask the same way.

    The claim is the operating system's and ends with the process, however it ends. Where there are no such claims, as
    on Windows, everybody gets one: then two processes may make the same thing twice.

    Args:
        target: what is made; a lock file stands beside it meanwhile. It may be there by the time the claim is given.
        wait: for the process that has the claim; otherwise False is the answer at once.
    """
    try:
        import fcntl
    except ImportError:
        yield True
        return
    lock = target.with_name(f".{target.name}.lock")
    while True:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            stream = lock.open("wb")
        except OSError:
            # Nothing can be written here. What is there can still be read, and whoever writes is told why it fails.
            yield True
            return
        with stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            except OSError:
                # A file system without locks.
                yield True
                return
            if not _is(lock, stream.fileno()):
                # Whoever had it removed the file meanwhile, so others would lock another one.
                continue
            try:
                yield True
            finally:
                # Whoever waits for this one looks for the target next, so nothing depends on the file.
                lock.unlink(missing_ok=True)
            return


def _is(path: Path, descriptor: int) -> bool:
    """Whether a path leads to the file that is open."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def save_arrays(target: Path, arrays: dict[str, np.ndarray[Any, Any]]) -> None:
    """Writes arrays [...] of any shape and numeric dtype as an .npz, by name, without pickle and atomically."""
    with replacing(target) as made, made.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def write_text(target: Path, text: str) -> None:
    """Writes a text file atomically."""
    with replacing(target) as made:
        made.write_text(text, encoding="utf-8")


def write_new(target: Path, content: bytes, *, mode: int) -> None:
    """Writes a file that must not exist yet, with these permissions from the start.

    Raises:
        FileExistsError: it exists, even as a link to nowhere.
    """
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)


def canonical_json(value: Any) -> bytes:
    """One byte string per value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON of a value, as hex."""
    return sha256(canonical_json(value))


def sha256(content: bytes) -> str:
    """SHA-256 as hex."""
    return hashlib.sha256(content).hexdigest()
