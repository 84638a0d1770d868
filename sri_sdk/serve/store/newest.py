"""News that replace each other: while the database is slow, only the newest of each name waits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from sqlalchemy import Connection

from sri_sdk.serve.store.faults import StoreUnavailable
from sri_sdk.serve.store.writer import Writer

T = TypeVar("T")


class Newest(Generic[T]):
    """Hands the newest of each name to a writer, at most one at a time. May be called from any thread."""

    def __init__(self, writer: Writer, write: Callable[[Connection, str, T], None]) -> None:
        """Takes what writes one, in a transaction."""
        self._writer, self._write = writer, write
        self._lock = threading.Lock()
        self._waiting: dict[str, tuple[T, Future[None]]] = {}

    def put(self, name: str, news: T) -> Future[None]:
        """Replaces what waits under a name. Returns at once, and does not raise: the future does."""
        with self._lock:
            waits = self._waiting.get(name)
            if waits is not None and not waits[1].done():
                self._waiting[name] = (news, waits[1])
                return waits[1]
            try:
                done = self._writer.do(lambda connection: self._put(connection, name))
            except StoreUnavailable as err:
                done = Future()
                done.set_exception(err)
                return done
            self._waiting[name] = (news, done)
            return done

    def _put(self, connection: Connection, name: str) -> None:
        with self._lock:
            # Taken out: what comes from here on is written after this one.
            news, _ = self._waiting.pop(name)
        self._write(connection, name, news)
