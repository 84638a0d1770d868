"""Where `sri serve` listens, read from one URL."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal, Self
from urllib.parse import urlsplit

_ALLOWED = "allowed: http://HOST:PORT, https://HOST:PORT, unix:/PATH/OF/SOCKET"


@dataclass(frozen=True, slots=True)
class Address:
    """One endpoint."""

    scheme: Literal["http", "https", "unix"]
    host: str
    """Name or number of the host; of a unix socket its path."""
    port: int
    """0 of a unix socket."""
    prefix: str = ""
    """What stands before every path, without a slash at its end."""

    @classmethod
    def parse(cls, url: str) -> Self:
        """Reads a URL.

        Raises:
            ValueError: it is none of the three kinds. The message does not repeat user names and passwords.
        """
        if url.startswith("unix:"):
            path = url.removeprefix("unix:").removeprefix("//")
            if not hasattr(socket, "AF_UNIX"):
                raise ValueError(f"this system has no unix sockets; {_ALLOWED}")
            if not path.startswith("/"):
                raise ValueError(f"a unix socket needs an absolute path, such as unix:/run/sri.sock; {_ALLOWED}")
            return cls("unix", path, 0)
        parts = urlsplit(url)
        if parts.username is not None or parts.password is not None:
            raise ValueError("holds a user name or a password; leave them out, and pass a token instead")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"found {url[:80]!r}; {_ALLOWED}")
        # Raises ValueError itself where the port is no number below 65536.
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return cls("https" if parts.scheme == "https" else "http", parts.hostname, port, parts.path.rstrip("/"))

    @property
    def encrypted_or_here(self) -> bool:
        """Whether nobody on a network can read what is sent."""
        if self.scheme != "http" or self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"unix:{self.host}" if self.scheme == "unix" else f"{self.scheme}://{self.host}:{self.port}"
