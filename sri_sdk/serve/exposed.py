"""What of a server's secrets others could read, said once when it starts."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from sri_sdk.serve.settings import LOCALHOSTS, ServeSettings


def exposures(settings: ServeSettings) -> list[str]:
    """One warning each: tokens that travel in clear, and files with secrets that other users can read."""
    found = []
    hosts = [] if settings.uds is not None else [settings.host]
    hosts += [] if settings.grpc is None else [settings.grpc.host]
    if settings.tokens is not None and settings.tls is None and not all(host in LOCALHOSTS for host in hosts):
        found.append(
            "tokens travel unencrypted to this server. Give `tls`, or let nobody but a proxy that has TLS reach it."
        )
    secrets = {"tokens": settings.tokens, "tls.key": None if settings.tls is None else settings.tls.key}
    if settings.store is not None:
        secrets["store.hash_key"] = settings.store.hash_key
    found += [
        f"{name}: {path} can be read by every user of this machine. Take that right away: chmod o-rwx {path}"
        for name, path in secrets.items()
        if path is not None and _open_to_all(path)
    ]
    return found


def _open_to_all(path: Path) -> bool:
    if os.name != "posix":
        return False
    try:
        return bool(path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH))
    except OSError:
        # Whoever reads it says so.
        return False
