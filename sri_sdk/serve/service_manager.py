"""Tells systemd that the server listens, and that it ends: a unit of `Type=notify` waits for that before it reloads.

The protocol is one datagram to the socket that `NOTIFY_SOCKET` names; see `man sd_notify`.
"""

from __future__ import annotations

import logging
import os
import socket
from typing import Literal

log = logging.getLogger(__name__)


def tell_manager(state: Literal["READY=1", "STOPPING=1"]) -> None:
    """Tells the service manager a state; without `NOTIFY_SOCKET` nobody. One that cannot be reached is logged."""
    named = os.environ.get("NOTIFY_SOCKET", "")
    if not named or not hasattr(socket, "AF_UNIX"):
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            # A leading @ stands for the abstract namespace.
            sock.sendto(state.encode(), "\0" + named[1:] if named.startswith("@") else named)
    except OSError as err:
        log.warning("the service manager was not told %s: %s", state, err.strerror or err)
