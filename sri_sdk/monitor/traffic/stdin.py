"""Requests as JSON lines from standard input; answers as JSON lines on standard output.

{"id": "r1", "prompt": "..."}
{"id": "r1", "status": "clear", "reasons": [], "withheld": false, "response": "...", "recorded": true, "verdict": {...}}
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
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
    """Lines of a stream. Each that was read is answered, also where the monitor ends before its turn."""

    def __init__(self, lines: BinaryIO, say: Callable[[str], None]) -> None:
        """Takes the stream, and what writes one line of an answer."""
        self._lines, self._say = lines, say
        self._changed = threading.Condition()
        self._waiting: deque[Asked] = deque()
        self._ended = False
        """No more lines come: the stream has ended, or `stop` was called."""
        self._stopped = False
        self._saying = threading.Lock()

    def start(self) -> str:
        """See `Traffic.start`."""
        threading.Thread(target=self._read, name="sri-stdin", daemon=True).start()
        return "JSON lines from standard input"

    def take(self, most: int, timeout: float) -> list[Asked] | None:
        """See `Traffic.take`."""
        found: dict[str, Asked] = {}
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended, timeout)
            while self._waiting and len(found) < most and self._waiting[0].prompt.id not in found:
                asked = self._waiting.popleft()
                found[asked.prompt.id] = asked
            self._changed.notify_all()
            return None if self._ended and not found else list(found.values())

    def stop(self) -> None:
        """See `Traffic.stop`: the thread that reads is left alone, since nothing ends a read."""
        with self._changed:
            self._stopped = self._ended = True
            self._changed.notify_all()

    def close(self) -> None:
        """Refuses what still waits, with a line for each."""
        self.stop()
        with self._changed:
            left = list(self._waiting)
            self._waiting.clear()
        for each in left:
            self._refuse(each)

    def _read(self) -> None:
        for number, line in enumerate(iter(lambda: self._lines.readline(LONGEST_LINE + 1), b""), 1):
            if not line.strip():
                continue
            try:
                asked = read_request(line, "", self._answer)
            except WrongRequest as err:
                self._write({"error": f"line {number}: {err}"})
            else:
                if not self._keeps(asked):
                    self._refuse(asked)
                    return
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _keeps(self, asked: Asked) -> bool:
        """Has it wait for its turn, once there is room; says whether, since nothing is taken after `stop`."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or len(self._waiting) < WAITING)
            if not self._stopped:
                self._waiting.append(asked)
                self._changed.notify_all()
            return not self._stopped

    def _refuse(self, asked: Asked) -> None:
        self._write({
            "id": asked.prompt.id, "error": "monitor: shut down before this request's turn. Send it again elsewhere.",
        })  # fmt: skip

    def _answer(self, answered: Answered) -> None:
        # When it is on disk, whoever reads the line may forget the request.
        answered.recorded.add_done_callback(lambda done: self._write(answer_of(answered, was_recorded(done))))

    def _write(self, line: object) -> None:
        with self._saying:
            self._say(write(line, separators=(",", ":")))
