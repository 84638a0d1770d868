"""Bearer tokens, from a file: who calls, and with what rights.

One token a line. A name before a colon says whose it is; words after it say what it may do:

    monitor:2mF1...  write tenant=acme
    gateway:9Zk0...  read
    4wQx...

Without words it may read and write. The file is read again when it changes or on request, so tokens are rotated by
adding the new one, changing the clients, and taking the old one out. Only hashes stay in memory.

A file that changed a moment ago may be half-written, and half a line may say more than the whole one: without its last
words a token may read and write. So it is read once it has been left alone for a while, or on request.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Mapping
from pathlib import Path

from sri_sdk.errors import ConfigError
from sri_sdk.serve.http import Refusal, Request
from sri_sdk.serve.rights import Caller, Right

SHORTEST = 16
"""Characters of a token. `openssl rand -hex 32` makes one."""
LARGEST_FILE = 2**20
"""Bytes. A longer one is refused and not cut: the end of a line says what its token may not do."""
LONGEST_TENANT = 128
"""Characters, as the verdict store has it."""
LOOK_AGAIN = 1.0
"""Seconds between two looks at the file, and seconds for which nobody must have written to it."""
_RIGHTS: Mapping[str, Right] = {"read": "read", "write": "write", "admin": "admin"}

log = logging.getLogger(__name__)


class Tokens:
    """The tokens of a file.

    Args:
        path: the file.

    Raises:
        ConfigError: it cannot be read, has no token, or a line is wrong; never quotes a token.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._last_look = _stamp(path)
        self._callers = read_tokens(path)
        self._next_look = time.monotonic() + LOOK_AGAIN

    def __call__(self, request: Request) -> Caller:
        """Who sent a request.

        Raises:
            Refusal: 401, no token or none of these.
        """
        sent = request.headers.get(b"authorization")
        if sent is None and (key := request.headers.get(b"x-api-key")) is not None:
            # Some gateways have no other way to send one.
            sent = b"Bearer " + key
        return self.caller(sent or b"")

    def caller(self, authorization: bytes) -> Caller:
        """Who sends `authorization`, as the header has it: `Bearer TOKEN`.

        Raises:
            Refusal: as above.
        """
        if time.monotonic() > self._next_look:
            self.reload()
        scheme, _, token = authorization.partition(b" ")
        # A hash is looked up, not a token: how long that takes says nothing about any token.
        found = self._callers.get(_hashed(token.strip())) if scheme.lower() == b"bearer" else None
        if found is None:
            raise Refusal(401, "token: missing or unknown. Send the header `Authorization: Bearer TOKEN`.")
        return found

    def of_digest(self, digest: bytes) -> Caller | None:
        """Whose token has this `digest_of`; None = it is none of them any more."""
        if time.monotonic() > self._next_look:
            self.reload()
        return self._callers.get(digest)

    @staticmethod
    def digest_of(token: str) -> bytes:
        """What may be kept of a token: its SHA-256."""
        return _hashed(token.strip().encode("utf-8", "replace"))

    def reload(self, force: bool = False) -> None:
        """Reads the file again if it has changed; a file that is wrong leaves the tokens as they are.

        Args:
            force: read it in any case, also where somebody may be writing.
        """
        self._next_look = time.monotonic() + LOOK_AGAIN
        try:
            stamp, before = _stamp(self._path), self._last_look
            self._last_look = stamp
            if not force and (stamp == self._seen or (stamp != before and _age(stamp) < LOOK_AGAIN)):
                return
            callers = read_tokens(self._path)
            if not force and _stamp(self._path) != stamp:
                return
            self._seen, self._callers = stamp, callers
            log.info("%s: read again, %d tokens", self._path, len(self._callers))
        except ConfigError as err:
            # Once for each state that it is in.
            self._seen = self._last_look
            log.error("%s The tokens from before stay valid.", err)


def check_right(caller: Caller, right: Right, *, shared: bool = False) -> None:
    """Refuses a caller who may not.

    Args:
        caller: as its token says.
        right: that it takes.
        shared: whether the call changes what every tenant is served.

    Raises:
        Refusal: 403.
    """
    if not caller.may(right):
        raise Refusal(403, f"token: has no right {right!r}. Use a token that has, or add the right.")
    if shared and caller.tenant is not None:
        raise Refusal(403, "token: belongs to one tenant, and this is served to all of them. Use one without a tenant.")


def read_tokens(path: Path) -> dict[bytes, Caller]:
    """SHA-256 of each token -> its caller."""
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST_FILE + 1).decode("ascii")
    except OSError as err:
        raise ConfigError(
            f"{path}: cannot be read as tokens ({err.strerror or err}). Give a file that the server's user may read."
        ) from err
    except UnicodeDecodeError as err:
        raise ConfigError(f"{path}: cannot be read as tokens, it is not ASCII. Take other characters out.") from err
    if len(content) > LARGEST_FILE:
        raise ConfigError(f"{path}: more than {LARGEST_FILE} bytes; allowed: that many. Take old ones out.")
    found: dict[bytes, Caller] = {}
    for number, line in enumerate(content.splitlines(), 1):
        if not (words := line.split()) or words[0].startswith("#"):
            continue
        name, colon, token = words[0].rpartition(":")
        token = token if colon else words[0]
        if len(token) < SHORTEST:
            raise ConfigError(
                f"{path}, line {number}: a token of {len(token)} characters; allowed: {SHORTEST} or more. "
                "Make one with `openssl rand -hex 32`."
            )
        caller = _caller(name or f"line {number}", words[1:], f"{path}, line {number}")
        if found.setdefault(_hashed(token.encode()), caller) is not caller:
            raise ConfigError(
                f"{path}, line {number}: a token that an earlier line has too. Give each a line of its own."
            )
    if not found:
        raise ConfigError(f"{path}: has no token. Write one a line: NAME:TOKEN, then what it may do.")
    return found


def _caller(name: str, words: list[str], where: str) -> Caller:
    rights: set[Right] = set()
    tenant = None
    for word in words:
        if word in _RIGHTS:
            rights.add(_RIGHTS[word])
        elif word.startswith("tenant=") and tenant is None and 0 < len(word) - 7 <= LONGEST_TENANT:
            tenant = word[7:]
        else:
            raise ConfigError(
                f"{where}: an unknown word; allowed: read, write, admin, and once tenant=NAME of up to "
                f"{LONGEST_TENANT} characters."
            )
    return Caller(name, frozenset(rights or {"read", "write"}), tenant)


def _hashed(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()


def _age(stamp: tuple[int, int, int]) -> float:
    """Seconds since the file was written; a clock that disagrees makes it look younger or older, never unread."""
    return time.time() - stamp[0] / 1e9


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError as err:
        raise ConfigError(f"{path}: cannot be read as tokens ({err.strerror}). Give the path of a file.") from err
    return found.st_mtime_ns, found.st_size, found.st_ino
