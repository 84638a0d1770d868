"""The zip form of a bundle: uncompressed, sorted, undated, with exactly one way to write it.

A zip says everything twice, in front of each member and in a directory at the end, and tools that trust different
copies see different files. So a reader of bundles does not look for a directory and trust it. It reads the members from
the front, works out what their zip must look like, and refuses every byte that differs. That leaves no room for
compression, second directories, comments, gaps, trailing data, or headers that contradict each other.

The format is that of PKWARE's APPNOTE, sections 4.3.7, 4.3.12 and 4.3.16, so every unzip reads these files.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

from sri_sdk.errors import BundleError

LOCAL, CENTRAL, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_STORED, _FIRST_DAY, _UNIX, _VERSION = 0, (1 << 5) | 1, 3, 10
_RW_R_R = 0o100644 << 16
_HEADER = struct.Struct("<4s5H3L2H")
"""Signature, version, flags, method, time, date, CRC-32, stored size, size, length of the name, length of the extra."""
MOST_MEMBERS, LONGEST_NAME = 16, 100


def pack(files: Mapping[str, bytes]) -> bytes:
    """The zip of these files; the same files give the same bytes."""
    parts, directory, at = [], [], 0
    for name in sorted(files):
        local = _local(name, files[name])
        parts += [local, files[name]]
        directory.append(_central(name, files[name], at))
        at += len(local) + len(files[name])
    whole = b"".join(directory)
    return b"".join([*parts, whole, _end(len(files), len(whole), at)])


def unpack(content: bytes, subject: str) -> dict[str, bytes]:
    """The members of a zip that `pack` wrote.

    Raises:
        BundleError: any other zip; the message says what differs.
    """
    files: dict[str, bytes] = {}
    directory = []
    at = 0
    while content[at : at + 4] == LOCAL and len(files) < MOST_MEMBERS:
        try:
            _, _, flags, method, _, _, _, stored, size, name_length, extra = _HEADER.unpack_from(content, at)
            name = content[at + _HEADER.size : at + _HEADER.size + name_length].decode("ascii")
            if name_length > LONGEST_NAME:
                raise ValueError
        except (struct.error, ValueError) as err:
            raise _wrong(subject, f"the header of member {len(files) + 1} is damaged") from err
        start = at + _HEADER.size + name_length
        data = content[start : start + size]
        if method != _STORED:
            raise _wrong(subject, f"member {name!r} is compressed, and a bundle must not be")
        if name in files:
            raise _wrong(subject, f"member {name!r} occurs twice")
        if flags or extra or stored != size or len(data) != size or content[at:start] != _local(name, data):
            raise _wrong(subject, f"the header of member {name!r} does not match its content")
        if files and name < max(files):
            raise _wrong(subject, f"member {name!r} is out of order")
        files[name] = data
        directory.append(_central(name, data, at))
        at = start + size
    if not files:
        raise _wrong(subject, "it does not begin with a member")
    whole = b"".join(directory)
    if content[at:] != whole + _end(len(files), len(whole), at):
        raise _wrong(subject, "its directory does not match its members, or something follows it")
    return files


def _local(name: str, data: bytes) -> bytes:
    encoded = name.encode()
    header = _HEADER.pack(
        LOCAL, _VERSION, 0, _STORED, 0, _FIRST_DAY, zlib.crc32(data), len(data), len(data), len(encoded), 0
    )
    return header + encoded


def _central(name: str, data: bytes, at: int) -> bytes:
    encoded = name.encode()
    header = struct.pack(
        "<4s6H3L5H2L", CENTRAL, _UNIX << 8 | _VERSION, _VERSION, 0, _STORED, 0, _FIRST_DAY, zlib.crc32(data), len(data),
        len(data), len(encoded), 0, 0, 0, 0, _RW_R_R, at,
    )  # fmt: skip
    return header + encoded


def _end(count: int, size: int, at: int) -> bytes:
    return struct.pack("<4s4H2LH", END, 0, 0, count, count, size, at, 0)


def _wrong(subject: str, problem: str) -> BundleError:
    return BundleError(
        f"{subject}: not the zip of a bundle: {problem}. Make it with `sri bundle pack`; other zips are refused."
    )
