"""An ASGI application called as a server would call it, without a socket."""

import asyncio
from dataclasses import dataclass

from sri_sdk import strict_json


@dataclass
class Got:
    """What came back."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes

    @property
    def json(self):
        return strict_json.parse(self.body)


async def call_async(app, method, path, body=b"", headers=(), *, pieces=None) -> Got:
    """One request; `pieces` are chunks of a body, `body` a body in one."""
    raw, _, query = path.partition("?")
    queue = list(pieces) if pieces is not None else [body]
    events = [{"type": "http.request", "body": piece, "more_body": i < len(queue) - 1} for i, piece in enumerate(queue)]
    sent = []

    async def receive():
        return events.pop(0) if events else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "method": method, "path": raw, "raw_path": raw.encode(), "query_string": query.encode(),
        "headers": [(k.lower(), v) for k, v in headers], "client": ("127.0.0.1", 1), "state": {},
    }  # fmt: skip
    await app(scope, receive, send)
    start = sent[0]
    return Got(start["status"], dict(start["headers"]), b"".join(m.get("body", b"") for m in sent[1:]))


def call(app, method, path, body=b"", headers=(), *, pieces=None) -> Got:
    return asyncio.run(call_async(app, method, path, body, headers, pieces=pieces))
