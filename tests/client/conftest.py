"""A stub of `sri serve`, and clients that are closed at the end of their test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

import sri_sdk
from sri_sdk.scoring.guard import Guard
from tests.capture.conftest import Toy, toy, toy_guard, toy_guard_path, toy_prompts
from tests.client.stub import Stub

__all__ = ["toy", "toy_guard", "toy_guard_path"]

MakeClient = Callable[..., sri_sdk.VerdictClient]


@pytest.fixture
def stub() -> Iterator[Stub]:
    found = Stub()
    yield found
    found.stop()


@pytest.fixture
def client_of(stub: Stub) -> Iterator[MakeClient]:
    """client_of(**options): a client of the stub, or of another `url`, without heartbeats unless asked for."""
    with ExitStack() as stack:

        def make(**options: Any) -> sri_sdk.VerdictClient:
            client = sri_sdk.VerdictClient(
                options.pop("url", stub.url), **{"heartbeat_s": 0.0, "close_s": 5.0, **options}
            )
            stack.callback(client.close)
            return client

        yield make
        # Whatever a test left hanging must not keep close() waiting.
        stub.answer(200)
        stub.go_on()


@pytest.fixture
def down() -> str:
    """The address of nobody."""
    import socket

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{sock.getsockname()[1]}"


@pytest.fixture
def watched(toy: Toy, toy_guard: Guard) -> tuple[Any, Guard, dict[str, Any]]:
    """A toy model, a guard for it, and inputs of two requests."""
    return toy.loaded.model, toy_guard, toy.inputs(toy_prompts(2))
