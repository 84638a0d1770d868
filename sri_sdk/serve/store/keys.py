"""Keys of the store: request ids as they are, or hashed where nobody may read them in the database."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from contextlib import suppress
from pathlib import Path

from sri_sdk.errors import ConfigError
from sri_sdk.files import write_new

_KEY_BYTES = 32


class Keys:
    """From request ids to keys of the store: the same, or a keyed hash."""

    def __init__(self, secret: bytes | None = None) -> None:
        """Takes the secret; None = ids are kept as they are."""
        self._secret = secret

    @property
    def hashed(self) -> bool:
        """Whether ids are hashed."""
        return self._secret is not None

    def key_of(self, request_id: str) -> str:
        """The key: the id, or 64 hex digits."""
        return request_id if self._secret is None else self._hash(b"id:" + request_id.encode())

    @property
    def mark(self) -> str:
        """What a store remembers, so that it is never used with another secret, or with none."""
        return "plain" if self._secret is None else f"hashed:{self._hash(b'mark')}"

    def _hash(self, content: bytes) -> str:
        return hmac.new(self._secret or b"", content, hashlib.sha256).hexdigest()


def read_secret(file: Path) -> bytes:
    """Reads the secret that hashes ids, 32 bytes as hex; makes it where there is none, its owner's alone.

    Raises:
        ConfigError: it cannot be read or made, or holds something else.
    """
    try:
        with suppress(FileExistsError):
            write_new(file, secrets.token_hex(_KEY_BYTES).encode() + b"\n", mode=0o600)
        secret = bytes.fromhex(file.read_text(encoding="ascii"))
    except OSError as err:
        raise ConfigError(f"store.hash_ids: {file}: {err.strerror or err}. Name a file that is yours.") from err
    except ValueError:
        secret = b""
    if len(secret) != _KEY_BYTES:
        raise ConfigError(
            f"store.hash_ids: {file} does not hold {_KEY_BYTES} bytes as hex. Restore it; without it, nothing that "
            "was stored is found again."
        )
    return secret
