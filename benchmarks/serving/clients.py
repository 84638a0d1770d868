"""Clients that keep a server busy: one connection each, one request at a time, as fast as answers come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from sri_sdk.strict_json import write

Check = Callable[[int, bytes, bytes], bool]
"""(number in the list of requests, head of the answer in lower case, its body) -> whether it is right."""
HEADER = b"Inference-Header-Content-Length"


@dataclass(slots=True)
class Found:
    """What a run of clients saw."""

    seconds: list[float] = field(default_factory=list)
    """Per answer, from the first byte sent to the last one read."""
    wrong: int = 0
    """Answers that are not as expected, other statuses included."""
    wall: float = 0.0

    def percentile(self, share: float) -> float:
        """Milliseconds within which this share of the answers came."""
        return 1e3 * float(np.quantile(self.seconds, share))


def request(path: str, signals: np.ndarray) -> bytes:
    """A whole HTTP request for score and valid of [B, T, C] float32 signals, binary both ways."""
    data = np.ascontiguousarray(signals, "<f4").tobytes()
    words = write(
        {
            "inputs": [
                {
                    "name": "signals", "datatype": "FP32", "shape": list(signals.shape),
                    "parameters": {"binary_data_size": len(data)},
                }
            ],
            "outputs": [{"name": name, "parameters": {"binary_data": True}} for name in ("score", "valid")],
        },
        separators=(",", ":"),
    ).encode()  # fmt: skip
    body = words + data
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n"
        f"Content-Length: {len(body)}\r\n"
    ).encode()
    return head + HEADER + b": %d\r\n\r\n" % len(words) + body


class _Client(asyncio.Protocol):
    """One connection. Parses answers just enough: status, length, the rest."""

    def __init__(
        self, take: Callable[[], tuple[int, bytes] | None], check: Callable[[int, bytes, bytes], bool]
    ) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._take, self._check = take, check
        self._buffer, self._need = bytearray(), -1
        self.found: Found | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("the server closed a connection"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._need < 0:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._buffer[:end]).lower()
            at = head.index(b"\r\ncontent-length:") + 17
            stop = head.find(b"\r\n", at)
            self._head, self._start = head, end + 4
            self._need = end + 4 + int(head[at : stop if stop >= 0 else len(head)])
        if len(self._buffer) < self._need:
            return
        assert self.found is not None
        self.found.seconds.append(time.perf_counter() - self._sent)
        if not self._check(self._number, self._head, bytes(self._buffer[self._start : self._need])):
            self.found.wrong += 1
        del self._buffer[: self._need]
        self._need = -1
        self._next()

    def _next(self) -> None:
        taken = self._take()
        if taken is None:
            if not self.done.done():
                self.done.set_result(None)
            self._transport.close()
            return
        self._number, content = taken
        self._sent = time.perf_counter()
        self._transport.write(content)  # type: ignore[attr-defined]


async def busy(port: int, requests: list[bytes], count: int, clients: int, check: Check) -> Found:
    """Sends `count` requests, in turn from the list, from so many clients at once.

    Args:
        port: on 127.0.0.1.
        requests: whole ones.
        count: how many are sent in all.
        clients: connections.
        check: (number in the list, head in lower case, body) -> whether that is the right answer.
    """
    loop, found, numbers = asyncio.get_running_loop(), Found(), iter(range(count))

    def take() -> tuple[int, bytes] | None:
        number = next(numbers, None)
        return None if number is None else (number % len(requests), requests[number % len(requests)])

    started, made = time.perf_counter(), []
    for _ in range(clients):
        client = _Client(take, check)
        client.found = found
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)
        made.append(client)
    await asyncio.gather(*(client.done for client in made))
    found.wall = time.perf_counter() - started
    return found
