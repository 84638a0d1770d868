"""The bearer token of the client, from a file that may change while the process runs. It is never logged."""

from __future__ import annotations

import threading
from contextlib import suppress

from sri_sdk.client.settings import ClientSettings, checked_token
from sri_sdk.errors import ConfigError


class Token:
    """Gives the header that names this process."""

    def __init__(self, settings: ClientSettings) -> None:
        """Reads the token.

        Raises:
            ConfigError: the file cannot be read, or holds no token.
        """
        self._path = settings.token_file
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._value = None if settings.token is None else settings.token.get_secret_value()
        if self._path is not None:
            try:
                self._read()
            except (OSError, ValueError) as err:
                raise ConfigError(
                    f"token_file {self._path}: {_why(err)}. Write the token on the first line of that file, readable "
                    "by this process only."
                ) from err

    def header(self) -> dict[str, str]:
        """`Authorization`, or nothing where there is no token."""
        if self._path is not None:
            # A file that is being replaced may be away or empty for a moment: the token before it goes on counting.
            with suppress(OSError, ValueError):
                self._read()
        return {} if self._value is None else {"Authorization": f"Bearer {self._value}"}

    def forked(self) -> None:
        """In a forked child: another thread may have held the lock."""
        self._lock = threading.Lock()

    def _read(self) -> None:
        assert self._path is not None
        with self._lock:
            found = self._path.stat()
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
            if stamp == self._stamp:
                return
            with self._path.open(encoding="utf-8") as file:
                self._value = checked_token(file.readline().strip())
            self._stamp = stamp

    def __repr__(self) -> str:
        return "Token(...)"


def _why(err: OSError | ValueError) -> str:
    return err.strerror or type(err).__name__ if isinstance(err, OSError) else str(err)
