"""A worker process: reads shards from a socket and writes what it made of them, until the other end is gone.

python -P -m sri_plugin_executors.process DESCRIPTOR
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import sys
import threading
import traceback
from multiprocessing.connection import Connection
from typing import NoReturn

from sri_plugin_executors.messages import MADE, STAGE, failure


def main(descriptor: int) -> None:
    """Works until the other end is gone.

    Args:
        descriptor: of the socket that the parent has left open.
    """
    # Ctrl-C reaches every process of the terminal, and who ends the workers is the parent.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = Connection(descriptor)
    messages: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(connection, messages), daemon=True).start()
    setup = messages.get()
    # The parent has said what there is to say of the model.
    logging.getLogger("sri_sdk").setLevel(logging.ERROR)
    try:
        _work(connection, messages, setup)
    except BaseException as err:
        traceback.print_exc()
        connection.send_bytes(failure(err))
        sys.exit(1)


def _work(connection: Connection, messages: queue.SimpleQueue[bytes], setup: bytes) -> NoReturn:
    """Makes one shard after the other."""
    from sri_sdk import Worker

    worker, stage = Worker(setup), b""
    while True:
        message = messages.get()
        if message[:1] == STAGE:
            stage = message[1:]
        else:
            connection.send_bytes(MADE + worker.make(stage, message[1:]))


def _read(connection: Connection, messages: queue.SimpleQueue[bytes]) -> None:
    """Reads on while the worker is at work: so it ends at once if its parent was killed."""
    code = 1
    try:
        while True:
            messages.put(connection.recv_bytes())
    except (EOFError, OSError):
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        # Without its reader a worker waits for ever, and its parent for it.
        os._exit(code)


if __name__ == "__main__":
    main(int(sys.argv[1]))
