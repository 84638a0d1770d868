"""Clients that post verdicts as fast as they are acknowledged, to a server that may die at any moment.

Each delivers again what was not acknowledged, as `sri_sdk.client` does, until it is.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, cycle
from typing import Any

from sri_sdk.records import Status, Verdict
from sri_sdk.strict_json import parse, write

SIZES = 1, 10, 50
"""Verdicts of one post, in turn."""
AGAIN_S = 0.1
"""Seconds until something is delivered again."""
BUSY = 429, 503
"""Statuses that ask for that."""
STATUSES: tuple[Status, ...] = "clear", "flagged", "unmonitored"


def verdict_of(request_id: str) -> Verdict:
    """The one verdict that a request of that id has, whoever asks."""
    number = int(request_id.rpartition("-")[2])
    return Verdict(request_id, STATUSES[number % 3], score=number / 7, bundle="b" * 64)


@dataclass(slots=True, eq=False)
class Load:
    """What so many clients did."""

    port: int
    acknowledged: set[str] = field(default_factory=set)
    """Ids, answered 200."""
    sent: set[str] = field(default_factory=set)
    """Ids, whatever became of them."""
    posts: int = 0
    known: int = 0
    """Verdicts that were delivered again and had been stored before."""
    again: Counter[str] = field(default_factory=Counter)
    """Why something was delivered again -> how often: a status, or `connection`."""
    ended: bool = False
    last: list[str] = field(default_factory=list)
    """Ids of the last post that was acknowledged."""

    async def client(self, name: str) -> None:
        """One client: posts until `ended`, and stops where it is then."""
        numbers = count()
        with _Connection(self.port) as connection:
            for size in cycle(SIZES):
                ids = [f"{name}-{next(numbers)}" for _ in range(size)]
                body = write({"verdicts": [verdict_of(each).to_dict() for each in ids], "source": name}).encode()
                self.sent.update(ids)
                while not self.ended and not await self._post(connection, ids, body):
                    await asyncio.sleep(AGAIN_S)
                if self.ended:
                    return

    async def _post(self, connection: _Connection, ids: list[str], body: bytes) -> bool:
        try:
            status, answer = await connection.ask("POST", "/v1/verdicts", body)
        except (OSError, EOFError):
            connection.close()
            self.again["connection"] += 1
            return False
        if status in BUSY:
            self.again[str(status)] += 1
            return False
        assert status == 200, (status, answer)
        assert answer["stored"] + answer["known"] == len(ids), answer
        self.known += answer["known"]
        self.posts += 1
        self.acknowledged.update(ids)
        self.last = ids
        return True


async def stored(port: int) -> dict[str, int]:
    """Every id that the server has -> how many of its verdicts, each compared with the one it must be."""
    found: Counter[str] = Counter()
    after = 0
    with _Connection(port) as connection:
        while True:
            status, page = await connection.ask("GET", f"/v1/verdicts?after={after}&limit=1000")
            assert status == 200, (status, page)
            for row in page["verdicts"]:
                assert row["verdict"] == verdict_of(row["id"]).to_dict(), row
                found[row["id"]] += 1
            if page["next"] == after:
                return dict(found)
            after = page["next"]


async def looked_up(port: int, request_id: str) -> bool:
    """Whether a look-up finds the verdict of a request, as it was sent."""
    with _Connection(port) as connection:
        while (asked := await connection.ask("GET", f"/v1/verdicts/{request_id}"))[0] in BUSY:
            await asyncio.sleep(AGAIN_S)
        status, answer = asked
        return bool(status == 200 and answer["verdict"] == verdict_of(request_id).to_dict())


class _Connection:
    """One connection that is opened when it is needed. Reads answers just enough: status, length, the rest."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writer: asyncio.StreamWriter | None = None

    def __enter__(self) -> _Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, Any]:
        """Status and JSON of an answer.

        Raises:
            OSError: the server cannot be reached, or closed the connection.
            EOFError: it did so in the middle of an answer.
        """
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        answer = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(answer.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])
        return int(answer.split()[1]), parse(await self._reader.readexactly(length))


def names(clients: int) -> Iterator[str]:
    """One per client."""
    return (f"c{number}" for number in range(clients))
