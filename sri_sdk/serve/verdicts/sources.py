"""Heartbeats of the processes that watch, and how each of them is."""

from __future__ import annotations

from dataclasses import asdict

from sri_sdk.serve.http import Answer, Refusal, Request, json_answer
from sri_sdk.serve.store.rows import Heartbeat
from sri_sdk.serve.store.store import VerdictStore
from sri_sdk.serve.verdicts.asking import ask, change, settled
from sri_sdk.serve.verdicts.callers import name, sees, writes_for
from sri_sdk.serve.verdicts.posted import PostedHeartbeat, read

LARGEST_CANARY = 4_096
"""Characters of a canary as JSON."""


class Sources:
    """The three handlers."""

    def __init__(self, store: VerdictStore) -> None:
        self._store = store

    async def beat(self, request: Request) -> Answer:
        """`POST /v1/heartbeats`."""
        tenant = writes_for(request)
        body = await request.json_value()
        posted = read(PostedHeartbeat, body)
        canary = None if posted.canary is None else body["canary"]
        if len(str(canary)) > LARGEST_CANARY:
            raise Refusal(400, f"canary: more than {LARGEST_CANARY} characters. Send its status and its id.")
        said = posted.model_dump(exclude={"source", "canary"})
        beat = Heartbeat(name(posted.source, "source"), tenant, canary=canary, **said)
        await settled(lambda: self._store.beat(beat))
        return json_answer({})

    async def all(self, request: Request) -> Answer:
        """`GET /v1/sources`."""
        found = await ask(self._store, self._store.sources, sees(request))
        return json_answer({"sources": [asdict(each) for each in found]})

    async def forget(self, request: Request) -> Answer:
        """`DELETE /v1/sources/{source}`."""
        source = name(request.params["source"], "source")
        return json_answer({"removed": await change(self._store.forget_source, source, sees(request))})
