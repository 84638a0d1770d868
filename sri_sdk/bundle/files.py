"""The files of a bundle, in memory: from a folder or from a zip, all of them or none.

Everything is read before anything is parsed, nothing is extracted, and a name is only ever a name: no folders, no
links, no names that a shell or an archive tool could misread.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

from sri_sdk.bundle.stored_zip import LONGEST_NAME, MOST_MEMBERS, pack, unpack
from sri_sdk.errors import BundleError
from sri_sdk.files import replacing

MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
OTHER_SIGNATURE = "model.sig"
"""Where OpenSSF model-signing puts its own signature by default. Not read here: its own tools check it."""
UNLISTED = (MANIFEST, SIGNATURE, OTHER_SIGNATURE)
"""The files that the manifest does not list."""
LARGEST_MANIFEST = 16 * 2**20
"""Bytes. A million calibration scores are 5 MiB, and reading takes four times the size of the file."""
LARGEST_SIGNATURE = 2**20
LARGEST_BUNDLE = 2**30
"""Bytes of all files. They are read into memory, which a wrong path must not fill."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


def read_files(path: Path) -> dict[str, bytes]:
    """Every file of a bundle by name.

    Args:
        path: a folder, or a zip that `pack` wrote.

    Raises:
        BundleError: it does not exist, is not a bundle, cannot be read, or is too large.
    """
    try:
        files = _folder(path) if path.is_dir() else unpack(_read(path, LARGEST_BUNDLE), str(path))
    except FileNotFoundError as err:
        missing = "" if path.exists() else "there is nothing, so "
        raise BundleError(
            f"{path}: {missing}not a bundle folder or zip file. Point to the folder that holds {MANIFEST}."
        ) from err
    except OSError as err:
        raise BundleError(f"{path}: cannot be read ({err.strerror}). Check who may read its files.") from err
    for name in files:
        _check_name(path, name)
    _check_sizes(path, {name: len(content) for name, content in files.items()})
    return files


def write_files(target: Path, files: Mapping[str, bytes], *, zipped: bool = False) -> Path:
    """Writes a bundle as a folder or as a zip, whole or not at all; an older one is replaced."""
    with replacing(target) as made:
        if zipped:
            made.write_bytes(pack(files))
        else:
            made.mkdir()
            for name, content in files.items():
                (made / name).write_bytes(content)
    return target


def put_file(path: Path, name: str, content: bytes) -> None:
    """Adds or replaces one file of a bundle on disk, in either form, atomically."""
    if not path.is_dir():
        write_files(path, {**read_files(path), name: content}, zipped=True)
        return
    # Beside the folder, not in it: a process that reads the bundle meanwhile would refuse a stray file.
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.resolve().parent))
    try:
        (scratch / name).write_bytes(content)
        (scratch / name).replace(path / name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _folder(path: Path) -> dict[str, bytes]:
    """Every file of the folder, after a check that all are plain files and not too large together."""
    if not (path / MANIFEST).exists() and (path / "bundle").exists():
        raise BundleError(f"{path}: a guard's folder, not a bundle. Its bundle is {path / 'bundle'}.")
    sizes: dict[str, int] = {}
    for entry in path.iterdir():
        _check_name(path, entry.name)
        found = entry.lstat()
        if not stat.S_ISREG(found.st_mode):
            raise BundleError(
                f"{path}: {entry.name} is not a plain file; a bundle has plain files only. Copy the bundle again."
            )
        sizes[entry.name] = found.st_size
        if len(sizes) > MOST_MEMBERS:
            raise BundleError(f"{path}: more than {MOST_MEMBERS} files. This is not a bundle of this SDK.")
    _check_sizes(path, sizes)
    # What was a plain file a moment ago may be a link or a pipe by now.
    return {name: _read(path / name, size, follow=False) for name, size in sizes.items()}


def _read(path: Path, most: int, *, follow: bool = True) -> bytes:
    """The bytes of a plain file with at most `most` of them."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags if follow else flags | getattr(os, "O_NOFOLLOW", 0))
    with os.fdopen(descriptor, "rb") as stream:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise BundleError(f"{path}: not a plain file. Point to a bundle folder or zip file.")
        content = stream.read(most + 1) if found.st_size <= most else b""
        if found.st_size > most or len(content) > most:
            raise BundleError(f"{path}: has more than {most} bytes. This is not a bundle of this SDK.")
        return content


def _check_name(path: Path, name: str) -> None:
    if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise BundleError(
            f"{path}: has a file named {name[:100]!r}; allowed: letters, digits, '.', '_' and '-', not beginning with "
            "'.' or '-'. Copy the bundle again, without files of other programs."
        )


def _check_sizes(path: Path, sizes: Mapping[str, int]) -> None:
    caps = {MANIFEST: LARGEST_MANIFEST, SIGNATURE: LARGEST_SIGNATURE, OTHER_SIGNATURE: LARGEST_SIGNATURE}
    for what, size, cap in [
        *((name, sizes[name], cap) for name, cap in caps.items() if name in sizes),
        ("the bundle", sum(sizes.values()), LARGEST_BUNDLE),
    ]:
        if size > cap:
            raise BundleError(
                f"{path}: {what} has {size} bytes, allowed: up to {cap}. This is not a bundle of this SDK."
            )
