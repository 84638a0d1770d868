"""Signals as numpy files. Sizes are checked as declared, before anything of that size is made or unpacked."""

from __future__ import annotations

import io
import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from sri_sdk.detector import Domain
from sri_sdk.errors import ScoringError
from sri_sdk.records import Signals
from sri_sdk.scoring.signal_parts import (
    LARGEST_HEAD,
    MOST_BYTES,
    MOST_CELLS,
    MOST_ROWS,
    Floats,
    assemble,
    check_id,
    columns_of,
    group_of,
    head_of,
    short,
    within,
)  # fmt: skip
from sri_sdk.strict_json import JsonError, parse

_MEMBERS = ("sigma", "logit", "ids", "lengths", "head", "columns", "groups")
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_PIECE = 2**20
_LAST_CHARACTER = 0x10FFFF


class _Careful(io.BufferedReader):
    """A file that refuses one large read: `zipfile` reads a whole table of contents at once, whatever its size."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > 2 * _PIECE:
            raise zipfile.BadZipFile("its table of contents is too large")
        return super().read(size)


def read_npz(path: Path, domain: Domain) -> Signals:
    """Reads an .npz with `sigma` or `logit`, and perhaps `ids`, `lengths`, `head`, `columns` and `groups`.

    Raises:
        ScoringError: damaged, unknown members or one twice, too large, or parts that do not fit.
    """
    with _readable(path), _Careful(io.FileIO(path)) as file, zipfile.ZipFile(file) as archive:
        arrays: dict[str, NDArray[Any]] = {}
        for name, member in _members(path, archive).items():
            where = f"{path}, {name}"
            with archive.open(member) as stream:
                arrays[name] = _read_array(stream, member.file_size, where, name)
    fingerprint = None
    if (head := arrays.get("head")) is not None:
        if head.dtype != np.uint8 or head.ndim != 1 or head.size > LARGEST_HEAD:
            raise _misfit(f"{path}, head", head, f"JSON as uint8 [K], up to {LARGEST_HEAD} bytes")
        try:
            fingerprint = head_of(parse(head.tobytes()), str(path))
        except JsonError as err:
            raise ScoringError(f"{path}, head: {err}. Write it again.") from err
    lengths = arrays.get("lengths")
    if lengths is not None and (lengths.dtype.kind not in "iu" or lengths.ndim != 1):
        raise _misfit(f"{path}, lengths", lengths, "whole numbers of shape [N]")
    ids = _ids(arrays["ids"], path) if "ids" in arrays else None
    sigma, logit = (_cells(arrays.pop(x), f"{path}, {x}") if x in arrays else None for x in ("sigma", "logit"))
    names, groups = (_texts(arrays[x], f"{path}, {x}") if x in arrays else None for x in ("columns", "groups"))
    columns = columns_of(names, f"{path}, columns")
    # numpy has no text that is missing: an empty one is no group.
    named = None if groups is None else tuple(group_of(x or None, f"{path}, groups") for x in groups)
    return assemble(str(path), domain, sigma, logit, ids, lengths, fingerprint, columns, named)


def read_npy(path: Path, domain: Domain) -> Signals:
    """Reads a bare array in the bundle's domain.

    Raises:
        ScoringError: damaged, not numbers, or too large.
    """
    with _readable(path), path.open("rb") as stream:
        array = _cells(_read_array(stream, path.stat().st_size, str(path), "sigma"), str(path))
    sigma, logit = (None, array) if domain == "logit" else (array, None)
    return assemble(str(path), domain, sigma, logit, None, None, None)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Whatever zip, zlib and numpy raise about a damaged file becomes one error."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (
        OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError, SyntaxError, MemoryError, OverflowError,
        tokenize.TokenError, zipfile.BadZipFile, zlib.error,
    ) as err:  # fmt: skip
        brief = str(err).splitlines()[0][:160] if str(err) else type(err).__name__
        raise ScoringError(f"{path}: cannot be read as signals ({brief}). Write it again.") from err


def _members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    found: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if name in found:
            raise ScoringError(f"{path}: has {name} twice, and nothing says which one counts. Write it again.")
        if name not in _MEMBERS:
            raise ScoringError(
                f"{path}: unknown member {short(member.filename)}; allowed: {', '.join(_MEMBERS)}. "
                "Leave it out, or correct its name."
            )
        if member.flag_bits & 0x1 or member.compress_type not in _PACKED:
            how = "encrypted" if member.flag_bits & 0x1 else f"compressed by method {member.compress_type}"
            raise ScoringError(
                f"{path}: {name} is {how}; allowed: stored or deflated, not encrypted, as numpy writes it. "
                "Write it again."
            )
        found[name] = member
    return found


def _read_array(stream: IO[bytes], size: int, where: str, name: str) -> NDArray[Any]:
    """One array of `size` bytes with its header, [...] as it says; never allocates more than the limits."""
    version = npy.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ScoringError(f"{where}: written as .npy {version[0]}.{version[1]}; allowed: 1.0, 2.0. Write it again.")
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, columns_first, dtype = read_header(stream)
    if any(not isinstance(n, int) or isinstance(n, bool) or n < 0 for n in shape) or len(shape) > 3:
        raise ScoringError(f"{where}: its header has the shape {short(shape)}; allowed: up to [N, T, C].")
    if dtype.hasobject or dtype.kind not in "fiuU":
        raise ScoringError(
            f"{where}: an array of {dtype} cannot be read as signals; allowed: numbers, text in ids. No pickles."
        )
    count = math.prod(shape)
    if name in ("sigma", "logit"):
        within(where, shape[0] if shape else 1, count)
    elif count > (LARGEST_HEAD if name == "head" else MOST_ROWS):
        raise ScoringError(
            f"{where}: {short(shape)} entries; allowed: up to {MOST_ROWS:,} generations. Split the file."
        )
    wanted = count * dtype.itemsize
    if wanted > MOST_BYTES or wanted != size - stream.tell():
        raise ScoringError(
            f"{where}: its header says {wanted if wanted < 10**15 else 'too many'} bytes, {size - stream.tell()} "
            f"follow; both must be equal, and up to {MOST_BYTES:,}. Write it again."
        )
    content = bytearray()
    while piece := stream.read(min(_PIECE, wanted + 1 - len(content))):
        content += piece
        if len(content) > wanted:
            break
    if len(content) != wanted:
        raise ScoringError(f"{where}: ends early or goes on too long; {wanted} bytes were declared. Write it again.")
    if not wanted:
        return np.zeros(shape, dtype=dtype)
    flat = np.frombuffer(content, dtype=dtype)
    return flat.reshape(shape, order="F" if columns_first else "C")


def _cells(array: NDArray[Any], subject: str) -> Floats:
    """[N, T] or [N, T, C] of numbers -> [N, T, C] float32."""
    if array.dtype.kind not in "fiu" or array.ndim not in (2, 3):
        raise _misfit(subject, array, "numbers of shape [N, T] or [N, T, C]")
    if not array.size:
        raise ScoringError(f"{subject}: contains no signals: shape {list(array.shape)}. Give at least one generation.")
    assert array.size <= MOST_CELLS
    with np.errstate(over="ignore"):
        return array.reshape(*array.shape[:2], -1).astype(np.float32, order="C", copy=False)


def _ids(array: NDArray[Any], path: Path) -> list[str]:
    if array.dtype.kind not in "Uiu" or array.ndim != 1:
        raise _misfit(f"{path}, ids", array, "texts or whole numbers of shape [N]")
    found = _texts(array, f"{path}, ids") if array.dtype.kind == "U" else array.tolist()
    return [check_id(str(each), f"{path}, ids, row {row}") for row, each in enumerate(found)]


def _texts(array: NDArray[Any], where: str) -> list[str]:
    """[N] texts as a list."""
    if array.dtype.kind != "U" or array.ndim != 1:
        raise _misfit(where, array, "texts of shape [N]")
    # Before they become texts: numpy raises SystemError for a code point that Unicode does not have.
    points = array.astype(array.dtype.newbyteorder("=")).view(np.uint32).reshape(len(array), -1)
    wrong = (points > _LAST_CHARACTER).any(axis=1)
    if wrong.any():
        raise ScoringError(f"{where}, row {int(wrong.argmax())}: not a text. Write it again.")
    return [str(found) for found in array]


def _misfit(where: str, array: NDArray[Any], allowed: str) -> ScoringError:
    return ScoringError(
        f"{where}: an array of {array.dtype} with shape {list(array.shape)}; allowed: {allowed}. Write it again."
    )
