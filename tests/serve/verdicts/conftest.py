"""An application with a verdict store, called without a socket."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from sri_sdk.serve.app import App
from sri_sdk.serve.rights import LOCAL
from sri_sdk.serve.store.store import VerdictStore
from sri_sdk.serve.verdicts.arrivals import Arrivals
from sri_sdk.serve.verdicts.counts import VerdictCounts
from sri_sdk.serve.verdicts.routes import verdict_routes
from sri_sdk.strict_json import write
from tests.serve.asgi import call_async
from tests.serve.store.conftest import FOREVER


def posted(*verdicts, **more):
    return {"verdicts": [each.to_dict() for each in verdicts], **more}


class Service:
    """A store, and an application around it."""

    def __init__(self, store, **more):
        self.store, self.arrivals = store, Arrivals(store)
        self.counts = VerdictCounts(lambda: store.fault)
        self.callers = {}
        self.app = App(
            verdict_routes(store, self.arrivals, self.counts, **more),
            who_calls=lambda request: self.callers.get(request.header(b"authorization"), LOCAL),
        )

    @asynccontextmanager
    async def running(self):
        async with self.arrivals:
            yield self

    async def ask(self, method, path, body=None, **headers):
        content = b"" if body is None else body if isinstance(body, bytes) else write(body).encode()
        sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        return await call_async(self.app, method, path, content, sent)

    def __call__(self, method, path, body=None, **headers):
        async def once():
            async with self.running():
                return await self.ask(method, path, body, **headers)

        return asyncio.run(once())


@pytest.fixture
def store(tmp_path):
    with VerdictStore.open(f"sqlite:///{tmp_path}/verdicts.db", kept=FOREVER) as opened:
        yield opened


@pytest.fixture
def service(store):
    return Service(store, unmonitored="block", wait_s=0.0)
