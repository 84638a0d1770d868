"""Requests as JSON lines from standard input; answers as JSON lines on standard output.

{"id": "r1", "prompt": "..."}
{"id": "r1", "status": "clear", "reasons": [], "withheld": false, "response": "...", "recorded": true, "verdict": {...}}
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, Queue
from typing import BinaryIO

from sri_sdk.monitor.traffic.answers import answer_of, was_recorded
from sri_sdk.monitor.traffic.posted import WrongRequest, read_request
from sri_sdk.monitor.traffic.traffic import Answered, Asked, Traffic
from sri_sdk.strict_json import write

WAITING = 256
"""Lines that are read ahead."""
LONGEST_LINE = 2**20
"""Bytes."""


class StdinTraffic(Traffic):
    """Lines of a stream."""

    def __init__(self, lines: BinaryIO, say: Callable[[str], None]) -> None:
        """Takes the stream, and what writes one line of an answer."""
        self._lines, self._say = lines, say
        self._waiting: Queue[Asked | None] = Queue(WAITING)
        self._ended = False
        self._saying = threading.Lock()
        self._next = 0
        self._kept: Asked | None = None

    def start(self) -> str:
        """See `Traffic.start`."""
        threading.Thread(target=self._read, name="sri-stdin", daemon=True).start()
        return "JSON lines from standard input"

    def take(self, most: int, timeout: float) -> list[Asked] | None:
        """See `Traffic.take`."""
        found: dict[str, Asked] = {}
        while len(found) < most:
            try:
                asked = self._kept or (None if self._ended else self._waiting.get(timeout=0 if found else timeout))
            except Empty:
                break
            self._kept = None
            if asked is None:
                self._ended = True
                break
            if asked.prompt.id in found:
                self._kept = asked
                break
            found[asked.prompt.id] = asked
        return None if self._ended and not found else list(found.values())

    def stop(self) -> None:
        """See `Traffic.stop`: the thread that reads is left alone, since nothing ends a read."""
        self._ended = True

    def _read(self) -> None:
        for number, line in enumerate(iter(lambda: self._lines.readline(LONGEST_LINE + 1), b""), 1):
            if self._ended:
                return
            if not line.strip():
                continue
            try:
                asked = read_request(line, "", self._answer)
            except WrongRequest as err:
                self._write({"error": f"line {number}: {err}"})
            else:
                self._waiting.put(asked)
        self._waiting.put(None)

    def _answer(self, answered: Answered) -> None:
        # When it is on disk, whoever reads the line may forget the request.
        answered.recorded.add_done_callback(lambda done: self._write(answer_of(answered, was_recorded(done))))

    def _write(self, line: object) -> None:
        with self._saying:
            self._say(write(line, separators=(",", ":")))
