"""Directions as files: one `.safetensors` with two arrays and their provenance as metadata. Nothing in it executes.

A direction takes refusals away as easily as it gives them. The file says so itself, and is readable by its owner alone.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sri_sdk.errors import BundleError, ConfigError, MissingExtra
from sri_sdk.files import replacing
from sri_sdk.steer.direction import Direction
from sri_sdk.strict_json import JsonError, parse, write

FORMAT = "sri-direction 1"
SENSITIVE = (
    "Sensitive: ablating this direction takes the model's refusals away. Keep it as private as the weights of an "
    "unaligned model; bundles never contain it."
)
LARGEST = 64 * 2**20
"""Bytes of a file at most: 128 blocks of width 32768 are 16 MiB."""
LARGEST_HEADER = 4 * 2**20
"""Bytes of its header at most: names, shapes and provenance."""
_ARRAYS = ("means", "vectors")


def save_direction(direction: Direction, target: Path | str) -> None:
    """Writes a direction, whole or not at all, readable by its owner alone. An existing file is replaced.

    Args:
        direction: what to write.
        target: the file; `.safetensors` by custom.

    Raises:
        MissingExtra: safetensors is not installed.
        ConfigError: its provenance is more than JSON holds, the file would be larger than is read, or the target is a
            folder.
    """
    try:
        from safetensors.numpy import save
    except ImportError as err:
        raise MissingExtra("Writing a direction", extra="capture") from err
    try:
        provenance = write(dict(direction.provenance), sort_keys=True, ensure_ascii=False)
    except JsonError as err:
        raise ConfigError(f"direction {direction.name!r}: provenance is not JSON: {err}") from err
    metadata = {
        "format": FORMAT, "warning": SENSITIVE, "name": direction.name, "towards": direction.towards,
        "provenance": provenance,
    }  # fmt: skip
    arrays = {name: np.ascontiguousarray(getattr(direction, name), dtype="<f4") for name in _ARRAYS}
    content = _ordered(save(arrays, metadata))
    if len(content) > LARGEST or struct.unpack("<Q", content[:8])[0] > LARGEST_HEADER:
        raise ConfigError(
            f"direction {direction.name!r}: {len(content)} bytes; files of at most {LARGEST}, with {LARGEST_HEADER} of "
            "provenance, are read. Keep less provenance."
        )
    if Path(target).is_dir():
        raise ConfigError(f"{target}: is a folder, and is not replaced by a file. Give the name of a file.")
    with replacing(Path(target)) as made:
        made.touch(mode=0o600)
        made.write_bytes(content)


def load_direction(source: Path | str) -> Direction:
    """Reads what `save_direction` wrote, and nothing else.

    Whether it belongs to a model is another question: `sri_sdk.steer.identity.check_model` answers it.

    Args:
        source: the file.

    Raises:
        MissingExtra: safetensors is not installed.
        BundleError: the file is missing, too large, damaged, of another format, or not a direction.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load
    except ImportError as err:
        raise MissingExtra("Reading a direction", extra="capture") from err
    content = _read(source)
    metadata = _metadata(content, source)
    try:
        arrays = load(content)
    except (SafetensorError, ValueError, KeyError, TypeError) as err:
        raise BundleError(f"{source}: damaged: {err}. Restore the file, or extract the direction again.") from err
    try:
        return Direction(
            metadata["name"], arrays["vectors"], metadata["towards"], arrays["means"], metadata["provenance"]
        )
    except ConfigError as err:
        raise BundleError(f"{source}: {err}") from err


def _ordered(content: bytes) -> bytes:
    """The same file with the entries of its header in order: safetensors writes metadata in any, and never the same."""
    size = struct.unpack("<Q", content[:8])[0]
    header = write(parse(content[8 : 8 + size]), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + content[8 + size :]


def _read(source: Path | str) -> bytes:
    """The bytes of a file, as long as they are not too many."""
    try:
        if not stat.S_ISREG(Path(source).stat().st_mode):
            # A pipe would be waited for.
            raise BundleError(f"{source}: cannot be read: not a file. Give a file that `sri steer extract` wrote.")
        with Path(source).open("rb") as stream:
            content = stream.read(LARGEST + 1)
    except (OSError, ValueError) as err:  # ValueError: a path with a NUL in it.
        reason = getattr(err, "strerror", None) or err
        raise BundleError(f"{source}: cannot be read: {reason}. Give a file that `sri steer extract` wrote.") from err
    if len(content) > LARGEST:
        raise BundleError(f"{source}: larger than {LARGEST} bytes, and no direction is. Give another file.")
    return content


def _metadata(content: bytes, source: Path | str) -> dict[str, Any]:
    """Name, `towards` and provenance, after a look at everything the header says.

    Raises:
        BundleError: it is the header of something else, or of nothing.
    """

    def refuse(problem: str) -> BundleError:
        return BundleError(
            f"{source}: not a direction: {problem}. Give a file that `sri steer extract` wrote, or extract it again."
        )

    size = struct.unpack("<Q", content[:8])[0] if len(content) >= 8 else 0
    if not 0 < size <= min(LARGEST_HEADER, len(content) - 8):
        raise refuse("it does not begin as a safetensors file does")
    try:
        header = parse(content[8 : 8 + size])
    except JsonError as err:
        raise refuse(f"its header is {err}") from err
    found = header.pop("__metadata__", None) if isinstance(header, dict) else None
    if not isinstance(found, Mapping) or not all(isinstance(each, str) for each in found.values()):
        raise refuse("it has no metadata")
    if found.get("format") != FORMAT:
        raise refuse(f"format {str(found.get('format'))[:40]!r}, this release reads {FORMAT!r}")
    if sorted(header) != sorted(_ARRAYS):
        raise refuse(f"it has arrays {', '.join(sorted(header))[:80] or 'none'}; {' and '.join(_ARRAYS)} are needed")
    for name, entry in header.items():
        dtype = entry.get("dtype") if isinstance(entry, dict) else None
        if dtype != "F32":
            raise refuse(f"{name} is {str(dtype)[:20]}, and F32 is needed")
    if missing := [name for name in ("name", "towards", "provenance") if name not in found]:
        raise refuse(f"its metadata has no {', '.join(missing)}")
    try:
        provenance = parse(found["provenance"])
    except JsonError as err:
        raise refuse(f"its provenance is {err}") from err
    if not isinstance(provenance, dict):
        raise refuse("its provenance is no object")
    return {"name": found["name"], "towards": found["towards"], "provenance": provenance}
