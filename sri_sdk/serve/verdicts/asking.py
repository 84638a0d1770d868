"""The store from an event loop: reads wait in its threads, and a store in trouble is a 503 with its reason."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from sri_sdk.serve.http import Refusal
from sri_sdk.serve.store.faults import StoreUnavailable
from sri_sdk.serve.store.store import VerdictStore

P = ParamSpec("P")
T = TypeVar("T")

RETRY_AFTER = 1
"""Seconds, as a client is told that could not be served."""


async def ask(store: VerdictStore, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What a method of the store returns, which may wait for the database.

    Raises:
        Refusal: 503, the store cannot answer.
    """
    with _refused():
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(store.readers, lambda: question(*args, **kwargs))


async def settled(begin: Callable[[], Future[T]]) -> T:
    """The result of a write that `begin` hands to the store; it is on disk then.

    Raises:
        Refusal: 503, nothing was acknowledged.
    """
    with _refused():
        return await asyncio.wrap_future(begin())


async def change(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What a method of the store returns that writes several times, and takes a while; raises as `ask`."""
    with _refused():
        # Not in the store's threads: look-ups need them.
        return await asyncio.to_thread(work, *args, **kwargs)


@contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except StoreUnavailable as err:
        raise Refusal(503, str(err), retry_after=RETRY_AFTER) from err
    except RuntimeError as err:
        # Its threads have ended, because the server has.
        if "shutdown" not in str(err):
            raise
        raise Refusal(503, str(StoreUnavailable("closed")), retry_after=RETRY_AFTER) from err
